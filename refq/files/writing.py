"""Files and folders that appear whole or not at all, and checks that they could be written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refq.errors import OptionError
from refq.files.partial import longest, partial_folder


def check_writable(*paths: str | None) -> None:
    """Raises OptionError for a file that could not be written at the end of a long run."""
    for path in paths:
        if path:
            target = _place(path)
            folder = target.parent
            changed = [] if _special(target) else [folder]
            changed += [target] if os.path.exists(target) else []
            partial = folder / longest(target)
            if os.path.isdir(target) or not folder.is_dir() or _too_long(partial):
                raise OptionError(f"cannot write {path}", "a file in an existing folder")
            if not all(os.access(place, os.W_OK) for place in changed):
                raise OptionError(f"cannot write {path}", "a file that may be written")


def _too_long(path: Path) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def _special(target: Path) -> bool:
    """Whether it is a device or a pipe, which nothing may take the place of."""
    return os.path.exists(target) and not os.path.isfile(target)  # a long name raises nothing here


def _place(path: str) -> Path:
    """Where a file is written: a link stays, and what it leads to is replaced."""
    return Path(path) if _special(Path(path)) else Path(os.path.realpath(path))


def write_whole(path: str, write: Callable[[Path], object]) -> None:
    """Writes beside the target and moves it there, so that no half file is ever seen; who may read
    and write the target stays. A device or a pipe is handed to `write` itself. Raises OptionError
    for what the system refuses."""
    target = _place(path)
    with _told(path):
        if _special(target):
            write(target)
            return
        with partial_folder(target, target.parent) as folder:
            # of its own name: a writer may tell files apart by their suffix
            partial = folder / target.name
            write(partial)
            if target.exists():
                shutil.copymode(target, partial)
            os.replace(partial, target)


def check_folder(path: str) -> None:
    """Raises OptionError for a folder that neither is there nor could be made."""
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise OptionError(f"{path} is no folder", "a folder, there or not yet")
    above = target if target.is_dir() else target.parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise OptionError(f"cannot write {path}", "a folder in an existing one")


def write_folder(path: str, files: Mapping[str, bytes]) -> None:
    """{name: content} into a folder. A new folder appears with all of them; in one that is there,
    files of the same name are replaced, each whole, and only once all are on the disk."""
    target = Path(os.path.abspath(path))
    # beside a new folder, inside one that is there: on the same disk, where moving is at once
    beside = target if target.exists() else target.parent
    with _told(path), partial_folder(target, beside) as partial:
        for name, content in files.items():
            (partial / name).write_bytes(content)
        if beside != target:
            os.rename(partial, target)
            return
        for name in files:
            os.replace(partial / name, target / name)


@contextlib.contextmanager
def new_folder(path: str) -> Iterator[Path]:
    """A folder to fill, which appears under its name only when the block ends well; otherwise
    nothing of it stays. Raises OptionError where something is there already."""
    target = Path(os.path.abspath(path))
    check_new_folder(path)
    with _told(path), partial_folder(target, target.parent) as partial:
        yield partial
        os.rename(partial, target)


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """What the system refuses inside, as an OptionError."""
    try:
        yield
    except OSError as error:
        raise OptionError(f"cannot write {path} ({error.strerror or error})") from None


def every(*steps: Callable[[], object]) -> None:
    """Takes every step, so that what one cannot write costs no other its result; then raises what
    went wrong first."""
    failures = []
    for step in steps:
        try:
            step()
        except OptionError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def check_new_folder(path: str) -> None:
    """Raises OptionError for a folder that is there, or could not be made."""
    check_folder(path)
    target = Path(path)
    if target.exists() and any(target.iterdir()):
        raise OptionError(f"{path} is there and not empty", "a new folder", "choose another name")


def write_text(path: str, text: str) -> None:
    write_whole(path, lambda partial: partial.write_text(text))


def write_json(path: str, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_arrays(path: str, parts: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Batches (n, ...) of several arrays by name, as one .npz archive."""

    def write(partial: Path) -> None:
        # np.savez takes names as keywords, some of which are its own
        with zipfile.ZipFile(partial, "w") as archive:
            for name, batches in parts.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    values = np.concatenate(list(batches))
                    np.lib.format.write_array(file, values, allow_pickle=False)

    write_whole(path, write)


def write_array(path: str, parts: Sequence[np.ndarray]) -> None:
    """Batches (n, ...) as one .npy array."""

    def write(partial: Path) -> None:
        values = np.ascontiguousarray(np.concatenate(list(parts)))
        with partial.open("wb") as file:
            # np.save asks a file for its position, which a pipe does not have
            header = np.lib.format.header_data_from_array_1_0(values)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(values.data)

    write_whole(path, write)
