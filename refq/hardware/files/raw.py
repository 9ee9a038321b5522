"""`.bin`: bare integers of 1, 2, 4 or 8 bytes, the narrowest that hold a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refq.hardware.files.array import Array
from refq.hardware.files.files import ArrayFile, FileWriter, bounded, content, integers
from refq.hardware.files.words import BIG, LITTLE, Packing, Words, container, known_words

SUFFIX = ".bin"
SINGLE: str | None = None
TEXT = False
BYTE_ORDER = LITTLE


def _type(size: int, array: Array, packing: Packing) -> np.dtype:
    order = ">" if packing.byte_order == BIG else "<"
    return np.dtype(f"{order}{'i' if array.signed else 'u'}{size}")


def _bytes(array: Array) -> int:
    return container(array.bits, array.signed).itemsize


def _body(codes: np.ndarray, line: int, array: Array, packing: Packing) -> np.ndarray:
    return codes.astype(_type(_bytes(array), array, packing)).view(np.uint8)


FILE = ArrayFile(SUFFIX, _body)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the file, exactly."""
    return array.words * _bytes(array)


def writer(folder: Path, packing: Packing) -> FileWriter:
    return FileWriter(FILE, folder, packing)


def read(path: Path, array: Array, packing: Packing) -> Words:
    """Integers of the narrowest type; of a wider one where the file is exactly that much longer.
    Bytes that make no whole word are left out."""
    data = content(path, array)
    wider = (wide for wide in (2, 4, 8) if wide > _bytes(array))
    wide = next((wide for wide in wider if len(data) == array.words * wide > 0), _bytes(array))
    words = bounded(len(data) // wide, array, path)
    return known_words(integers(np.frombuffer(data, _type(wide, array, packing), words), path))
