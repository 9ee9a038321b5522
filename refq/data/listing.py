"""ILSVRC-2012 as Caffe has it: a folder whose val.txt names its images and their labels."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import numpy as np

from refq.data.dataset import Dataset, shown
from refq.data.decoding import SUFFIXES, decode, pillow
from refq.data.labels import LABEL
from refq.errors import DataError, clipped
from refq.files import given

NAME = "val.txt"


def listed_in(folder: Path) -> bool:
    """Whether there is a val.txt, be it a link that leads nowhere. Raises DataError for one whose
    name is written in other letters, which would be passed over."""
    if os.path.lexists(folder / NAME):
        return True
    for name in os.listdir(folder):
        if name.lower() == NAME:
            raise DataError(f"{folder / name}", f"a list named {NAME}", "rename it")
    return False


def open_listed(folder: Path) -> Dataset:
    """The images that the folder's val.txt names, in its order.

    A line is a path below the folder, white space, and the label. Raises DataError with file:line.
    """
    pillow(f"reading the images of {folder}")
    source = folder / NAME
    try:
        text = given.text(source)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {source} ({reason})", "lines of 'name label'") from None
    paths, labels, numbers = [], [], []
    seen: dict[str, int] = {}
    for number, line in given.lines(text):
        name, label = _parts(line, f"{source}:{number}")
        first = seen.setdefault(os.path.normpath(name), number)
        if first != number:
            raise DataError(
                f"{source}:{number}: {name} again, as in line {first}",
                "each image once",
                "remove one of the lines",
            )
        paths.append(_image(folder, name, f"{source}:{number}"))
        labels.append(label)
        numbers.append(number)
    if not paths:
        raise DataError(f"{source} names no images", "lines of 'name label'")

    def where(index: int) -> str:
        return f"{source}:{numbers[index]} ({paths[index].name})"

    return Dataset(
        shown(f"{folder.resolve().name or folder} (Caffe {NAME})"),
        len(paths),
        lambda index: decode(paths[index]),
        where,
        np.array(labels, np.int64),
        notes=_unlisted(paths),
    )


def _parts(line: str, here: str) -> tuple[str, int]:
    """(name, label) of a line."""
    name, label = given.split_last(line, " \t")
    if not name:
        raise DataError(f"{here}: {clipped(line, 60)!r}", "an image's name and its label")
    if not LABEL.fullmatch(label):
        told = clipped(label, 40)
        raise DataError(f"{here}: label {told!r}", "a whole number", "write 'name label'")
    return name, int(label)


def _image(folder: Path, name: str, here: str) -> Path:
    """Where a listed image is. Raises DataError for a name that leads elsewhere, or nowhere."""
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise DataError(
            f"{here}: {name} leads out of the folder",
            f"a path below {folder}",
            "write names as they are below it",
        )
    path = folder / name
    try:
        if path.is_file():
            return path
        reason = " (a link that leads nowhere)" if path.is_symlink() else ""
        reason = f" ({given.kind_of(path.stat().st_mode)})" if path.exists() else reason
    except OSError as error:
        reason = f" ({error.strerror})"
    raise DataError(
        f"{here}: no image {path}{reason}",
        f"a file in the folder of {NAME}",
        _alike(path) or "fetch the image or remove the line",
    )


def _alike(path: Path) -> str:
    """What the name could mean; empty where it is there, or nothing is like it."""
    if "\\" in path.name:
        return "write / between folders"
    try:
        if path.exists():
            return ""
        for name in os.listdir(path.parent):
            if name.lower() == path.name.lower():
                return f"there is {name}: write it in the same letters"
    except OSError:
        pass
    return ""


def _unlisted(paths: list[Path]) -> tuple[str, ...]:
    """A note of image files that are beside those of the list, and not in it."""
    listed = {str(path) for path in paths}
    count = 0
    for folder in {path.parent for path in paths}:
        for entry in os.scandir(folder):
            image = os.path.splitext(entry.name)[1].lower() in SUFFIXES
            count += (
                image and not entry.name.startswith(".") and str(folder / entry.name) not in listed
            )
    return (f"images beside them that {NAME} does not name: {count:,}",) if count else ()
