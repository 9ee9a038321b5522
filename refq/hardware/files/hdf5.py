"""`golden.h5`: a dataset for each array, in chunks, with what it is as attributes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from refq.errors import DataError
from refq.hardware.files.array import Array
from refq.hardware.files.files import Ledger, bounded, integers
from refq.hardware.files.words import LITTLE, Packing, Words, container, known_words
from refq.hdf5.created import Created
from refq.hdf5.file import opened
from refq.hdf5.nodes import Dataset, Foreign, Hdf5Error

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
        self.file = Created(folder / "golden.h5")
        self.deflate, self.ledger = deflate, Ledger()

    def append(self, array: Array, codes: np.ndarray) -> None:
        progress, flat, first = self.ledger.enter(array, codes)
        if first:
            self._create(array)
        row = math.prod(array.shape[_split(array.shape) :])
        done = (progress.words - progress.waiting.size) // row if row else 0
        ready = progress.taken(flat, max(1, row))
        if ready.size:
            _write_rows(self.file, array, ready.reshape(-1, row), done)

    def _create(self, array: Array) -> None:
        packed = bool(array.shape) and array.words > 0
        self.file.make(
            array.name,
            array.shape,
            container(array.bits, array.signed).newbyteorder("<"),
            chunks=chunk_shape(array.shape) if packed else None,
            compression=self.deflate if packed else None,
            shuffle=packed and self.deflate is not None,
            track_times=False,
        )
        stated = {"bits": array.bits, "signed": array.signed, "format": array.format}
        self.file.state(array.name, {"axes": " ".join(array.axes), **stated})

    def close(self) -> None:
        self.file.close()
        self.ledger.close()


def _split(shape: tuple[int, ...]) -> int:
    """The first of the axes that are written as one row, of up to CHUNK words."""
    axis = len(shape)
    while axis > 1 and math.prod(shape[axis - 1 :]) <= CHUNK:
        axis -= 1
    return axis


def _write_rows(file: Created, array: Array, rows: np.ndarray, first: int) -> None:
    """Rows from that one on, as many at a time as lie in one block of the axis above them."""
    axis = _split(array.shape)
    outer, tail = array.shape[:axis], array.shape[axis:]
    done = 0
    while done < len(rows):
        place = np.unravel_index(first + done, outer)
        count = min(len(rows) - done, outer[-1] - int(place[-1]))
        block = rows[done : done + count].reshape(count, *tail)
        here = int(place[-1])
        index = (*map(int, place[:-1]), slice(here, here + count))
        file.fill(array.name, index, block)
        done += count


def writer(folder: Path, packing: Packing, deflate: int | None = DEFLATE) -> Hdf5Writer:
    return Hdf5Writer(folder, packing, deflate)


def _broken(path: Path, error: Hdf5Error) -> DataError:
    return DataError(f"{path}: unreadable ({error.reason[:80]})", "an HDF5 file, whole")


def names(path: Path) -> list[str]:
    """Names of the datasets in a file, groups included: layer/stage; and of links, which are not
    followed, so that whoever reads them is told."""
    try:
        found = opened(path).nodes
    except Hdf5Error as error:
        raise _broken(path, error) from None
    return [name for name, node in found.items() if isinstance(node, (Dataset, Foreign))]


def read(path: Path, array: Array, packing: Packing) -> Words:
    """A dataset of any integer type, byte order and shape, taken in C order. Raises DataError where
    there is none of that name."""
    try:
        file = opened(path)
        dataset = file.nodes.get(array.name)
        if not isinstance(dataset, Dataset):
            why = f" ({dataset.why})" if isinstance(dataset, Foreign) else ""
            raise DataError(f"{path}: no dataset {array.name}{why}")
        if dataset.dtype.kind not in "iub":
            raise DataError(f"{path}: numbers of dtype {dataset.dtype}", "integer codes")
        bounded(dataset.size, array, path)
        return known_words(integers(file.read(dataset), path))
    except Hdf5Error as error:
        raise _broken(path, error) from None
