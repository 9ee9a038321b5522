"""FlatBuffers walked where they lie: every place is checked against the file, nothing is copied.

https://flatbuffers.dev/internals: a table begins with how far back its vtable lies, which says how
far behind the table's begin each field is, 0 for one that is left out. A vector is a count and so
many values; references are how far ahead something lies.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from refq.importers.contents import MOST, refuse

LONGEST_TEXT = 1 << 12
MOST_NUMBERS = 1 << 16  # of a list of sizes or places
Data = Union[mmap.mmap, bytes]


def _number(data: Data, place: int, form: str) -> Any:
    if not 0 <= place <= len(data) - struct.calcsize(form):
        raise refuse("a place beyond the end of the file", "a complete file")
    return struct.unpack_from(form, data, place)[0]


@dataclass(frozen=True)
class Table:
    """begin: of the table. vtable: where it lies, and how many bytes it has."""

    data: Data
    begin: int
    vtable: int
    length: int

    @staticmethod
    def at(data: Data, begin: int) -> Table:
        vtable = begin - _number(data, begin, "<i")
        return Table(data, begin, vtable, _number(data, vtable, "<H"))

    def place(self, field: int) -> int:
        """Where a field's value is; 0 for one that is left out."""
        entry = 4 + 2 * field
        if entry + 2 > self.length:
            return 0
        ahead = _number(self.data, self.vtable + entry, "<H")
        return self.begin + ahead if ahead else 0

    def number(self, field: int, form: str, default: Any = 0) -> Any:
        """form: of struct's letters."""
        place = self.place(field)
        return _number(self.data, place, f"<{form}") if place else default

    def _ahead(self, place: int) -> int:
        return place + int(_number(self.data, place, "<I"))

    def table(self, field: int) -> Table | None:
        place = self.place(field)
        return Table.at(self.data, self._ahead(place)) if place else None

    def vector(self, field: int, size: int) -> tuple[int, int]:
        """(begin, count) of a vector of values of so many bytes."""
        place = self.place(field)
        if not place:
            return 0, 0
        begin = self._ahead(place)
        count = int(_number(self.data, begin, "<I"))
        if begin + 4 + count * size > len(self.data):
            raise refuse(f"a vector of {count:,} beyond the end of the file", "a complete file")
        return begin + 4, count

    def tables(self, field: int) -> Iterator[Table]:
        begin, count = self.vector(field, 4)
        if count > MOST:
            raise refuse(f"a list of {count:,} parts", f"{MOST:,} or less")
        for place in range(begin, begin + 4 * count, 4):
            yield Table.at(self.data, self._ahead(place))

    def numbers(self, field: int, kind: str) -> list[Any]:
        """kind: a NumPy type."""
        dtype = np.dtype(kind)
        begin, count = self.vector(field, dtype.itemsize)
        if count > MOST_NUMBERS:
            raise refuse(f"a list of {count:,} numbers", f"{MOST_NUMBERS:,} or less")
        found: list[Any] = np.frombuffer(self.data, dtype, count, begin).tolist()
        return found

    def text(self, field: int) -> str:
        begin, count = self.vector(field, 1)
        if count > LONGEST_TEXT:
            raise refuse(f"a name of {count:,} bytes", f"{LONGEST_TEXT:,} or less")
        return bytes(self.data[begin : begin + count]).decode("utf-8", "replace")


def root(data: Data) -> Table:
    return Table.at(data, int(_number(data, 0, "<I")))
