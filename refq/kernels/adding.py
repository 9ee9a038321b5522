"""Additions of two maps: aligned, summed, requantized, clipped, encoded in one pass over bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refq.kernels.accumulating import _shifted, rounding_terms
from refq.kernels.compiling import njit, prange
from refq.kernels.endings import Ending
from refq.kernels.maps import Map, _at, _put

LONGEST = 62  # bits of a sum; rounding it stays within 63


class Steps(NamedTuple):
    """An Ending for compiled code: floor, ceiling as Ending.bounds, drop to negative as in
    accumulating.Limits, index_half to top as in Ending.index."""

    floor: int
    ceiling: int
    drop: int
    always: int
    even: int
    negative: int
    low: int
    high: int
    index_half: int
    index_drop: int
    top: int
    table: np.ndarray


@njit(inline="always")
def _gather(line, source, at):
    """Adds a map's codes, `scale` bits further left, to int64 sums."""
    a = source.low[at : at + line.size]
    if source.high.size:
        b = source.high[at : at + line.size]
        for k in range(line.size):
            code = np.int64(a[k]) + (np.int64(b[k]) << source.radix)
            line[k] += (code - source.offset) << source.scale
    else:
        for k in range(line.size):
            line[k] += (np.int64(a[k]) - source.offset) << source.scale


@njit(parallel=True)
def _add(one, two, target, channels, steps):
    outside = 0
    low, high, both = target.low, target.high, target.both
    # rows in one piece where their pixels lie side by side in all three maps
    whole = one.channels == channels and two.channels == channels and target.channels == channels
    count = channels * target.width if whole else channels
    for task in prange(target.images * target.height):
        n, y = task // target.height, task % target.height
        line = np.empty(count, np.int64)
        for x in range(1 if whole else target.width):
            line[:] = 0
            _gather(line, one, _at(one, n, y) + x * one.channels)
            _gather(line, two, _at(two, n, y) + x * two.channels)
            for k in range(count):
                value = _shifted(line[k], steps.drop, steps.always, steps.even, steps.negative)
                value = min(max(value, steps.floor), steps.ceiling)
                kept = min(max(value, steps.low), steps.high)
                outside += kept != value
                line[k] = kept
            if steps.top:
                for k in range(count):
                    line[k] = min((line[k] + steps.index_half) >> steps.index_drop, steps.top)
            elif steps.table.size:
                for k in range(count):
                    line[k] = steps.table[line[k] - steps.low]
            at = _at(target, n, y) + x * target.channels
            for k in range(count):
                _put(line[k] + target.offset, at + k, low, high, both, target.radix)
    return outside


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
        source.view()._replace(scale=source.scale + shift) for source, shift in zip(sources, shifts)
    )
    terms = (int(term) for term in rounding_terms(ending.rounding, np.array(ending.drop)))
    bounds = ending.low, ending.high
    steps = Steps._make(
        (*ending.bounds(64), int(ending.drop), *terms, *bounds, *ending.index, ending.values)
    )
    outside: int = _add(one, two, target.view(first), channels, steps)
    return outside
