"""Feature maps as the float32 convolutions keep them: the layout of refq.kernels.maps, with floats
for bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refq.kernels.compiling import njit, prange
from refq.kernels.maps import Layout, _at
from refq.kernels.windows import ACROSS, DOWN, Window, _seen
from refq.networks.layers import Pads, Pair


class FloatView(NamedTuple):
    """A map from some channel on, for compiled code: its values and Layout's numbers."""

    values: np.ndarray
    pitch: int
    rows: int
    first: int
    channels: int
    channel: int
    images: int
    height: int
    width: int


@dataclass(frozen=True)
class FloatMap:
    """float32 values of a feature map, channels last, padding zero: (layout.size,)."""

    layout: Layout
    values: np.ndarray

    def view(self, channel: int = 0) -> FloatView:
        """What compiled code sees, from this channel on."""
        return FloatView(self.values, *self.layout.place(channel))


@njit(parallel=True)
def _pack(x, target):
    images, count, height, width = x.shape
    values = target.values
    for task in prange(images * height):
        n, y = task // height, task % height
        at = _at(target, n, y)
        for column in range(width):
            for c in range(count):
                values[at + c] = x[n, c, y, column]
            at += target.channels


@njit(parallel=True)
def _unpack(source, out):
    images, count, height, width = out.shape
    for task in prange(images * height):
        n, y = task // height, task % height
        at = _at(source, n, y)
        for c in range(count):
            line = out[n, c, y]
            for column in range(width):
                line[column] = source.values[at + column * source.channels + c]


def pack(x: np.ndarray, target: FloatMap, channel: int = 0) -> None:
    """Writes float32 (N,C,H,W) into channels of a map, from `channel` on."""
    _pack(np.asarray(x, np.float32), target.view(channel))


def unpack(source: FloatMap, channels: slice | None = None) -> np.ndarray:
    """float32 (N,C,H,W) of a map, or of some of its channels."""
    layout = source.layout
    start, stop, _ = (channels or slice(None)).indices(layout.channels)
    out = np.empty((layout.images, stop - start, layout.height, layout.width), np.float32)
    _unpack(source.view(start), out)
    return out


@njit(parallel=True)
def _add(one, two, target, low, high):
    values, count = target.values, one.channels
    for task in prange(target.images * target.height):
        n, y = task // target.height, task % target.height
        for x in range(target.width):
            to = _at(target, n, y) + x * target.channels
            a = _at(one, n, y) + x * count
            b = _at(two, n, y) + x * count
            for k in range(count):
                total = one.values[a + k] + two.values[b + k]
                total = total if total > low or low == -np.inf else low
                values[to + k] = high if total > high else total


def add(
    sources: tuple[FloatMap, FloatMap], target: FloatMap, channel: int, bounds: tuple[float, float]
) -> None:
    """The sum of two whole maps in channels of another; bounds: as of floats.convolve."""
    one, two = (source.view() for source in sources)
    _add(one, two, target.view(channel), np.float32(bounds[0]), np.float32(bounds[1]))


@njit(parallel=True)
def _max_pool(source, target, window):
    channels, values = source.channels, target.values
    for task in prange(target.images * target.height):
        n, r = task // target.height, task % target.height
        top, bottom, _ = _seen(window, DOWN, r, source.height)
        for c in range(target.width):
            left, right, _ = _seen(window, ACROSS, c, source.width)
            at = _at(target, n, r) + c * target.channels
            best = values[at : at + channels]
            best[:] = -np.inf
            for y in range(top, bottom):
                for x in range(left, right):
                    pixel = _at(source, n, y) + x * channels
                    seen = source.values[pixel : pixel + channels]
                    for k in range(channels):
                        best[k] = best[k] if best[k] > seen[k] else seen[k]


def max_pool(
    source: FloatMap, target: FloatMap, channel: int, kernel: Pair, strides: Pair, pads: Pads
) -> None:
    """Maximum over windows, from one map into channels of another."""
    _max_pool(source.view(), target.view(channel), Window(*kernel, *strides, *pads))
