"""Feature maps as the fused convolutions keep them: channels last, padded, in byte planes.

Pixels lie one after the other, `channels` bytes each, first the low bytes, in an array of its own
the high bytes. Rows share their padding: the cell after the last column of a row is also the cell
before the first column of the next, and likewise for the rows of successive images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from refq.layers import Pads

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
    """Unsigned integer codes of a feature map; code = low + 256 * high - offset.

    low: uint8 (layout.size,); high: the same, or None where codes fit 8 bits. Values are
    code * 2**scale, with frac_bits fraction bits. Padding holds the code of zero.
    """

    layout: Layout
    low: np.ndarray
    high: np.ndarray | None
    frac_bits: int
    offset: int = 0
    scale: int = 0

    @property
    def planes(self) -> int:
        return 1 if self.high is None else 2


def new_map(layout: Layout, bits: int, frac_bits: int, offset: int = 0, scale: int = 0) -> Map:
    """An empty map for unsigned codes of so many bits (at most 16)."""
    low = np.full(layout.size, offset & 255, np.uint8)
    high = np.full(layout.size, offset >> 8, np.uint8) if bits > 8 else None
    return Map(layout, low, high, frac_bits, offset, scale)


@njit(cache=True, nogil=True, parallel=True)
def _pack(codes, low, high, two, offset, pitch, rows, first, channels, first_channel):
    images, count, height, width = codes.shape
    for task in prange(images * height):
        n, y = task // height, task % height
        at = (first + (n * rows + y) * pitch) * channels + first_channel
        for x in range(width):
            for c in range(count):
                code = codes[n, c, y, x] + offset
                low[at + c] = code & 255
                if two:
                    high[at + c] = code >> 8
            at += channels


@njit(cache=True, nogil=True, parallel=True)
def _unpack(low, high, two, offset, scale, pitch, rows, first, channels, first_channel, out):
    images, count, height, width = out.shape
    for task in prange(images * height):
        n, y = task // height, task % height
        at = (first + (n * rows + y) * pitch) * channels + first_channel
        for x in range(width):
            for c in range(count):
                code = np.int32(low[at + c])
                if two:
                    code += np.int32(high[at + c]) << 8
                out[n, c, y, x] = (code - offset) << scale
            at += channels


def pack(codes: np.ndarray, target: Map, channel: int = 0) -> None:
    """Writes int32 codes (N,C,H,W) into channels of a map, from `channel` on; its scale is not
    applied."""
    layout = target.layout
    high = target.low if target.high is None else target.high
    _pack(
        codes, target.low, high, target.planes == 2, target.offset,
        layout.pitch, layout.rows, layout.first, layout.channels, channel,
    )  # fmt: skip


def unpack(source: Map, channels: slice | None = None) -> np.ndarray:
    """int32 value codes (N,C,H,W) of a map, or of some of its channels."""
    layout = source.layout
    start, stop, _ = (channels or slice(None)).indices(layout.channels)
    out = np.empty((layout.images, stop - start, layout.height, layout.width), np.int32)
    high = source.low if source.high is None else source.high
    _unpack(
        source.low, high, source.planes == 2, source.offset, source.scale,
        layout.pitch, layout.rows, layout.first, layout.channels, start, out,
    )  # fmt: skip
    return out


@njit(cache=True, nogil=True, parallel=True)
def _max_pool(
    low, high, two, pitch, rows, first, channels, height, width,
    out_low, out_high, out_pitch, out_rows, out_first, out_channels, out_channel,
    images, out_height, out_width, kernel, strides, pads,
):  # fmt: skip
    for task in prange(images * out_height):
        n, r = task // out_height, task % out_height
        best = np.empty(channels, np.uint16)
        top = max(0, r * strides[0] - pads[0])
        bottom = min(height, r * strides[0] - pads[0] + kernel[0])
        for c in range(out_width):
            left = max(0, c * strides[1] - pads[1])
            right = min(width, c * strides[1] - pads[1] + kernel[1])
            best[:] = 0
            for y in range(top, bottom):
                for x in range(left, right):
                    at = (first + (n * rows + y) * pitch + x) * channels
                    a = low[at : at + channels]
                    if two:
                        b = high[at : at + channels]
                        for k in range(channels):
                            code = np.uint16(a[k]) | np.uint16(np.uint16(b[k]) << np.uint16(8))
                            best[k] = max(best[k], code)
                    else:
                        for k in range(channels):
                            best[k] = max(best[k], np.uint16(a[k]))
            to = (out_first + (n * out_rows + r) * out_pitch + c) * out_channels + out_channel
            for k in range(channels):
                out_low[to + k] = np.uint8(best[k])
            if two:
                for k in range(channels):
                    out_high[to + k] = np.uint8(best[k] >> np.uint16(8))


def max_pool(
    source: Map, target: Map, channel: int, kernel: tuple[int, int],
    strides: tuple[int, int], pads: Pads,
) -> None:  # fmt: skip
    """Maximum over windows, from one map into channels of another of the same formats.

    Unsigned codes order as their values do, so no code is decoded.
    """
    a, b = source.layout, target.layout
    high = source.low if source.high is None else source.high
    out_high = target.low if target.high is None else target.high
    _max_pool(
        source.low, high, source.planes == 2, a.pitch, a.rows, a.first, a.channels, a.height,
        a.width, target.low, out_high, b.pitch, b.rows, b.first, b.channels, channel,
        a.images, b.height, b.width, kernel, strides, pads,
    )  # fmt: skip
