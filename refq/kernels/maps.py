"""Feature maps as the fused convolutions keep them: channels last, padded, in byte planes.

Pixels lie one after the other, `channels` bytes each, every plane in an array of its own. Rows
share their padding: the cell after the last column of a row is also the cell before the first
column of the next, and likewise for the rows of successive images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from refq.kernels import aligned
from refq.kernels.planes import activation_planes, radix
from refq.networks.layers import Pads

# what a microkernel may read beyond the last pixel: 16 pixels at the widest stride, and a step
STRIDE = 7
SLACK = 4096


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

    @property
    def size(self) -> int:
        """Array length: all pixels, and what a microkernel may read beyond them."""
        return (self.pixels + 16 * (STRIDE + 1)) * self.channels + SLACK


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

    def three(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Three planes, absent ones empty."""
        none = np.empty(0, np.uint8)
        low, high, both = (*self.planes, none, none)[:3]
        return low, high, both


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


@njit(cache=True, nogil=True, inline="always")
def _put(code, at, low, high, both, radix):
    if high.size:
        lower, upper = code & ((1 << radix) - 1), code >> radix
        low[at], high[at] = lower, upper
        if both.size:
            both[at] = lower + upper
    else:
        low[at] = code


@njit(cache=True, nogil=True, parallel=True)
def _pack(codes, low, high, both, radix, offset, pitch, rows, first, channels, first_channel):
    images, count, height, width = codes.shape
    for task in prange(images * height):
        n, y = task // height, task % height
        at = (first + (n * rows + y) * pitch) * channels + first_channel
        for c in range(count):
            line = codes[n, c, y]
            for x in range(width):
                _put(line[x] + offset, at + x * channels + c, low, high, both, radix)


@njit(cache=True, nogil=True, parallel=True)
def _unpack(low, high, radix, offset, scale, pitch, rows, first, channels, first_channel, out):
    images, count, height, width = out.shape
    for task in prange(images * height):
        n, y = task // height, task % height
        at = (first + (n * rows + y) * pitch) * channels + first_channel
        for c in range(count):
            line = out[n, c, y]
            for x in range(width):
                code = np.int32(low[at + x * channels + c])
                if high.size:
                    code += np.int32(high[at + x * channels + c]) << radix
                line[x] = (code - offset) << scale


def pack(codes: np.ndarray, target: Map, channel: int = 0) -> None:
    """Writes int32 codes (N,C,H,W) into channels of a map, from `channel` on; its scale is not
    applied."""
    layout = target.layout
    _pack(
        codes,
        *target.three(),
        target.radix,
        target.offset,
        layout.pitch,
        layout.rows,
        layout.first,
        layout.channels,
        channel,
    )


def unpack(source: Map, channels: slice | None = None) -> np.ndarray:
    """int32 value codes (N,C,H,W) of a map, or of some of its channels."""
    layout = source.layout
    start, stop, _ = (channels or slice(None)).indices(layout.channels)
    out = np.empty((layout.images, stop - start, layout.height, layout.width), np.int32)
    low, high, _ = source.three()
    _unpack(
        low,
        high,
        source.radix,
        source.offset,
        source.scale,
        layout.pitch,
        layout.rows,
        layout.first,
        layout.channels,
        start,
        out,
    )
    return out


@njit(cache=True, nogil=True, parallel=True)
def _max_pool(
    low,
    high,
    radix,
    pitch,
    rows,
    first,
    channels,
    height,
    width,
    out_low,
    out_high,
    out_both,
    out_pitch,
    out_rows,
    out_first,
    out_channels,
    out_channel,
    images,
    out_height,
    out_width,
    kernel,
    strides,
    pads,
):
    for task in prange(images * out_height):
        n, r = task // out_height, task % out_height
        narrow, wide = np.empty(channels, np.uint8), np.empty(channels, np.uint16)
        top = max(0, r * strides[0] - pads[0])
        bottom = min(height, r * strides[0] - pads[0] + kernel[0])
        for c in range(out_width):
            left = max(0, c * strides[1] - pads[1])
            right = min(width, c * strides[1] - pads[1] + kernel[1])
            narrow[:], wide[:] = 0, 0
            for y in range(top, bottom):
                for x in range(left, right):
                    at = (first + (n * rows + y) * pitch + x) * channels
                    a = low[at : at + channels]
                    if high.size:
                        b = high[at : at + channels]
                        for k in range(channels):
                            code = np.uint16(a[k]) + np.uint16(np.uint16(b[k]) << np.uint16(radix))
                            wide[k] = max(wide[k], code)
                    else:
                        for k in range(channels):
                            narrow[k] = max(narrow[k], a[k])
            to = (out_first + (n * out_rows + r) * out_pitch + c) * out_channels + out_channel
            if high.size:
                mask = np.uint16((1 << radix) - 1)
                for k in range(channels):
                    out_low[to + k] = np.uint8(wide[k] & mask)
                    out_high[to + k] = np.uint8(wide[k] >> np.uint16(radix))
                if out_both.size:
                    for k in range(channels):
                        out_both[to + k] = out_low[to + k] + out_high[to + k]
            else:
                out_low[to : to + channels] = narrow


def max_pool(
    source: Map,
    target: Map,
    channel: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: Pads,
) -> None:
    """Maximum over windows, from one map into channels of another of the same formats.

    Unsigned codes order as their values do, so no code is decoded.
    """
    a, b = source.layout, target.layout
    low, high, _ = source.three()
    _max_pool(
        low,
        high,
        source.radix,
        a.pitch,
        a.rows,
        a.first,
        a.channels,
        a.height,
        a.width,
        *target.three(),
        b.pitch,
        b.rows,
        b.first,
        b.channels,
        channel,
        a.images,
        b.height,
        b.width,
        kernel,
        strides,
        pads,
    )
