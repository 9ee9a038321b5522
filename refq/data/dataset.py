"""The one type behind every kind of data, and what can be asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refq.errors import DataError, printable

DIGEST_IMAGES = 64
SHOWN = 3  # images that a report shows with their labels


@dataclass(frozen=True, eq=False)
class Dataset:
    """Numbered images, decoded one at a time, or rows of an array; labels where they are known.

    name: shown in reports. read(index): the decoded image; where(index): its place, for errors.
    array: of rows of an array, which have the network's shape, the type that they are stored as.
    labels: int64 (count,). classes: a name for each label value. order: of class folders, where
    there are such. notes: what there is to tell of what was found, and left out. splits: whether
    test and calibration images are two sets.
    """

    name: str
    count: int
    read: Callable[[int], np.ndarray]
    where: Callable[[int], str]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    order: str = ""
    notes: tuple[str, ...] = ()
    splits: bool = False
    array: np.dtype | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and self.labels.shape != (self.count,):
            raise DataError(
                f"{self.name}: labels of shape {self.labels.shape}",
                f"one for each of {self.count} images",
            )

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        """uint8 RGB (rows, columns, 3); of an array uint8 or float32, in the network's shape.
        Raises DataError naming an image it cannot read."""
        if not 0 <= index < self.count:
            raise DataError(f"{self.name}: image {index}", f"0..{self.count - 1}")
        return self.read(index)


def check_labels(dataset: Dataset, classes: int, numbered_by: str = "") -> None:
    """Raises DataError where labels cannot be those of a network of so many classes: it has more
    or fewer than the data, or the first label outside 0..classes-1. Unlabelled data passes.
    numbered_by: the file that says which class each is, if one does."""
    if dataset.labels is None:
        return
    if dataset.classes is not None and len(dataset.classes) != classes:
        remedy = "give data of all its classes, or --classes FILE that says which each one is"
        raise DataError(
            f"{shown(numbered_by) or dataset.name}: {_classes(len(dataset.classes))}",
            f"{classes:,}, as the network has",
            "list all of them in order, or write 'name index' lines" if numbered_by else remedy,
        )
    wrong = np.flatnonzero((dataset.labels < 0) | (dataset.labels >= classes))
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"{dataset.where(first)}: label {dataset.labels[first]}",
            f"0..{classes - 1} for a network of {classes} classes",
            "check that data and weights belong together",
        )


def _classes(count: int) -> str:
    return f"{count:,} class{'es' if count > 1 else ''}"


def labelling(dataset: Dataset, start: int, stop: int) -> dict[str, Any] | None:
    """What a report tells of the labels of images start..stop-1; None where there are none.

    `classes` that occur, of them the `first` and `last`, and the `fewest` and `most` images of
    one; `images`: the first few with their labels and names of classes; `order` of class folders.
    """
    if dataset.labels is None or start == stop:
        return None
    found, counts = np.unique(dataset.labels[start:stop], return_counts=True)
    return {
        "classes": len(found),
        "first": int(found[0]),
        "last": int(found[-1]),
        "fewest": int(counts.min()),
        "most": int(counts.max()),
        "images": [_labelled(dataset, index) for index in range(start, min(stop, start + SHOWN))],
        "order": dataset.order or None,
    }


def shown(name: str) -> str:
    """A name of a file or a class as reports show it: on one line, whatever is in it."""
    return printable(name).replace("\n", "\\n")


def _labelled(dataset: Dataset, index: int) -> dict[str, Any]:
    assert dataset.labels is not None
    label = int(dataset.labels[index])
    named = dataset.classes is not None and 0 <= label < len(dataset.classes)
    return {
        "image": shown(dataset.where(index)),
        "label": label,
        "class": shown(dataset.classes[label]) if named and dataset.classes else None,
    }


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
        try:
            image = dataset.image(index)
        except DataError:
            # a run that went well ends with this: one that nobody evaluated must not end it
            total.update(f"{index} unreadable\n".encode())
            continue
        kind = "" if image.dtype == np.uint8 else f" {image.dtype}"
        total.update(f"{index} {image.shape}{kind}\n".encode())
        total.update(np.ascontiguousarray(image).tobytes())
    return total.hexdigest()
