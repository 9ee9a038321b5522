"""A search's journal: JSON lines, one for each result, safe on disk before the search goes on.

The first line says which search it is. A search that starts again asks for the same results in the
same order, so it gets those that are there and computes the rest. Each line ends with a checksum of
itself: a digit that changed on the disk changes no answer.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from refq import __version__
from refq.data import digest
from refq.errors import OptionError, clipped, listed
from refq.files import held, json_
from refq.plans.plan import Plan
from refq.search.task import Task

Result = dict[str, Any]
# of the lines' layout: 1 had no checksums
VERSION = 2
KIND = "refq_search"
# characters of a value in an error; bytes of a journal
BRIEF, LONGEST = 60, 1 << 28


class Journal:
    """Results by key, on disk where a path is given.

    identity: what makes this search another than others, as plain JSON values. told: hears, in a
    line, of an end that a crash left in pieces. While it is there, no other journal has the file.
    Raises OptionError for a file that another one has, that belongs to another search, is none, is
    damaged, or cannot be read or written.
    """

    def __init__(
        self,
        path: str | None,
        identity: Mapping[str, Any],
        told: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.path, self.told = path, told
        self.known: dict[str, Result] = {}
        self.resumed = 0
        header = {KIND: VERSION, **json.loads(json.dumps(identity))}
        if path is not None:
            try:
                there = _there(Path(path))
                self._held = held.hold(Path(path))
                try:
                    self._open(Path(path), header, there)
                except BaseException:
                    self.close()
                    raise
            except BlockingIOError:
                raise OptionError(
                    f"journal {path}, which a search that runs writes to",
                    "one of its own for each",
                    "wait until that has ended, or give another file",
                ) from None
            except OSError as error:
                raise OptionError(
                    f"cannot use journal {path} ({error.strerror})", "a file in an existing folder"
                ) from None

    def close(self) -> None:
        """Lets another have the file."""
        if self.path is not None:
            self._held.close()

    def recall(
        self,
        key: Sequence[Any],
        compute: Callable[[], Result],
        most: Mapping[str, float],
        spared: Collection[str] = (),
    ) -> Result:
        """The result of that key: from the journal, or computed and written down.

        most: the numbers of a result, and the largest that each can be: a whole one where that is;
        spared: those that may be missing. Raises OptionError where the journal's are others.
        """
        name = json.dumps(key)
        if name not in self.known:
            self.known[name] = compute()
            self._append({"key": key, "result": self.known[name]})
        result = self.known[name]
        whole = most.keys() - set(spared) <= result.keys() <= most.keys()
        if not whole or not all(_fits(value, most[each]) for each, value in result.items()):
            wanted = [f"{each} from 0 to {value:g}" for each, value in most.items()]
            raise self.refused(key, wanted)
        return result

    def refused(self, key: Sequence[Any], wanted: Iterable[str]) -> OptionError:
        """The answer to a result that makes no sense."""
        found = f"{_brief(self.known[json.dumps(key)])} as result of {_brief(key)}"
        return OptionError(f"journal {self.path}: {found}", listed(wanted), "give another file")

    def _open(self, path: Path, header: Result, there: bool) -> None:
        content = path.read_bytes()
        first = _line(header)
        if first.startswith(content):  # new, empty, or killed while the first line was written
            return self._write(path, first, there)
        whole = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
        entries = [_entry(line) for line in whole]
        sound = [place for place, entry in enumerate(entries) if entry is not None]
        if not sound and _begun(content):
            self._tell_dropped(len(content))
            return self._write(path, first, there)
        if not sound and whole and _entry(whole[0].rstrip(b"\r")):
            raise OptionError(
                f"journal {path} with lines that end with CR LF",
                "LF, as a search writes",
                "undo what changed them",
            )
        self._check(entries[0] if entries else None, whole, header)
        last = sound[-1] + 1
        for number, entry in enumerate(entries[1:last], 2):
            if entry is None or not self._keeps(entry):
                raise OptionError(
                    f"journal {path}: line {number} is damaged, and lines after it are not",
                    "what a search writes",
                    "delete it from there on",
                )
        self.resumed = len(self.known)
        size = sum(len(line) + 1 for line in whole[:last])
        if len(content) > size:
            self._tell_dropped(len(content) - size)
        with path.open("r+b") as file:
            file.truncate(size)

    def _tell_dropped(self, size: int) -> None:
        self.told(
            f"journal {self.path}: its last {size} bytes are no whole lines; "
            f"it goes on from the {len(self.known)} results before them"
        )

    def _keeps(self, entry: Result) -> bool:
        """Whether an entry is a result, the only one of its key."""
        result, name = entry.get("result"), json.dumps(entry.get("key"))
        if not isinstance(result, dict) or "key" not in entry or name in self.known:
            return False
        self.known[name] = result
        return True

    def _check(self, first: Result | None, whole: Sequence[bytes], header: Result) -> None:
        """Raises OptionError where the first line is another search's."""
        if first is None and whole and _unsigned(whole[0]).get(KIND) == 1:
            raise OptionError(
                f"journal {self.path} is of an earlier refq, without checksums",
                "one that this version began",
                "give another file",
            )
        if first is None or KIND not in first:
            damaged = first is None and whole[:1] and whole[0].startswith(f'{{"{KIND}"'.encode())
            told = f"journal {self.path}: line 1 is damaged, and lines after it are not"
            other = f"{self.path} is no journal of a search"
            raise OptionError(told if damaged else other, "a journal, or a new file")
        differing = [key for key in header if first.get(key) != header[key]]
        if differing:
            # short values tell best what was changed
            key = min(differing, key=lambda key: len(repr(header[key])))
            place, found, wanted = _difference(key, first.get(key), header[key])
            others = [each for each in differing if each != key]
            more = f" (and other {listed(others)})" if others else ""
            raise OptionError(
                f"journal {self.path} is of another search: {place} {_brief(found)}",
                f"{_brief(wanted)}{more}",
                "give another file",
            )

    def _append(self, entry: Result) -> None:
        if self.path is not None:
            path, line = Path(self.path), _line(entry)
            size = path.stat().st_size if path.exists() else 0
            try:
                with path.open("ab") as file:
                    _flushed(file, line)
            except OSError as error:
                with contextlib.suppress(OSError):  # what is told is why
                    os.truncate(path, size)
                told = f"cannot write journal {path} ({error.strerror})"
                raise OptionError(told, remedy="the same command goes on from it") from None

    def _write(self, path: Path, first: bytes, there: bool) -> None:
        try:
            with path.open("wb") as file:
                _flushed(file, first)
        except OSError:
            if not there:
                path.unlink(missing_ok=True)
            raise


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


def _difference(place: str, found: Any, wanted: Any) -> tuple[str, Any, Any]:
    """The first place where two values differ: (its keys, what is there, what should be)."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in {**wanted, **found}:
            if found.get(key) != wanted.get(key):
                return _difference(f"{place}.{key}", found.get(key), wanted.get(key))
    return place, found, wanted


def _fits(value: Any, most: float) -> bool:
    """Whether it is a number from 0 to that, and a whole one where that is."""
    kinds = int if isinstance(most, int) else (int, float)
    sound = isinstance(value, kinds) and not isinstance(value, bool)
    return sound and 0 <= value <= most and value < math.inf


def _brief(value: Any) -> str:
    return clipped(repr(value), BRIEF)


def _there(path: Path) -> bool:
    """Whether there is such a file. Raises OptionError for what cannot be a journal."""
    if not path.exists():
        return False
    if not stat.S_ISREG(path.stat().st_mode):
        raise OptionError(f"cannot use journal {path}: no file", "a file, there or not yet")
    if path.stat().st_size > LONGEST:
        found = f"cannot use journal {path}: more than {LONGEST >> 20} MiB"
        raise OptionError(found, "a search's")
    return True


def _begun(content: bytes) -> bool:
    """Whether a file without a whole line is a journal whose first one a crash left unfinished, or
    as zeros."""
    written = content.rstrip(b"\0")
    start = f'{{"{KIND}": '.encode()
    return start.startswith(written) or (written.startswith(start) and b"\n" not in written)


def _line(entry: Result) -> bytes:
    """A line of JSON, its last key the checksum of the text before it."""
    text = json.dumps(entry)[:-1]
    return f'{text}, "crc": "{_checksum(text.encode())}"}}\n'.encode()


def _checksum(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"


def _entry(line: bytes) -> Result | None:
    """What a line holds; None for one that is not as it was written."""
    text, _, end = line.rpartition(b', "crc": "')
    return _unsigned(line) or None if end == f'{_checksum(text)}"}}'.encode() else None


def _unsigned(line: bytes) -> Result:
    """What a line holds, its checksum not looked at; nothing for what is no object."""
    try:
        entry = json_.parse(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _flushed(file: Any, line: bytes) -> None:
    """One write, and on the disk before anything else happens."""
    file.write(line)
    file.flush()
    os.fsync(file.fileno())
