"""Protocol Buffers' wire format, walked where it lies: no message is built, nothing is copied.

https://protobuf.dev/programming-guides/encoding: a message is a row of fields, each a varint
(number << 3 | type) and a varint (type 0), 8 bytes (1), a length and so many bytes (2) or
4 bytes (5).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from refq.importers.contents import refuse

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_FIELDS = 1 << 20  # of one message, repeated numbers in a row counting once
LONGEST_TEXT = 1 << 12
MOST_INTEGERS = 1 << 16
PART = 1 << 20  # bytes of packed numbers at once
Data = mmap.mmap


@dataclass(frozen=True, slots=True)
class Field:
    """value: a varint's number. begin, end: where its bytes lie; of repeated numbers that follow
    each other with their tags between, `count` in all, begin is the first one's and end the end
    of the last one's."""

    number: int
    kind: int
    value: int
    begin: int
    end: int
    count: int = 1


def fields(data: Data, begin: int, end: int) -> Iterator[Field]:
    """The fields of the message in data[begin:end]. Raises WeightsError where lengths go beyond."""
    place = begin
    for _ in range(MOST_FIELDS):
        if place == end:
            return
        first = place
        tag, place = varint(data, place, end)
        number, kind = tag >> 3, tag & 7
        value, count = 0, 1
        if number < 1 or number >= 1 << 29:
            raise refuse(f"a protobuf field numbered {number}", "1 to 536870911")
        start = place
        if kind == VARINT:
            value, place = varint(data, place, end)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            count = _run(data, first, end, start - first, size)
            place = start + size + (count - 1) * (start - first + size)
        elif kind == BYTES:
            length, start = varint(data, place, end)
            place = start + length
        else:
            raise refuse(f"a protobuf field of type {kind}", "0, 1, 2 or 5")
        if place > end:
            raise refuse("a protobuf field that reaches beyond its message", "a complete file")
        yield Field(number, kind, value, start, place, count)
    raise refuse("a protobuf message of too many fields", f"at most {MOST_FIELDS}")


def _run(data: Data, first: int, end: int, tag: int, size: int) -> int:
    """How many fields with the same tag and of fixed size follow each other, the first included."""
    step, count, look = tag + size, 1, 16
    while True:
        ahead = first + count * step
        # many at a time only where many were found: else each of many fields would look far ahead
        records, look = min((end - ahead) // step, look), min(4 * look, 1 << 16)
        if records <= 0 or data[ahead : ahead + tag] != data[first : first + tag]:
            return count
        rows = np.frombuffer(data, np.uint8, records * step, ahead).reshape(records, step)
        own = np.frombuffer(data, np.uint8, tag, first)
        other = np.flatnonzero((rows[:, :tag] != own).any(axis=1))
        if len(other):
            return count + int(other[0])
        count += records


def varint(data: Data, place: int, end: int) -> tuple[int, int]:
    """(number, where it ends), at most 64 bits."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >= 1 << 64:
                break
            return value, place
    raise refuse("a protobuf number that does not end", "a complete file")


def integers(data: Data, field: Field) -> list[int]:
    """The numbers of one field of repeated int64, packed or single; negative ones as they were."""
    values, place = [], field.begin
    if field.kind == VARINT:
        values = [field.value]
    elif field.kind == BYTES:
        if field.end - field.begin > MOST_INTEGERS:
            raise refuse(f"a list of sizes longer than {MOST_INTEGERS} bytes")
        while place < field.end:
            value, place = varint(data, place, field.end)
            values.append(value)
    else:
        raise refuse("sizes that are no integers")
    return [value - (1 << 64) if value >= 1 << 63 else value for value in values]


def count_varints(data: Data, field: Field) -> int:
    """How many numbers a field of repeated integers holds."""
    if field.kind != BYTES:
        return 1
    parts = range(field.begin, field.end, PART)
    counts = (
        np.count_nonzero(np.frombuffer(data, np.uint8, min(PART, field.end - at), at) < 128)
        for at in parts
    )
    return int(sum(counts))


def varints(data: Data, field: Field) -> np.ndarray:
    """All numbers of a packed field, or the one of a single field, int64, without a bound of their
    own: each takes a byte of the file."""
    if field.kind == VARINT:
        return np.array([field.value], np.uint64).view(np.int64)
    if field.kind != BYTES:
        raise refuse("values that are no integers")
    parts, place = [np.empty(0, np.int64)], field.begin
    while place < field.end:
        part = np.frombuffer(data, np.uint8, min(field.end - place, PART), place)
        last = np.flatnonzero(part < 128)
        if not len(last):
            raise refuse("a protobuf number that does not end", "a complete file")
        parts.append(_unpacked(part[: last[-1] + 1], last))
        place += int(last[-1]) + 1
    return np.concatenate(parts)


def _unpacked(part: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Numbers whose last bytes are at those places."""
    first = np.concatenate([[0], last[:-1] + 1])
    sizes = last - first + 1
    if sizes.max() > 10 or (part[last[sizes == 10]] > 1).any():
        raise refuse("a protobuf number of more than 64 bits", "a complete file")
    shifts = 7 * (np.arange(len(part)) - np.repeat(first, sizes))
    bits = (part & 127).astype(np.uint64) << shifts.astype(np.uint64)
    return np.bitwise_or.reduceat(bits, first).view(np.int64)


def more_integers(known: list[int], data: Data, field: Field) -> None:
    """Appends them; a list may be split into fields."""
    known += integers(data, field)
    if len(known) > MOST_INTEGERS:
        raise refuse(f"a list of more than {MOST_INTEGERS:,} integers")


def text(data: Data, field: Field) -> str:
    if field.kind != BYTES or field.end - field.begin > LONGEST_TEXT:
        raise refuse("a name that is no text, or a long one", f"at most {LONGEST_TEXT} bytes")
    return data[field.begin : field.end].decode("utf-8", "replace")


def one_float(data: Data, field: Field) -> float:
    if field.kind != FIXED32:
        raise refuse("a number that is no float")
    return float(struct.unpack_from("<f", data, field.begin)[0])


def count_floats(field: Field, size: int) -> int:
    """How many numbers of `size` bytes a field of repeated floats or doubles holds."""
    if field.kind == BYTES:
        if (field.end - field.begin) % size:
            raise refuse("packed floats of a broken length", f"a multiple of {size} bytes")
        return (field.end - field.begin) // size
    if field.kind != (FIXED64 if size == 8 else FIXED32):
        raise refuse("values that are no floats")
    return field.count


def floats(data: Data, parts: list[Field], size: int) -> np.ndarray:
    """The numbers of all those fields one after the other, float32 (size 4) or float64 (8)."""
    dtype = np.dtype(f"<f{size}")
    arrays = []
    for field in parts:
        count = count_floats(field, size)
        if field.kind == BYTES or count == 1:
            arrays.append(np.frombuffer(data, dtype, count, field.begin))
        else:
            step = (field.end - size - field.begin) // (count - 1)
            arrays.append(np.ndarray((count,), dtype, data, field.begin, (step,)))
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
