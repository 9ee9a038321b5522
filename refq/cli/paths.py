"""Paths of a command line: which are read and which are written, and that these are apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from refq.data import file_of
from refq.data.presets import PRESETS
from refq.errors import OptionError
from refq.files import writing
from refq.files.apart import Named, check_apart, check_flows, check_streams
from refq.networks import bundled

# what an option's value is a path of: what is read, of that networks, weights, data sets and
# preprocessing, which words may name, too; a file, files whose names begin with it, or a folder
# that is written
INPUT, MODEL, WEIGHTS = "input", "model", "weights"
DATA, RULE = "data", "preprocessing"
FILE, FILES, FOLDER = "file", "files", "folder"
WORDS = {
    # a network's name, which no file ending makes a path
    MODEL: re.compile("[^./]*"),
    WEIGHTS: re.compile("random:.*", re.DOTALL),
    DATA: re.compile("random:.*|bundled", re.DOTALL),
    RULE: re.compile("|".join(PRESETS)),
}
# what is no file
STDOUT = ("json", "-")


class Row(Protocol):
    """What of an option says which paths it has."""

    @property
    def name(self) -> str: ...
    @property
    def told(self) -> str: ...
    @property
    def path(self) -> str: ...


def check(rows: Sequence[Row], values: Mapping[str, Any]) -> None:
    """Raises OptionError for outputs that would write over an input or each other, and for files
    that could not be written at the end of a long run."""
    named = {row: list(_named(row, values)) for row in rows if row.path}
    # whoever reads weights or images may read those that come with refq
    own = bundled_files() if any(row.path in WORDS for row in rows) else []
    typed = [each for every in named.values() for each in every]
    for each in typed:
        if each.written and each.path == STDOUT[1]:
            wanted = "a name: standard output is for --json alone"
            raise OptionError(f"{each.role} -", wanted, "./- is a file of that name")
    check_apart([*typed, *own])
    check_streams(typed)
    printed = [Named("--json", "/dev/stdout", True)] if values.get("json") == "-" else []
    check_flows([*printed, *typed])
    for row, every in named.items():
        if row.path in (FILE, FILES):
            writing.check_writable(*(each.path for each in every))


def _named(row: Row, values: Mapping[str, Any]) -> Iterator[Named]:
    value = values[row.name]
    several = value if isinstance(value, (list, tuple)) else [value]
    for each in several:
        word = row.path in WORDS and each is not None and WORDS[row.path].fullmatch(each)
        if each is not None and not word and (row.name, each) != STDOUT:
            path = file_of(str(each)) if row.path == DATA else str(each)
            yield Named(row.told, path, row.path in (FILE, FILES, FOLDER), row.path == FILES)


def bundled_files() -> list[Named]:
    """The files that come with refq, as inputs."""
    return [Named("bundled files", str(folder)) for folder in bundled.folders()]
