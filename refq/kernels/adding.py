"""Additions of two maps: aligned, summed, ReLU, requantized and encoded in one pass over bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from refq.formats.fixed import Rounding
from refq.kernels.accumulating import _shifted, rounding_terms
from refq.kernels.maps import Map, _put

LONGEST = 62  # bits of a sum; rounding it stays within 63


@dataclass(frozen=True)
class Ending:
    """What becomes of a sum. drop: fraction bits that it loses, by that rounding; low, high: codes
    that the format has; shifted: ENQ's (bits, drop, nearest); table: what KNQ stores of each code,
    int32 (high + 1,)."""

    relu: bool
    drop: int
    rounding: Rounding
    low: int
    high: int
    shifted: tuple[int, int, bool] | None = None
    table: np.ndarray | None = None


@njit(cache=True, nogil=True, inline="always")
def _place(where, image, row):
    """Where a row's first byte lies; where: pitch, rows, first, channels, first channel."""
    return (where[2] + (image * where[1] + row) * where[0]) * where[3] + where[4]


@njit(cache=True, nogil=True, inline="always")
def _gather(line, low, high, at, count, radix, offset, left):
    """Adds codes of a map, `left` bits further left, to int64 sums."""
    a = low[at : at + count]
    if high.size:
        b = high[at : at + count]
        for k in range(count):
            line[k] += (np.int64(a[k]) + (np.int64(b[k]) << radix) - offset) << left
    else:
        for k in range(count):
            line[k] += (np.int64(a[k]) - offset) << left


@njit(cache=True, nogil=True, parallel=True)
def _add(
    low_a,
    high_a,
    where_a,
    code_a,
    low_b,
    high_b,
    where_b,
    code_b,
    low,
    high,
    both,
    where,
    radix,
    offset,
    images,
    height,
    width,
    channels,
    relu,
    terms,
    bounds,
    index,
    table,
):
    outside = 0
    # rows in one piece where their pixels lie side by side in all three maps
    whole = where_a[3] == channels and where_b[3] == channels and where[3] == channels
    count = channels * width if whole else channels
    drop, always, even, negative = terms
    least, most = bounds
    half, index_drop, largest = index
    for task in prange(images * height):
        n, y = task // height, task % height
        line = np.empty(count, np.int64)
        for x in range(1 if whole else width):
            line[:] = 0
            at = _place(where_a, n, y) + x * where_a[3]
            _gather(line, low_a, high_a, at, count, code_a[0], code_a[1], code_a[2])
            at = _place(where_b, n, y) + x * where_b[3]
            _gather(line, low_b, high_b, at, count, code_b[0], code_b[1], code_b[2])
            if relu:
                for k in range(count):
                    line[k] = max(line[k], 0)
            for k in range(count):
                value = _shifted(line[k], drop, always, even, negative)
                kept = min(max(value, least), most)
                outside += kept != value
                line[k] = kept
            if largest:
                for k in range(count):
                    line[k] = min((line[k] + half) >> index_drop, largest)
            elif table.size:
                for k in range(count):
                    line[k] = table[line[k]]
            at = _place(where, n, y) + x * where[3]
            for k in range(count):
                _put(line[k] + offset, at + k, low, high, both, radix)
    return outside


def _where(own: Map, first: int) -> tuple[int, ...]:
    layout = own.layout
    return layout.pitch, layout.rows, layout.first, layout.channels, first


def add_maps(
    sources: tuple[Map, Map],
    shifts: tuple[int, int],
    target: Map,
    first: int,
    channels: int,
    ending: Ending,
) -> int:
    """Writes stored codes of the sum of two maps into channels of another; how many were outside.

    Operands are whole maps; first, channels: which channels of the target. shifts: how far left
    each operand's value codes go to the largest F. No sum may leave LONGEST bits.
    """
    one, two = (
        (*own.three()[:2], _where(own, 0), (own.radix, own.offset, own.scale + shift))
        for own, shift in zip(sources, shifts)
    )
    layout = target.layout
    always, even, negative = (
        int(each) for each in rounding_terms(ending.rounding, np.array(ending.drop))
    )
    half, index_drop, largest = 0, 0, 0
    if ending.shifted:
        bits, index_drop, nearest = ending.shifted
        half, largest = (1 << index_drop) >> 1 if nearest else 0, (1 << bits) - 1
    table = np.empty(0, np.int32) if ending.table is None else ending.table
    outside: int = _add(
        *one,
        *two,
        *target.three(),
        _where(target, first),
        target.radix,
        target.offset,
        layout.images,
        layout.height,
        layout.width,
        channels,
        ending.relu,
        (ending.drop, always, even, negative),
        (ending.low, ending.high),
        (half, index_drop, largest),
        table,
    )
    return outside
