"""A search's journal: JSON lines, one for each result, safe on disk before the search goes on.

The first line says which search it is. A search that starts again asks for the same results in the
same order, so it gets those that are there and computes the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from refq import __version__
from refq.data import digest
from refq.errors import OptionError
from refq.plans.plan import Plan
from refq.search.task import Task

Result = dict[str, Any]
# characters of a value in an error
BRIEF = 60


class Journal:
    """Results by key, on disk where a path is given.

    identity: what makes this search another than others, as plain JSON values. Raises OptionError
    for a file that belongs to another search, is none, or cannot be read or written.
    """

    def __init__(self, path: str | None, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.known: dict[str, Result] = {}
        self.resumed = 0
        header = {"refq_search": 1, **json.loads(json.dumps(identity))}
        if path is not None:
            try:
                self._open(Path(path), header)
            except OSError as error:
                raise OptionError(
                    f"cannot use journal {path} ({error.strerror})", "a file in an existing folder"
                ) from None

    def recall(self, key: Sequence[Any], compute: Callable[[], Result]) -> Result:
        """The result of that key: from the journal, or computed and written down."""
        name = json.dumps(key)
        if name not in self.known:
            self.known[name] = compute()
            self._append({"key": key, "result": self.known[name]})
        return self.known[name]

    def _open(self, path: Path, header: Result) -> None:
        content = path.read_bytes() if path.exists() else b""
        first = _line(header)
        if first.startswith(content):  # new, empty, or killed while the first line was written
            with path.open("wb") as file:
                _flushed(file, first)
            return
        # what follows the last end of line was never finished
        whole = content[: content.rfind(b"\n") + 1].splitlines()
        entries = [_entry(line) for line in whole]
        self._check(entries[0] if entries else None, header)
        for number, entry in enumerate(entries[1:], 2):
            if entry is None or "key" not in entry or not isinstance(entry.get("result"), dict):
                raise OptionError(
                    f"journal {path}: line {number} is damaged",
                    "what a search writes",
                    "delete it from there on",
                )
            self.known[json.dumps(entry["key"])] = entry["result"]
        self.resumed = len(self.known)
        with path.open("r+b") as file:
            file.truncate(sum(len(line) + 1 for line in whole))

    def _check(self, first: Result | None, header: Result) -> None:
        """Raises OptionError where the first line is another search's."""
        if first is None or first.get("refq_search") != header["refq_search"]:
            raise OptionError(f"{self.path} is no journal of a search", "a journal, or a new file")
        differing = [key for key in header if first.get(key) != header[key]]
        if differing:
            # short values tell best what was changed
            key = min(differing, key=lambda key: len(repr(header[key])))
            raise OptionError(
                f"journal {self.path} is of another search: {key} {_brief(first.get(key))}",
                _brief(header[key]),
                "give another file",
            )

    def _append(self, entry: Result) -> None:
        if self.path is not None:
            with open(self.path, "ab") as file:
                _flushed(file, _line(entry))


def identity(task: Task, base: Plan) -> Result:
    """What a search is of: its network, weights, images, and the plan that it starts from."""
    return {
        "refq": __version__,
        "network": task.network.name,
        "parameters": dict(task.network.parameters),
        "weights": task.weights.sha256,
        "data": digest(task.dataset, task.settings.images),
        "preprocessing": str(task.preprocessing),
        "scheme": base.scheme,
        # all that formats are chosen by, calibration included
        "base": base.to_json(),
    }


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= BRIEF else f"{text[:BRIEF]}..."


def _line(entry: Result) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _entry(line: bytes) -> Result | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _flushed(file: Any, line: bytes) -> None:
    """One write, and on the disk before anything else happens."""
    file.write(line)
    file.flush()
    os.fsync(file.fileno())
