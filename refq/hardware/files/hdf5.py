"""`golden.h5`: a dataset for each array, in chunks, with what it is as attributes."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np

from refq.errors import DataError
from refq.hardware.files.array import Array
from refq.hardware.files.files import Ledger, bounded, integers
from refq.hardware.files.words import LITTLE, Packing, Words, container, known_words

SUFFIX = ".h5"
SINGLE: str | None = "golden.h5"
TEXT = False
BYTE_ORDER = LITTLE
# of a dataset: its headers, attributes, and a leaf of the tree of its chunks
OVERHEAD = 8192
CHUNK = 1 << 16
DEFLATE = 4


def chunk_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Whole trailing axes, as many as make up to CHUNK words, and a part of the next one."""
    out, room = [1] * len(shape), CHUNK
    for axis in reversed(range(len(shape))):
        out[axis] = max(1, min(shape[axis], room))
        room //= max(1, out[axis])
        if out[axis] < shape[axis]:
            break
    return tuple(out)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the dataset where nothing is gained by compressing it."""
    chunk = chunk_shape(array.shape)
    chunks = math.prod(-(-whole // part) for whole, part in zip(array.shape, chunk))
    word = container(array.bits, array.signed).itemsize
    # a chunk at the edge takes the room of a whole one; a few bytes tell where each is
    return OVERHEAD + chunks * (math.prod(chunk) * word + 128) + 2 * len(array.name)


class Hdf5Writer:
    def __init__(self, folder: Path, packing: Packing, deflate: int | None) -> None:
        self.file = h5py.File(folder / "golden.h5", "w")
        self.deflate, self.ledger = deflate, Ledger()

    def append(self, array: Array, codes: np.ndarray) -> None:
        progress, flat, first = self.ledger.enter(array, codes)
        if first:
            self._create(array)
        row = math.prod(array.shape[_split(array.shape) :])
        done = (progress.words - progress.waiting.size) // row if row else 0
        ready = progress.taken(flat, max(1, row))
        if ready.size:
            _write_rows(self.file[array.name], ready.reshape(-1, row), done)

    def _create(self, array: Array) -> None:
        packed = bool(array.shape) and array.words > 0
        dataset = self.file.create_dataset(
            array.name,
            array.shape,
            container(array.bits, array.signed).newbyteorder("<"),
            chunks=chunk_shape(array.shape) if packed else None,
            compression=self.deflate if packed else None,
            shuffle=packed and self.deflate is not None,
            track_times=False,
        )
        dataset.attrs["axes"] = " ".join(array.axes)
        dataset.attrs["bits"] = array.bits
        dataset.attrs["signed"] = array.signed
        dataset.attrs["format"] = array.format

    def close(self) -> None:
        self.file.close()
        self.ledger.close()


def _split(shape: tuple[int, ...]) -> int:
    """The first of the axes that are written as one row, of up to CHUNK words."""
    axis = len(shape)
    while axis > 1 and math.prod(shape[axis - 1 :]) <= CHUNK:
        axis -= 1
    return axis


def _write_rows(dataset: h5py.Dataset, rows: np.ndarray, first: int) -> None:
    """Rows from that one on, as many at a time as lie in one block of the axis above them."""
    axis = _split(dataset.shape)
    outer, tail = dataset.shape[:axis], dataset.shape[axis:]
    done = 0
    while done < len(rows):
        place = np.unravel_index(first + done, outer)
        count = min(len(rows) - done, outer[-1] - int(place[-1]))
        block = rows[done : done + count].reshape(count, *tail)
        here = int(place[-1])
        dataset[tuple(map(int, place[:-1])) + (slice(here, here + count),)] = block
        done += count


def writer(folder: Path, packing: Packing, deflate: int | None = DEFLATE) -> Hdf5Writer:
    return Hdf5Writer(folder, packing, deflate)


# what h5py raises for files that are no good
ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)


def _broken(path: Path, error: Exception) -> DataError:
    told = " ".join(str(error).split())[:80]
    return DataError(f"{path}: unreadable ({told})", "an HDF5 file, whole")


def names(path: Path) -> list[str]:
    """Names of the datasets in a file, groups included: layer/stage; and of links, which are not
    followed, so that whoever reads them is told."""
    listed: list[str] = []

    def visit(name: str, link: object) -> None:
        if not isinstance(link, h5py.HardLink) or isinstance(file[name], h5py.Dataset):
            listed.append(name)

    try:
        with h5py.File(path, "r") as file:
            file.visititems_links(visit)
    except ERRORS as error:
        raise _broken(path, error) from None
    return listed


def read(path: Path, array: Array, packing: Packing) -> Words:
    """A dataset of any integer type, byte order and shape, taken in C order. Raises DataError where
    there is none of that name."""
    try:
        with h5py.File(path, "r") as file:
            link = file.get(array.name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise DataError(f"{path}: no dataset {array.name}")
            dataset = file[array.name]
            if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
                raise DataError(f"{path}: {array.name} is no dataset of its own", "a plain one")
            if dataset.dtype.kind not in "iub":
                raise DataError(f"{path}: numbers of dtype {dataset.dtype}", "integer codes")
            bounded(dataset.size or 0, array, path)
            return known_words(integers(np.asarray(dataset[()]), path))
    except ERRORS as error:
        raise _broken(path, error) from None
