"""Which class each folder or named class of a data set is, by a file that says so.

The file lists all classes of the network in order, a line each, which may go on behind the name
(`n01440764 tench, Tinca tinca`); or its lines are `name index`. As JSON it is a list, an object
{"name": index}, or Keras' {"0": ["n01440764", "tench"], ...}.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from refq.data.dataset import Dataset, shown
from refq.errors import DataError, OptionError, clipped
from refq.files import given, json_

MOST_BYTES = 4 << 20  # of ImageNet's 21,841 classes, names take 1.3 MB
LARGEST = 1 << 30
INDEX = re.compile("[0-9]{1,9}")
NUMBER = re.compile("[+-]?[0-9][0-9.]*")
WANTED = "lines of names in the order of the classes, or of 'name index'; or JSON of the same"


@dataclass(frozen=True)
class Numbering:
    """The index of each name; and all classes in order, where the file lists them."""

    indices: dict[str, int]
    classes: tuple[str, ...] | None


def renumbered(dataset: Dataset, path: str) -> Dataset:
    """The data set with labels as a file numbers its classes. Raises DataError for a class that is
    not in the file, OptionError for data without names of classes."""
    if dataset.labels is None or dataset.classes is None:
        raise OptionError(f"--classes with {dataset.name}", "data whose classes have names")
    numbering = load(Path(path))
    used = set(np.unique(dataset.labels).tolist())
    indices = []
    for label, name in enumerate(dataset.classes):
        index = numbering.indices.get(name)
        if index is None and label in used:
            near = difflib.get_close_matches(name, numbering.indices, 1)
            raise DataError(
                f"{path}: no class {clipped(name, 60)}, as {dataset.name} has",
                "each of its classes",
                f"the nearest is {clipped(near[0], 60)}" if near else "add it to the file",
            )
        indices.append(-1 if index is None else index)
    return replace(
        dataset,
        labels=np.array(indices, np.int64)[dataset.labels],
        classes=numbering.classes,
        order="",
        notes=(*dataset.notes, f"{len(used)} classes numbered by {shown(path)}"),
    )


def load(path: Path) -> Numbering:
    """Raises DataError for a file that cannot be read, or that numbers nothing, or a name twice."""
    try:
        text = given.text(path, MOST_BYTES)
        as_json = text.lstrip()[:1] in ("[", "{")
        rows = _of_json(text) if as_json else _of_lines(text)
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})", WANTED) from None
    except ValueError as error:
        raise DataError(f"{path}: {error}", WANTED) from None
    if not rows:
        raise DataError(f"{path} names no classes", WANTED)
    return rows


def _of_lines(text: str) -> Numbering | None:
    lines = list(given.lines(text))
    pairs = [(number, *given.split_last(line, " \t,")) for number, line in lines]
    if all(_numbers(name, index) for _, name, index in pairs):
        rows = ((f"line {number}", name, int(index)) for number, name, index in pairs)
        return Numbering(_once(rows), None) if pairs else None
    numbered = sum(bool(name and NUMBER.fullmatch(index)) for _, name, index in pairs)
    if 2 * numbered >= len(pairs):  # names in order would number all classes behind it otherwise
        wrong = next(at for at, (_, name, index) in enumerate(pairs) if not _numbers(name, index))
        number, line = lines[wrong]
        raise ValueError(f"line {number}: {clipped(line, 60)!r}, where others are 'name index'")
    names = [line for _, line in lines]
    return _listed(names) if names else None


def _numbers(name: str, index: str) -> bool:
    return bool(name and INDEX.fullmatch(index))


def _listed(names: list[str]) -> Numbering:
    """Each name; what is before a comma or a tab, and its first word, where that is so of one."""
    indices = _once((f"class {index}", name, index) for index, name in enumerate(names))
    for between in ("[,\t]", "[ ,\t]"):
        begins = [re.split(between, name, maxsplit=1)[0] for name in names]
        if len(set(begins)) == len(begins):
            indices = {**dict(zip(begins, range(len(begins)))), **indices}
    return Numbering(indices, tuple(names))


def _of_json(text: str) -> Numbering | None:
    stored = json_.parse(text.encode())
    if isinstance(stored, dict) and stored.keys() == {str(each) for each in range(len(stored))}:
        rows = [stored[str(each)] for each in range(len(stored))]
        if not all(isinstance(row, int) for row in rows):
            stored = [row[0] if isinstance(row, list) and row else row for row in rows]
    if isinstance(stored, list):
        if not all(isinstance(name, str) for name in stored):
            raise ValueError("a list with something else than names")
        return _listed(stored) if stored else None
    if not all(type(index) is int and 0 <= index < LARGEST for index in stored.values()):
        raise ValueError("an object with something else than indices")
    return Numbering(dict(stored), None) if stored else None


def _once(rows: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for where, name, index in rows:
        if name in found:
            raise ValueError(f"{where}: {name} again")
        found[name] = index
    return found
