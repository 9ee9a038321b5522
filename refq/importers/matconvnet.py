"""MatConvNet networks in MATLAB's version 5 files (-v6 and -v7), walked where they lie.

A file is a row of elements, each a tag (type and bytes, 4 + 4) and data up to a multiple of 8;
"MAT-File Format", MathWorks. Compressed elements go to a temporary file, so that arrays can still
be read one by one.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from refq.importers import matlab
from refq.importers.contents import (
    DEEPEST,
    Contents,
    checked_shape,
    inflated,
    mapped,
    refuse,
    stored,
)

FORM = "MatConvNet network (MAT version 5)"
MATRIX, COMPRESSED, INT8, UINT8, UINT16, INT32, UINT32, UTF8, UTF16 = 14, 15, 1, 2, 4, 5, 6, 16, 17
NUMBERS = {
    1: "i1",
    2: "u1",
    3: "<i2",
    4: "<u2",
    5: "<i4",
    6: "<u4",
    7: "<f4",
    9: "<f8",
    12: "<i8",
    13: "<u8",
}
CELL, STRUCT, CHAR, DOUBLE, UINT64 = 1, 2, 4, 6, 15
HEADER = 128
DENSEST = 64  # times that compressed elements may be smaller
MOST_BYTES = 4 << 30


@dataclass
class _Place:
    """Where the walk is, and how many parts it has met."""

    data: mmap.mmap
    count: int = 0
    names: dict[str, matlab.Value] = field(default_factory=dict)


def sniff(head: bytes, path: Path) -> bool:
    # the text of the header is anything; its end is a version and the byte order
    return head[124:128] in (b"\x00\x01IM", b"\x01\x00MI") and head[512:516] != b"\x89HDF"


def read(path: Path) -> Contents:
    return matlab.contents(variables_of(path), FORM)


def variables_of(path: Path) -> dict[str, matlab.Value]:
    """What the file holds, by name."""
    data = mapped(path)
    if data[126:128] != b"IM":
        raise refuse("a file of a big-endian machine", "little-endian numbers")
    variables: dict[str, matlab.Value] = {}
    begin = HEADER
    while begin + 8 <= len(data):
        kind, start, end, following = _tag(data, begin, len(data))
        # compressed elements are not padded
        begin = end if kind == COMPRESSED else following
        if kind == COMPRESSED:
            whole = _inflated(data, start, end)
            kind, start, end, _ = _tag(whole, 0, len(whole))
            place = _Place(whole)
        else:
            place = _Place(data)
        if kind == MATRIX:
            name, value = _matrix(place, start, end, 0)
            variables[name] = value
    return variables


def _inflated(data: mmap.mmap, begin: int, end: int) -> mmap.mmap:
    limit = min(MOST_BYTES, DENSEST * (end - begin) + 65536)
    step = 1 << 20
    parts = (data[place : min(end, place + step)] for place in range(begin, end, step))
    with tempfile.TemporaryFile() as file:
        for out in inflated(parts, limit):
            file.write(out)
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _tag(data: mmap.mmap, begin: int, end: int) -> tuple[int, int, int, int]:
    """(type, begin of the data, its end, begin of the next one). Up to 4 bytes lie in the tag."""
    if begin + 8 > end:
        raise refuse("an element that is cut off", "a complete file")
    first = int.from_bytes(data[begin : begin + 4], "little")
    if first >> 16:
        size = first >> 16
        if size > 4:
            raise refuse(f"a small element of {size} bytes", "4 or less")
        return first & 0xFFFF, begin + 4, begin + 4 + size, begin + 8
    size = int.from_bytes(data[begin + 4 : begin + 8], "little")
    stop = begin + 8 + size
    if stop > end:
        raise refuse(
            f"an element of {size:,} bytes that reaches beyond its place", "a complete file"
        )
    # the last element's padding may be missing
    return first, begin + 8, stop, min(end, stop + -size % 8)


def _numbers(place: _Place, begin: int, end: int, most: int = 1 << 16) -> tuple[list[int], int]:
    """(small integers of an element, where the next one begins)."""
    kind, start, stop, following = _tag(place.data, begin, end)
    if kind not in NUMBERS or stop - start > most:
        raise refuse(f"an element of type {kind} where sizes or names belong")
    return np.frombuffer(place.data[start:stop], NUMBERS[kind]).tolist(), following


def _matrix(place: _Place, begin: int, end: int, depth: int) -> tuple[str, matlab.Value]:
    """(name, value) of a miMATRIX element: flags, dimensions, name, contents."""
    place.count += 1
    matlab.counted(place.count)
    if begin == end:
        return "", None  # an empty array without anything
    if depth > DEEPEST:
        raise refuse("structs too deep in each other", f"at most {DEEPEST}")
    flags, at = _numbers(place, begin, end)
    if len(flags) != 2 or flags[0] < 0:
        raise refuse("array flags that are none")
    category = flags[0] & 0xFF
    if category not in (CELL, STRUCT, CHAR, *range(DOUBLE, UINT64 + 1)):
        return "", None  # sparse arrays, objects, functions
    sizes, at = _numbers(place, at, end)
    letters, at = _numbers(place, at, end)
    name = _letters(letters)
    if 0 in sizes:
        return name, None
    shape = checked_shape(name or "an array", sizes, 1)
    if category == CELL:
        cells, _ = _matrices(place, at, end, math.prod(shape), depth)
        return name, matlab.Cell(cells)
    if category == STRUCT:
        return name, _struct(place, at, end, math.prod(shape), depth)
    kind, start, stop, _ = _tag(place.data, at, end)
    if category == CHAR:
        if stop - start > 1 << 16:
            return name, None
        encoding = {UINT16: "utf-16-le", UTF16: "utf-16-le"}.get(kind, "utf-8")
        return name, place.data[start:stop].decode(encoding, "replace")
    if flags[0] & 0x800 or kind not in NUMBERS:
        return name, None  # complex numbers
    if math.prod(shape) * np.dtype(NUMBERS[kind]).itemsize != stop - start:
        raise refuse(f"{name}: {stop - start:,} bytes for an array of shape {shape}")
    return name, stored(place.data, start, shape, NUMBERS[kind], "F")


def _letters(codes: list[int]) -> str:
    return bytes(code & 0xFF for code in codes).partition(b"\0")[0].decode("ascii", "replace")


def _matrices(
    place: _Place, begin: int, end: int, count: int, depth: int
) -> tuple[list[matlab.Value], int]:
    """`count` miMATRIX elements one after the other."""
    values = []
    for _ in range(count):
        kind, start, stop, begin = _tag(place.data, begin, end)
        if kind != MATRIX:
            raise refuse(f"an element of type {kind} in a cell or struct", "a matrix")
        values.append(_matrix(place, start, stop, depth + 1)[1])
    return values, begin


def _struct(place: _Place, begin: int, end: int, count: int, depth: int) -> matlab.Struct:
    longest, at = _numbers(place, begin, end)
    letters, at = _numbers(place, at, end)
    if len(longest) != 1 or not 0 < longest[0] <= 64 or len(letters) % longest[0]:
        raise refuse("a struct whose field names have no length")
    size = longest[0]
    names = [_letters(letters[first : first + size]) for first in range(0, len(letters), size)]
    elements = []
    for _ in range(count if names else 0):
        values, at = _matrices(place, at, end, len(names), depth)
        elements.append(dict(zip(names, values)))
    return matlab.Struct(elements)
