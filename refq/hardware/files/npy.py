"""`.npy`: NumPy's own files, of the narrowest type that holds a word."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from refq.errors import DataError
from refq.files import npy
from refq.hardware.files.array import Array
from refq.hardware.files.files import ArrayFile, FileWriter, bounded, integers, opened
from refq.hardware.files.words import LITTLE, Packing, Words, container, known_words

SUFFIX = npy.SUFFIX
SINGLE: str | None = None
TEXT = False
BYTE_ORDER = LITTLE


def _type(array: Array) -> np.dtype:
    return container(array.bits, array.signed).newbyteorder("<")


def _header(array: Array, packing: Packing) -> bytes:
    out = io.BytesIO()
    entries = {"descr": _type(array).str, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(out, entries)
    return out.getvalue()


def _body(codes: np.ndarray, line: int, array: Array, packing: Packing) -> np.ndarray:
    return codes.astype(_type(array)).view(np.uint8)


FILE = ArrayFile(SUFFIX, _body, _header)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the file."""
    return len(_header(array, packing)) + array.words * _type(array).itemsize


def writer(folder: Path, packing: Packing) -> FileWriter:
    return FileWriter(FILE, folder, packing)


def read(path: Path, array: Array, packing: Packing) -> Words:
    """Any integer type and byte order; the packing says nothing here. An array of another shape is
    taken in C order."""
    with opened(path) as file:
        return read_stream(file, path, array, os.fstat(file.fileno()).st_size)


def read_stream(file: BinaryIO, path: Path, array: Array, length: int) -> Words:
    """The same of an open file of so many bytes; fewer words where it ends early."""
    try:
        header = npy.header(file)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    shape, kind = header.shape, header.dtype
    if kind.hasobject or kind.kind not in "iub":
        raise DataError(f"{path}: numbers of dtype {kind}", "integer codes")
    words = bounded(math.prod(shape), array, path)
    here = min(words, max(0, length - file.tell()) // kind.itemsize)
    data = file.read(here * kind.itemsize)
    if here == words and file.read(1):
        raise DataError(f"{path}: bytes behind its {words} words", "one array, and nothing else")
    codes = integers(np.frombuffer(data, kind, len(data) // kind.itemsize), path)
    if header.fortran and len(shape) > 1:
        if codes.size < words:
            raise DataError(f"{path}: {codes.size} of {words} words in Fortran order", "all")
        codes = codes.reshape(shape[::-1]).T.reshape(-1)
    return known_words(codes)
