"""How a convolution walks over the pixels of its output, group after group."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from refq.kernels.maps import Layout
from refq.kernels.tiles import ROWS
from refq.networks.layers import Pads, Pair


class Pixels(NamedTuple):
    """Groups of output pixels: element offset of each group's first window, and each pixel's
    number in the output (-1: none), int64 (groups,) and int32 (groups, size); how many pixels of
    each group lie before and at its last real one, int64 (groups,); elements from one pixel of a
    group to the next."""

    starts: np.ndarray
    numbers: np.ndarray
    wanted: np.ndarray
    stride: int


@lru_cache(maxsize=512)
def pixels(source: Layout, target: Layout, strides: Pair, pads: Pads, group: int = ROWS) -> Pixels:
    """How a convolution walks over its output: straight on over rows and images where the stride
    is 1 (padding between them is computed and dropped), or row by row, whichever takes fewer
    groups."""
    start = source.first - pads[0] * source.pitch - pads[1]
    n, y, x = np.meshgrid(
        np.arange(target.images), np.arange(target.height), np.arange(target.width), indexing="ij"
    )
    numbers = target.first + (n * target.rows + y) * target.pitch + x
    flat = (n * source.rows + y) * source.pitch + x
    straight = math.ceil((int(flat.max()) + 1) / group)
    across = math.ceil(target.width / group)
    by_rows = target.images * target.height * across
    fits = target.height <= source.rows and target.width <= source.pitch
    if strides == (1, 1) and fits and straight < by_rows:
        table: np.ndarray = np.full((straight, group), -1, np.int32)
        table.reshape(-1)[flat.reshape(-1)] = numbers.reshape(-1)
        starts = start + np.arange(straight, dtype=np.int64) * group
    else:
        table = np.full((target.images * target.height, across * group), -1, np.int32)
        table[:, : target.width] = numbers.reshape(-1, target.width)
        table = table.reshape(-1, group)
        rows = start + (n[:, :, 0] * source.rows + y[:, :, 0] * strides[0]) * source.pitch
        columns = np.arange(across, dtype=np.int64) * group * strides[1]
        starts = (rows.reshape(-1, 1) + columns).reshape(-1)
    wanted = np.where(table >= 0, np.arange(1, group + 1), 0).max(axis=1)
    used = wanted > 0
    return Pixels(
        np.ascontiguousarray(starts[used]) * source.channels,
        np.ascontiguousarray(table[used]),
        wanted[used],
        strides[1] * source.channels,
    )
