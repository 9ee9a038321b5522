"""Folders of image files: class folders, or plain images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from refq.data.dataset import Dataset, shown
from refq.data.decoding import SUFFIXES, decode, pillow
from refq.errors import DataError, listed

# what systems and archivers put beside images; a folder of them would be a class
JUNK = {
    "__macosx",
    "@eadir",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "lost+found",
    "system volume information",
}
NAMED = 3  # names of what was left out that are told
KINDS = f"val.txt, CIFAR-10 batches, class folders of images, or images ({' '.join(SUFFIXES)})"


def natural_key(name: str) -> tuple[list[tuple[str, int]], str]:
    """Orders names by their text and the value of the numbers in it; the name breaks ties."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    return [(text, int(digits) if digits else -1) for text, digits in parts], name


def _as_it_is(name: str) -> str:
    return name


# of class folders: name, key to sort by; torchvision's ImageFolder has that of code points
ORDERS: dict[str, Callable[[str], object]] = {"natural": natural_key, "codepoint": _as_it_is}


@dataclass(frozen=True)
class _Entries:
    """What is in a folder, in natural order: images, sub-folders, and names that are left out."""

    images: list[Path]
    folders: list[Path]
    others: list[str]


def open_folder(folder: Path, order: str = "natural") -> Dataset:
    """Class folders where sub-folders hold images, else the folder's own images, unlabelled.

    Images are in natural order (img2 before img10), class folders in that or the one of ORDERS
    that is asked for. A class's label is its folder's place among all sub-folders, also empty
    ones; images go round the classes, so that any first N are mixed.
    """
    top = _entries(folder)
    classes = {path.name: _entries(path) for path in top.folders}
    if any(entries.images for entries in classes.values()):
        if top.images:
            raise DataError(
                f"{folder} holds {len(top.images)} images beside {len(classes)} class folders",
                "one or the other",
                "move one of them away",
            )
        for entries in classes.values():
            for inner in entries.folders:
                if _entries(inner).images:
                    raise DataError(
                        f"{inner} holds images beside class folders that do",
                        "class folders whose images are right in them",
                        "move them or the folder",
                    )
        return _open_classes(folder, classes, top.others, order)
    if not top.images:
        raise _nothing(folder, top, classes)
    pillow(f"reading the images of {folder}")
    images = top.images
    return Dataset(
        f"{_title(folder)} (image folder)",
        len(images),
        lambda index: decode(images[index]),
        lambda index: str(images[index]),
        notes=_left_out([*top.others, *(path.name for path in top.folders)]),
    )


def _open_classes(
    folder: Path, classes: dict[str, _Entries], others: Sequence[str], order: str
) -> Dataset:
    pillow(f"reading the images of {folder}")
    names = sorted(classes, key=ORDERS[order])  # type: ignore[arg-type]
    rounds = zip_longest(*(classes[name].images for name in names))
    pairs = [
        (path, label) for each in rounds for label, path in enumerate(each) if path is not None
    ]
    paths = [path for path, _ in pairs]
    empty = [name for name in names if not classes[name].images]
    unused = [
        f"{name}/{inner}"
        for name in names
        for inner in (*classes[name].others, *(path.name for path in classes[name].folders))
    ]
    notes = [f"no images in {shown(listed(empty, NAMED))}"] if empty else []
    return Dataset(
        f"{_title(folder)} ({len(names)} class folders)",
        len(paths),
        lambda index: decode(paths[index]),
        lambda index: str(paths[index]),
        np.array([label for _, label in pairs], np.int64),
        tuple(names),
        _told(order, names),
        (*notes, *_left_out([*others, *unused])),
    )


def _told(order: str, names: list[str]) -> str:
    """The order of class folders, and whether another one would give other labels."""
    others = [
        f" (--class-order {other} would number them otherwise)"
        for other, key in ORDERS.items()
        if names != sorted(names, key=key)  # type: ignore[arg-type]
    ]
    return f"{order} order{''.join(others)}"


def _entries(folder: Path) -> _Entries:
    """Image files and sub-folders, hidden ones left out. What is named like an image and is no
    file, as a link that leads nowhere, is told once it is read."""
    images, folders, others = [], [], []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
        for entry in entries:
            path = folder / entry.name
            hidden = entry.name.startswith(".") or entry.name.lower() in JUNK
            # The suffix first: it spares a look at the disk for each of 50,000 files.
            image = os.path.splitext(entry.name)[1].lower() in SUFFIXES
            if hidden:
                others.append(entry.name)
            elif image and not _is_folder(entry):
                images.append(path)
            elif _is_folder(entry):
                folders.append(path)
            elif entry.is_symlink() and not path.exists():
                raise DataError(
                    f"{path} is a link that leads nowhere", "a folder", "mend or remove it"
                )
            else:
                others.append(entry.name)
    except OSError as error:
        raise DataError(f"cannot list {folder} ({error.strerror})", "a readable folder") from None
    return _Entries(images, folders, others)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _nothing(folder: Path, top: _Entries, classes: dict[str, _Entries]) -> DataError:
    """What to say of a folder without images, which may be further down."""
    for entries in classes.values():
        for inner in entries.folders:
            if _entries(inner).images:
                return DataError(
                    f"no images in {folder}, but in {inner}", KINDS, f"give {inner.parent}"
                )
    held = [path.name for path in top.folders] + top.others
    told = f", which holds {shown(listed(held, NAMED))}" if held else ", which is empty"
    return DataError(f"no images in {folder}{told}", KINDS, "check the path")


def _left_out(names: Sequence[str]) -> tuple[str, ...]:
    return (f"left out: {shown(listed(names, NAMED))}",) if names else ()


def _title(folder: Path) -> str:
    return shown(folder.resolve().name or str(folder))
