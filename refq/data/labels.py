"""Labels that are given beside data: one whole number for each input."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from refq.data.dataset import Dataset, shown
from refq.data.stored import of_npy
from refq.errors import DataError, OptionError, clipped
from refq.files import given, kinds

LABEL = re.compile(r"[+-]?[0-9]{1,9}")
WANTED = "a whole number for each input: a line of text each, or a .npy array of integers"


def relabelled(dataset: Dataset, path: str) -> Dataset:
    """The data set with the labels of a file, which take the place of its own.

    Raises DataError for labels that are none or not one for each input, OptionError for data of
    two splits, whose labels are known.
    """
    if dataset.splits:
        raise OptionError(f"--labels with {dataset.name}", "data of one split")
    file = Path(path)
    try:
        array = kinds.head_of(file).startswith(b"\x93NUMPY")
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})", WANTED) from None
    values = of_npy(file)[""].values() if array else _of_text(file)
    labels = checked(values, len(dataset), path)
    return replace(
        dataset,
        labels=labels,
        classes=None,
        order="",
        notes=(*dataset.notes, _note(dataset, labels, path)),
    )


def _note(dataset: Dataset, labels: np.ndarray, path: str) -> str:
    if dataset.labels is None:
        return f"labels of {shown(path)}"
    other = int((labels != dataset.labels).sum())
    return f"labels of {shown(path)} in place of the data's own, of which {other:,} are others"


def checked(values: np.ndarray, count: int, where: str) -> np.ndarray:
    """Labels as int64 (count,), from integers of any size and order, (count,) or (count, 1)."""
    if values.dtype.kind not in "iu":
        raise DataError(f"{where}: labels of dtype {values.dtype}", "integers")
    if values.shape not in ((count,), (count, 1)):
        scores = values.ndim == 2 and len(values) == count
        remedy = "of one score a class, save the argmax over them" if scores else ""
        raise DataError(f"{where}: labels of shape {values.shape}", f"({count},)", remedy)
    if values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{where}: label {values.max()}", "int64")
    return values.reshape(count).astype(np.int64)


def _of_text(path: Path) -> np.ndarray:
    try:
        lines = list(given.lines(given.text(path)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path} ({reason})", WANTED) from None
    for number, line in lines:
        if not LABEL.fullmatch(line):
            raise DataError(f"{path}:{number}: {clipped(line, 60)!r}", "a whole number a line")
    return np.array([int(line) for _, line in lines], np.int64)
