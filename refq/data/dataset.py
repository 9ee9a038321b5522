"""The one type behind every kind of data, and what can be asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from refq.errors import DataError

DIGEST_IMAGES = 64


@dataclass(frozen=True, eq=False)
class Dataset:
    """Numbered images, decoded one at a time; labels where they are known.

    name: shown in reports. read(index): the decoded image; where(index): its place, for errors.
    labels: int64 (count,). classes: a name for each label value.
    """

    name: str
    count: int
    read: Callable[[int], np.ndarray]
    where: Callable[[int], str]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and self.labels.shape != (self.count,):
            raise DataError(
                f"{self.name}: labels of shape {self.labels.shape}",
                f"one for each of {self.count} images",
            )

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        """uint8 RGB (rows, columns, 3). Raises DataError naming an image it cannot read."""
        if not 0 <= index < self.count:
            raise DataError(f"{self.name}: image {index}", f"0..{self.count - 1}")
        return self.read(index)


def check_labels(dataset: Dataset, classes: int) -> None:
    """Raises DataError at the first label outside 0..classes-1; unlabelled data passes."""
    if dataset.labels is None:
        return
    wrong = np.flatnonzero((dataset.labels < 0) | (dataset.labels >= classes))
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"{dataset.where(first)}: label {dataset.labels[first]}",
            f"0..{classes - 1} for a network of {classes} classes",
            "check that data and weights belong together",
        )


def digest(dataset: Dataset, count: int) -> str:
    """SHA-256 that tells one data set from another in a report; hexadecimal.

    Over all labels of the first `count` images, and over sizes and pixels of at most
    64 of them, evenly spread: decoding all of ILSVRC would cost minutes. It does not depend on
    names or on the kind of file, so packing images as they are keeps it; it is no proof against
    one altered image among many.
    """
    if not 0 <= count <= len(dataset):
        raise DataError(f"{dataset.name}: digest of {count} images", f"0..{len(dataset)}")
    total = hashlib.sha256(f"{count}\n".encode())
    if dataset.labels is not None:
        total.update(np.ascontiguousarray(dataset.labels[:count], "<i8").tobytes())
    chosen = np.linspace(0, count - 1, min(count, DIGEST_IMAGES)).astype(int)
    for index in chosen.tolist():
        image = dataset.image(index)
        total.update(f"{index} {image.shape}\n".encode())
        total.update(np.ascontiguousarray(image).tobytes())
    return total.hexdigest()
