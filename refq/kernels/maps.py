"""Feature maps as the fused convolutions keep them: channels last, padded, in byte planes.

Pixels lie one after the other, `channels` bytes each, every plane in an array of its own. Rows
share their padding: the cell after the last column of a row is also the cell before the first
column of the next, and likewise for the rows of successive images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refq.kernels import aligned
from refq.kernels.compiling import njit, prange
from refq.kernels.planes import activation_planes, radix
from refq.kernels.windows import ACROSS, DOWN, Window, _seen
from refq.networks.layers import Pads, Pair

# what a microkernel may read beyond the last pixel: 16 pixels at the widest stride, and a step
STRIDE = 7
SLACK = 4096
# a plane that a map has not
NONE = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Layout:
    """Where pixels lie: N images of (channels, height, width), padded by at least `pads`."""

    images: int
    channels: int
    height: int
    width: int
    pads: Pads

    @property
    def pitch(self) -> int:
        """Pixels from one row to the next."""
        return self.width + max(self.pads[1], self.pads[3])

    @property
    def rows(self) -> int:
        """Rows from one image to the next."""
        return self.height + max(self.pads[0], self.pads[2])

    @property
    def first(self) -> int:
        """Number of the first image's first pixel."""
        return max(self.pads[0], self.pads[2]) * self.pitch + max(self.pads[1], self.pads[3])

    @property
    def pixels(self) -> int:
        """All pixels, padding included."""
        return self.first + self.images * self.rows * self.pitch + self.first

    def place(self, channel: int) -> tuple[int, ...]:
        """Where a channel lies, as the fields of a view that begin with its pitch."""
        grid = self.pitch, self.rows, self.first, self.channels, channel
        return (*grid, self.images, self.height, self.width)

    @property
    def size(self) -> int:
        """Array length: all pixels, and what a microkernel may read beyond them."""
        return (self.pixels + 16 * (STRIDE + 1)) * self.channels + SLACK


class View(NamedTuple):
    """A map from some channel on, for compiled code: Map's planes, absent ones empty, how codes are
    stored in them, and Layout's numbers.

    A kernel takes the arrays that it writes out of a named tuple before its parallel loop: Numba
    drops stores that it cannot follow to an argument.
    """

    low: np.ndarray
    high: np.ndarray
    both: np.ndarray
    radix: int
    offset: int
    scale: int
    pitch: int
    rows: int
    first: int
    channels: int
    channel: int
    images: int
    height: int
    width: int


@dataclass(frozen=True)
class Map:
    """Unsigned integer codes of a feature map, in byte planes (refq.kernels.planes).

    planes: uint8 (layout.size,) each: [code], [low, high] or [low, high, low + high], of
    code + offset. Values are code * 2**scale, with frac_bits fraction bits. Padding holds the code
    of zero.
    """

    layout: Layout
    planes: tuple[np.ndarray, ...]
    frac_bits: int
    offset: int = 0
    scale: int = 0

    @property
    def radix(self) -> int:
        """Bits of the low plane."""
        return radix(len(self.planes))

    def view(self, channel: int = 0) -> View:
        """What compiled code sees, from this channel on."""
        planes = (*self.planes, NONE, NONE)[:3]
        stored = self.radix, self.offset, self.scale
        return View._make((*planes, *stored, *self.layout.place(channel)))


def new_map(layout: Layout, bits: int, frac_bits: int, offset: int = 0, scale: int = 0) -> Map:
    """An empty map for unsigned codes of so many bits (at most 16)."""
    count = activation_planes(bits)
    low, high = (offset, 0) if count == 1 else (offset % 2 ** radix(count), offset >> radix(count))
    planes = []
    for fill in (low, high, low + high)[:count]:
        planes.append(aligned.zeros((layout.size,), np.uint8))
        if fill:
            planes[-1].fill(fill)
    return Map(layout, tuple(planes), frac_bits, offset, scale)


@njit(inline="always")
def _at(view, image, row):
    """Where a row's first value lies in the arrays of a map."""
    return (view.first + (image * view.rows + row) * view.pitch) * view.channels + view.channel


@njit(inline="always")
def _put(code, at, low, high, both, radix):
    if high.size:
        lower, upper = code & ((1 << radix) - 1), code >> radix
        low[at], high[at] = lower, upper
        if both.size:
            both[at] = lower + upper
    else:
        low[at] = code


@njit(parallel=True)
def _pack(codes, target):
    images, count, height, width = codes.shape
    low, high, both = target.low, target.high, target.both
    for task in prange(images * height):
        n, y = task // height, task % height
        at = _at(target, n, y)
        for c in range(count):
            line = codes[n, c, y]
            for x in range(width):
                place = at + x * target.channels + c
                _put(line[x] + target.offset, place, low, high, both, target.radix)


@njit(parallel=True)
def _unpack(source, out):
    images, count, height, width = out.shape
    for task in prange(images * height):
        n, y = task // height, task % height
        at = _at(source, n, y)
        for c in range(count):
            line = out[n, c, y]
            for x in range(width):
                place = at + x * source.channels + c
                code = np.int32(source.low[place])
                if source.high.size:
                    code += np.int32(source.high[place]) << source.radix
                line[x] = (code - source.offset) << source.scale


def pack(codes: np.ndarray, target: Map, channel: int = 0) -> None:
    """Writes int32 codes (N,C,H,W) into channels of a map, from `channel` on; its scale is not
    applied."""
    _pack(codes, target.view(channel))


def unpack(source: Map, channels: slice | None = None) -> np.ndarray:
    """int32 value codes (N,C,H,W) of a map, or of some of its channels."""
    layout = source.layout
    start, stop, _ = (channels or slice(None)).indices(layout.channels)
    out = np.empty((layout.images, stop - start, layout.height, layout.width), np.int32)
    _unpack(source.view(start), out)
    return out


@njit(parallel=True)
def _max_pool(source, target, window):
    channels, radix = source.channels, source.radix
    low, high, both = target.low, target.high, target.both
    for task in prange(target.images * target.height):
        n, r = task // target.height, task % target.height
        narrow, wide = np.empty(channels, np.uint8), np.empty(channels, np.uint16)
        top, bottom, _ = _seen(window, DOWN, r, source.height)
        for c in range(target.width):
            left, right, _ = _seen(window, ACROSS, c, source.width)
            narrow[:], wide[:] = 0, 0
            for y in range(top, bottom):
                for x in range(left, right):
                    at = _at(source, n, y) + x * channels
                    a = source.low[at : at + channels]
                    if source.high.size:
                        b = source.high[at : at + channels]
                        for k in range(channels):
                            code = np.uint16(a[k]) + np.uint16(np.uint16(b[k]) << np.uint16(radix))
                            wide[k] = max(wide[k], code)
                    else:
                        for k in range(channels):
                            narrow[k] = max(narrow[k], a[k])
            to = _at(target, n, r) + c * target.channels
            if source.high.size:
                mask = np.uint16((1 << radix) - 1)
                for k in range(channels):
                    low[to + k] = np.uint8(wide[k] & mask)
                    high[to + k] = np.uint8(wide[k] >> np.uint16(radix))
                if both.size:
                    for k in range(channels):
                        both[to + k] = low[to + k] + high[to + k]
            else:
                low[to : to + channels] = narrow


def max_pool(
    source: Map, target: Map, channel: int, kernel: Pair, strides: Pair, pads: Pads
) -> None:
    """Maximum over windows, from one map into channels of another of the same formats.

    Unsigned codes order as their values do, so no code is decoded.
    """
    _max_pool(source.view(), target.view(channel), Window(*kernel, *strides, *pads))
