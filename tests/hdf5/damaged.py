"""HDF5 files with changes where it hurts, and refq's readers of files that are no other tool's
weights: for tests/importers/fuzz.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refq.data import open_dataset
from refq.hardware.files import hdf5
from refq.hardware.files.words import PLAIN
from refq.networks.weights import load, save
from tests.data.pictures import write_packed
from tests.hardware.word_files import array, codes_of
from tests.importers import small_weights

# of what HDF5's structures begin with (File Format Specification, III and IV)
SIGNATURES = tuple(
    b"TREE HEAP SNOD GCOL OHDR OCHK FRHP FHDB FHIB BTHD BTLF BTIN FSHD EAHD \x89HDF".split()
)
EXTREMES = (0, 1, 2**7, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes: addresses that lead elsewhere, extreme numbers behind a signature,
    blocks in the place of others, the end cut off."""
    content = bytearray(data)
    words = np.frombuffer(data[: len(data) // 8 * 8], "<u8")
    addresses = np.flatnonzero((words > 0) & (words < len(data)) & (words % 4 == 0)) * 8
    begins = [place for each in SIGNATURES for place in _places(data, each)]
    for _ in range(int(rng.integers(1, 5))):
        match int(rng.integers(6)):
            case 0 | 1 if len(addresses):
                place, other = rng.choice(addresses, 2).tolist()
                content[place : place + 8] = data[other : other + 8]
            case 2 | 3 if begins:
                place = int(rng.choice(begins)) + int(rng.integers(96))
                width = int(rng.choice([1, 2, 4, 8]))
                value = EXTREMES[int(rng.integers(len(EXTREMES)))] % 256**width
                content[place : place + width] = value.to_bytes(width, "little")
            case 4 if len(data) > 2048:
                size = 8 << int(rng.integers(8))
                source, target = (int(rng.integers(len(data) - size)) // 8 * 8 for _ in "ab")
                content[target : target + size] = data[source : source + size]
            case _:
                place = int(rng.integers(len(content)))
                content[place : place + 4] = rng.bytes(4)
    return bytes(content[: len(data)] if rng.random() < 0.95 else content[: len(data) * 3 // 4])


def _places(data: bytes, part: bytes) -> list[int]:
    found: list[int] = []
    place = data.find(part)
    while place >= 0 and len(found) < 200:
        found.append(place)
        place = data.find(part, place + 1)
    return found


@dataclass(frozen=True)
class Reader:
    """name: of the file. write: makes it. read: all that a command reads of it."""

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]


def _read_images(path: Path) -> None:
    data = open_dataset(str(path), (3, 8, 8))
    for index in range(min(len(data), 50)):
        data.image(index)


SUMS, CODES = array(12, True, (2, 3, 7), "conv1/sum"), array(5, False, (40, 50), "relu1.code")


def _write_dump(path: Path) -> None:
    writer = hdf5.writer(path.parent, PLAIN)
    for each in (SUMS, CODES):
        writer.append(each, codes_of(each))
    writer.close()


def _read_dump(path: Path) -> None:
    hdf5.names(path)
    for each in (SUMS, CODES):
        hdf5.read(path, each, PLAIN)


READERS = {
    "weights": Reader(
        "weights.h5",
        lambda path: save(path, *small_weights.case()),
        lambda path: load(path, "vgg16"),
    ),
    "weights_caffe": Reader(
        "w.caffemodel.h5",
        lambda path: small_weights.caffe_hdf5(path, *small_weights.case()),
        lambda path: load(path, "vgg16"),
    ),
    "packed": Reader("images.h5", lambda path: write_packed(path, 30, 16, 24), _read_images),
    "dump": Reader("golden.h5", _write_dump, _read_dump),
}
