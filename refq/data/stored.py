"""Arrays of a file whose first axis counts inputs: what they are, and their rows one at a time."""

from __future__ import annotations

import math
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from refq.data.rows import Rows
from refq.errors import DataError
from refq.files import given, npy, npz
from refq.files.npy import Header
from refq.hdf5 import nodes
from refq.hdf5.file import NUMBERS, File
from refq.hdf5.nodes import Hdf5Error
from refq.networks.layers import Shape

# bytes of an array that can only be had as a whole: compressed, or in Fortran's order
MOST_WHOLE = 2 << 30
PIECE = 1 << 20
ROWS = "a .npy file in C order is read row by row, and may have any size"
COMPLETE = "a complete file"
AGAIN = "fetch it again"


@dataclass(frozen=True)
class Stored:
    """An array. shape: (N, ...). rows(): what gives the row of a number, as it is stored; values():
    all of an array that is small. They raise DataError, as does reading a row that is damaged."""

    name: str
    shape: Shape
    dtype: np.dtype
    rows: Callable[[], Callable[[int], np.ndarray]]
    values: Callable[[], np.ndarray]

    @property
    def numeric(self) -> bool:
        return self.dtype.kind in NUMBERS and self.dtype.itemsize <= 8


def of_npy(path: Path) -> Mapping[str, Stored]:
    """The array of a `.npy` file, by an empty name; values are read as they are asked for."""
    try:
        file = given.open_regular(path)
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})", "a .npy file") from None
    length = file.seek(0, 2)
    file.seek(0)
    try:
        header = _header(file, str(path))
        _check_length(str(path), header, length)
    except DataError:
        file.close()
        raise

    def values() -> np.ndarray:
        file.seek(header.begin)
        return _whole(file, header, str(path))

    def rows() -> Callable[[int], np.ndarray]:
        fortran = header.fortran and len(header.shape) > 1
        return _rows_of(values()) if fortran else _Read(file, header, path)

    return {"": Stored("", header.shape, header.dtype, rows, values)}


def of_npz(path: Path) -> Mapping[str, Stored]:
    """The arrays of a `.npz` archive; one is unpacked once, when it is opened."""
    try:
        with given.open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return {name: _packed(path, archive, name) for name in npz.names(archive)}
    except npz.ERRORS as error:
        raise _broken(path, error) from None


def _packed(path: Path, archive: zipfile.ZipFile, name: str) -> Stored:
    what = f"{path}: {name}"
    with archive.open(npz.entry(path, archive, name)) as file:
        header = _header(cast(BinaryIO, file), what)

    def values() -> np.ndarray:
        try:
            with given.open_regular(path) as whole, zipfile.ZipFile(whole) as again:
                entry = npz.entry(path, again, name)
                with again.open(entry) as packed:
                    stream = cast(BinaryIO, packed)
                    found = _header(stream, what)
                    _check_length(what, found, entry.file_size)
                    if (found.shape, found.dtype) != (header.shape, header.dtype):
                        raise DataError(f"{path} has changed", "the file that was opened")
                    return _whole(stream, found, what)
        except (KeyError, *npz.ERRORS) as error:
            raise _broken(path, error) from None

    return Stored(name, header.shape, header.dtype, lambda: _rows_of(values()), values)


def of_hdf5(file: File, place: str | None = None) -> Mapping[str, Stored]:
    """Datasets at the top of an HDF5 file, and the one at a place. Raises Hdf5Error."""
    # a link out of the file is refused where it is asked for, and else passed over
    found = {name: file.nodes.get(name) for name in file.root.names}
    if place is not None:
        found[place] = file.node(place)
    arrays = [node for node in found.values() if isinstance(node, nodes.Dataset)]
    return {node.path: _dataset(file, node) for node in arrays}


def _dataset(file: File, node: nodes.Dataset) -> Stored:
    def values() -> np.ndarray:
        try:
            return file.read(node)
        except Hdf5Error as error:
            raise DataError(error.found, error.wanted, error.remedy) from None

    return Stored(node.path, node.shape, node.dtype, lambda: Rows(file, node), values)


def _broken(path: Path, error: Exception) -> DataError:
    told = f"cannot read {path} as .npz ({npz.reason(error)})"
    return DataError(told, "a complete archive of np.savez", AGAIN)


def _header(file: BinaryIO, what: str) -> Header:
    try:
        return npy.header(file)
    except ValueError as error:
        raise DataError(f"{what}: {error}", "an array that np.save wrote", AGAIN) from None


def _check_length(what: str, header: Header, length: int) -> None:
    if header.dtype.hasobject:
        return  # whoever wants numbers says so; what there are is a pickle of any length
    if header.begin + header.nbytes != length:
        found = f"{what}: {length - header.begin:,} bytes of values, where {header.nbytes:,} are"
        raise DataError(f"{found} those of {header.dtype} {header.shape}", COMPLETE, AGAIN)


def _whole(file: BinaryIO, header: Header, what: str) -> np.ndarray:
    """The array that follows its header, in memory."""
    if header.dtype.kind not in NUMBERS:
        raise DataError(f"{what}: values of dtype {header.dtype}", "numbers")
    if header.nbytes > MOST_WHOLE:
        why = "in Fortran's order" if header.fortran else "in an archive"
        raise DataError(f"{what}: {header.nbytes:,} bytes {why}", f"at most {MOST_WHOLE:,}", ROWS)
    values = np.empty(math.prod(header.shape), header.dtype)
    view = values.view(np.uint8).data
    done = 0
    while done < len(view):
        got = file.readinto(view[done : done + PIECE])  # type: ignore[attr-defined]
        if not got:
            raise DataError(f"{what} ends early", COMPLETE, AGAIN)
        done += got
    return values.reshape(header.shape, order="F" if header.fortran else "C")


def _rows_of(values: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda index: np.asarray(values[index])


class _Read:
    """Rows of values that lie in a file in C order."""

    def __init__(self, file: BinaryIO, header: Header, path: Path) -> None:
        self.file, self.header, self.path = file, header, path
        self.lock = threading.Lock()

    def __call__(self, index: int) -> np.ndarray:
        row = np.empty(self.header.shape[1:], self.header.dtype)
        with self.lock:
            self.file.seek(self.header.begin + index * row.nbytes)
            got = self.file.readinto(row.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        if got != row.nbytes:
            raise DataError(f"{self.path} has become shorter", "the file that was opened")
        return row
