"""A function of each stored code, from map to map, by a table over all that a map may hold."""

from __future__ import annotations

import numpy as np

from refq.kernels.compiling import njit, prange
from refq.kernels.maps import Map, _at, _put


@njit(parallel=True)
def _look_up(source, target, table, outside):
    count, channels = 0, source.channels
    low, high, both = target.low, target.high, target.both
    for task in prange(target.images * target.height):
        n, y = task // target.height, task % target.height
        for x in range(target.width):
            at = _at(source, n, y) + x * channels
            to = _at(target, n, y) + x * target.channels
            for k in range(channels):
                index = np.int64(source.low[at + k])
                if source.high.size:
                    index += np.int64(source.high[at + k]) << source.radix
                count += outside[index]
                _put(table[index], to + k, low, high, both, target.radix)
    return count


def look_up(source: Map, target: Map, channel: int, table: np.ndarray, outside: np.ndarray) -> int:
    """Writes table[code + offset] of a whole map's codes into channels of another.

    table: int32, what the target's planes hold, for every number that the source's may; outside:
    bool, as long, which of them saturated. Returns how many codes did.
    """
    count: int = _look_up(source.view(), target.view(channel), table, outside)
    return count
