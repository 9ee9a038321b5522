"""Folders of image files: ILSVRC-2012 with val.txt, class folders, plain images."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from refq.data.dataset import Dataset
from refq.data.decoding import SUFFIXES, decode, pillow
from refq.errors import DataError

LIST_NAME = "val.txt"
LABEL = re.compile(r"[+-]?[0-9]{1,9}")


def open_listed(folder: Path) -> Dataset:
    """The images that the folder's val.txt names, in its order (ILSVRC-2012 as Caffe has it).

    A line is a path below the folder, white space, and the label. Raises DataError with file:line.
    """
    pillow(f"reading the images of {folder}")
    source = folder / LIST_NAME
    try:
        lines = source.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {source} ({error})", "lines of 'name label'") from None
    paths, labels, numbers = [], [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        here = f"{source}:{number}"
        name, label = [*line.rsplit(maxsplit=1), ""][:2]
        if not label:
            raise DataError(f"{here}: {line.strip()!r}", "an image's name and its label")
        if not LABEL.fullmatch(label):
            raise DataError(f"{here}: label {label!r}", "a whole number", "write 'name label'")
        path = folder / name.strip()
        if not path.is_file():
            raise DataError(
                f"{here}: no image {path}",
                f"a file in the folder of {LIST_NAME}",
                "fetch the image or remove the line",
            )
        paths.append(path)
        labels.append(int(label))
        numbers.append(number)
    if not paths:
        raise DataError(f"{source} names no images", "lines of 'name label'")

    def where(index: int) -> str:
        return f"{source}:{numbers[index]} ({paths[index].name})"

    name = f"{_title(folder)} (Caffe {LIST_NAME})"
    return Dataset(name, len(paths), _reader(paths), where, np.array(labels, np.int64))


def open_folder(folder: Path) -> Dataset:
    """Class folders where sub-folders hold images, else the folder's own images, unlabelled.

    Names are in natural order (img2 before img10). A class's label is its folder's place among
    all sub-folders, also empty ones; images go round the classes, so that any first N are mixed.
    """
    images, sub_folders = _entries(folder)
    classes = [(each.name, _entries(each)[0]) for each in sub_folders]
    if any(paths for _, paths in classes):
        if images:
            raise DataError(
                f"{folder} holds {len(images)} images beside {len(classes)} class folders",
                "one or the other",
                "move one of them away",
            )
        return _open_classes(folder, classes)
    if not images:
        raise DataError(
            f"no images in {folder}",
            f"{LIST_NAME}, CIFAR-10 batches, class folders or image files ({' '.join(SUFFIXES)})",
            "check the path",
        )
    pillow(f"reading the images of {folder}")
    name = f"{_title(folder)} (image folder)"
    return Dataset(name, len(images), _reader(images), lambda index: str(images[index]))


def _open_classes(folder: Path, classes: Sequence[tuple[str, list[Path]]]) -> Dataset:
    pillow(f"reading the images of {folder}")
    rounds = zip_longest(*(paths for _, paths in classes))
    pairs = [
        (path, label) for each in rounds for label, path in enumerate(each) if path is not None
    ]
    paths = [path for path, _ in pairs]
    labels = np.array([label for _, label in pairs], np.int64)
    return Dataset(
        f"{_title(folder)} ({len(classes)} class folders)",
        len(paths),
        _reader(paths),
        lambda index: str(paths[index]),
        labels,
        tuple(name for name, _ in classes),
    )


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Image files and sub-folders, hidden ones left out, in natural order."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot list {folder} ({error.strerror})", "a readable folder") from None
    entries.sort(key=lambda entry: natural_key(entry.name))
    # The suffix first: it spares a look at the disk for each of 50,000 files.
    images = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    return images, [entry for entry in entries if entry.is_dir()]


def natural_key(name: str) -> tuple[list[tuple[str, int]], str]:
    """Orders names by their text and the value of the numbers in it; the name breaks ties."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    return [(text, int(digits) if digits else -1) for text, digits in parts], name


def _reader(paths: Sequence[Path]) -> Callable[[int], np.ndarray]:
    return lambda index: decode(paths[index])


def _title(folder: Path) -> str:
    return folder.resolve().name or str(folder)
