"""Convolutions whose outputs read one channel each, float32 and exact integer: row by row.

Nothing is gathered first: a tap adds a multiple of an input row to an output row, in the order
kernel row, kernel column.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refq.kernels.accumulating import Limits, _shifted, _terms
from refq.kernels.compiling import njit, prange
from refq.kernels.windows import _inside
from refq.networks.layers import Conv, Pads, Pair


class Grid(NamedTuple):
    """A convolution's attributes for compiled code."""

    strides: Pair
    pads: Pads
    dilations: Pair


def is_depthwise(w: np.ndarray, layer: Conv) -> bool:
    return layer.group > 1 and w.shape[1] == 1


@njit(parallel=True)
def _add_products(x, w, out, grid):
    """Adds products of x (N, C, H, W) and w (O, kh, kw), of the sums' type, to out (N, O, H', W'),
    output channel o reading input channel o // (O / C)."""
    strides, pads, dilations = grid
    outputs, share = out.shape[1], out.shape[1] // x.shape[1]
    for task in prange(out.shape[0] * outputs):
        n, o = task // outputs, task % outputs
        plane, sums, taps = x[n, o // share], out[n, o], w[o]
        for r in range(sums.shape[0]):
            line = sums[r]
            for i in range(taps.shape[0]):
                y = r * strides[0] + i * dilations[0] - pads[0]
                if y < 0 or y >= plane.shape[0]:
                    continue
                row = plane[y]
                for j in range(taps.shape[1]):
                    offset, factor = j * dilations[1] - pads[1], taps[i, j]
                    left, right = _inside(offset, strides[1], row.size, line.size)
                    if strides[1] == 1:  # which vectorises
                        for c in range(left, right):
                            line[c] += factor * row[c + offset]
                    else:
                        for c in range(left, right):
                            line[c] += factor * row[c * strides[1] + offset]


@njit(parallel=True)
def _add_limited(x, w, out, grid, limits, saturates):
    """_add_products of int64, each product shifted right and rounded, and each sum brought into
    range if it saturates; returns how many were outside."""
    strides, pads, dilations = grid
    outputs, share, clipped = out.shape[1], out.shape[1] // x.shape[1], 0
    for task in prange(out.shape[0] * outputs):
        n, o = task // outputs, task % outputs
        plane, sums, taps = x[n, o // share], out[n, o], w[o]
        least, most = limits.low[o], limits.high[o]
        drop, always, even, negative = _terms(limits, o)
        for r in range(sums.shape[0]):
            line = sums[r]
            for i in range(taps.shape[0]):
                y = r * strides[0] + i * dilations[0] - pads[0]
                if y < 0 or y >= plane.shape[0]:
                    continue
                row = plane[y]
                for j in range(taps.shape[1]):
                    offset, factor = j * dilations[1] - pads[1], taps[i, j]
                    left, right = _inside(offset, strides[1], row.size, line.size)
                    for c in range(left, right):
                        product = factor * row[c * strides[1] + offset]
                        value = line[c] + _shifted(product, drop, always, even, negative)
                        limited = min(max(value, least), most) if saturates else value
                        clipped += limited != value
                        line[c] = limited
    return clipped


def depthwise(x: np.ndarray, w: np.ndarray, bias: np.ndarray, layer: Conv, out: np.ndarray) -> None:
    """Fills out (N,O,H',W') with exact int64 sums, or float32 ones; bias of out's type."""
    out[:] = bias[:, None, None]
    _add_products(np.ascontiguousarray(x), w[:, 0].astype(out.dtype), out, grid_of(layer))


def depthwise_rounded(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray, layer: Conv, out: np.ndarray, held: Limits
) -> None:
    """Fills out with int64 sums of the bias and every product, each shifted right and rounded."""
    out[:] = _shifted(bias, *held.terms)[:, None, None]
    _add_limited(np.ascontiguousarray(x), _wide(w), out, grid_of(layer), held, False)


def depthwise_saturated(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray, layer: Conv, out: np.ndarray, held: Limits
) -> int:
    """The same, kept in range after the bias and after every product; returns the overflows."""
    shifted = _shifted(bias, *held.terms)
    start = np.clip(shifted, held.low, held.high)
    out[:] = start[:, None, None]
    x = np.ascontiguousarray(x)
    # taps over the padding add zeros, which clip nothing
    clipped: int = _add_limited(x, _wide(w), out, grid_of(layer), held, True)
    each = out.size // out.shape[1]
    return clipped + int(np.count_nonzero(start != shifted)) * each


def _wide(w: np.ndarray) -> np.ndarray:
    return w[:, 0].astype(np.int64)


def grid_of(layer: Conv) -> Grid:
    return Grid(layer.strides, layer.pads, layer.dilations)
