"""`golden.npz`: all arrays as .npy files in one zip archive, as np.load reads it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from refq.errors import DataError
from refq.files import npz
from refq.hardware.files import npy
from refq.hardware.files.array import Array
from refq.hardware.files.files import opened
from refq.hardware.files.words import LITTLE, Packing, Words

SUFFIX = ".npz"
SINGLE: str | None = "golden.npz"
TEXT = False
BYTE_ORDER = LITTLE
# of an entry: its two headers in the archive
OVERHEAD = 256
COPIED = 1 << 20
# the same codes make the same file, whenever it is written
DATE = (1980, 1, 1, 0, 0, 0)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the entry where nothing is gained by compressing it."""
    return npy.size(array, packing) + OVERHEAD + 2 * len(array.name)


class NpzWriter:
    """Arrays are spooled as .npy files and packed at the end: an archive's entries follow each
    other, while arrays grow in turns."""

    def __init__(self, folder: Path, packing: Packing, deflated: bool) -> None:
        self.path = folder / "golden.npz"
        self.spool = folder / ".golden.npz.spool"
        self.compression = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
        self.arrays = npy.writer(self.spool, packing)

    def append(self, array: Array, codes: np.ndarray) -> None:
        (self.spool / array.name).parent.mkdir(parents=True, exist_ok=True)
        self.arrays.append(array, codes)

    def close(self) -> None:
        self.arrays.close()
        with zipfile.ZipFile(self.path, "w") as archive:
            for name in self.arrays.ledger.progress:
                entry = zipfile.ZipInfo(name + npy.SUFFIX, DATE)
                entry.compress_type = self.compression
                spooled = self.spool / entry.filename
                with (
                    spooled.open("rb") as source,
                    archive.open(entry, "w", force_zip64=True) as target,
                ):
                    shutil.copyfileobj(source, target, COPIED)
                spooled.unlink()
        shutil.rmtree(self.spool, ignore_errors=True)


def writer(folder: Path, packing: Packing, deflated: bool = True) -> NpzWriter:
    return NpzWriter(folder, packing, deflated)


def names(path: Path) -> list[str]:
    """Names of the arrays in an archive."""
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            return npz.names(archive)
    except npz.ERRORS as error:
        raise _broken(path, error) from None


def read(path: Path, array: Array, packing: Packing) -> Words:
    """As of .npy files. Raises DataError where there is no array of that name."""
    try:
        with opened(path) as whole, zipfile.ZipFile(whole) as archive:
            entry = npz.entry(path, archive, array.name)
            with archive.open(entry) as file:
                return npy.read_stream(cast(BinaryIO, file), path, array, entry.file_size)
    except KeyError:
        raise DataError(f"{path}: no array {array.name}") from None
    except npz.ERRORS as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: unreadable archive ({npz.reason(error)})", "a .npz file, whole")
