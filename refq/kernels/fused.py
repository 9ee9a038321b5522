"""Convolution from map to map: exact byte-plane products, then bias, ReLU, rounding, saturation and
encoding in the store (docs/performance.md).

Operands wider than a byte are split into planes, a = a_low + 256 a_high and
w = w_0 + 128 w_1 + ..., whose products are exact in int32; a row's planes are combined in 32 bits
where a bound on the sums allows it, in 64 bits elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from refq.kernels import rows as ending
from refq.kernels import tiles
from refq.kernels.maps import SLACK, STRIDE, Layout, Map
from refq.kernels.rows import _finish_row, _keep_row
from refq.kernels.tiles import ROWS, STEP, TILE, _configure_tiles, _release_tiles, _tiles
from refq.kernels.walk import pixels
from refq.layers import Pads, Pair

# bytes of activations that a task works on, panel after panel of weights: well inside L2
TASK_BYTES = 1 << 19
# bytes of panels that stay in L2 while a task's pixels pass
PANEL_BYTES = 1 << 20
# sums beyond this depth could leave int32
MAX_DEPTH = (2**31 - 1) // (255 * 128)


# (size, plane) -> uint8 array of at least that size, contents undefined, one for each plane
Scratch = Callable[[int, int], np.ndarray]


def new_scratch(size: int, plane: int) -> np.ndarray:
    """Scratch memory that nobody keeps."""
    return np.empty(size, np.uint8)


@dataclass(frozen=True)
class Kernel:
    """Weights of one convolution, in panels for the microkernel.

    panels: uint8 (groups, units, halves, steps * 1024): a unit is 32 channels of one plane, or 16
    channels of two. offsets: int64 (groups, steps), bytes from a window's first pixel.
    bias: int64 (groups, units * lanes). largest: no sum of products exceeds this for the map's
    codes. gathered: windows are gathered into pixels first (few input channels).
    """

    panels: np.ndarray
    offsets: np.ndarray
    bias: np.ndarray
    outputs: int
    planes: int
    strides: Pair
    window: Pair
    pads: Pads
    gathered: bool
    largest: int


def weight_planes(codes: np.ndarray) -> list[np.ndarray]:
    """int8 planes p_0, p_1, ... with codes = sum p_i * 128**i; the last one is signed, the others
    0..127."""
    planes, rest = [], codes.astype(np.int64)
    while rest.size and (rest.min() < -128 or rest.max() > 127):
        planes.append((rest & 127).astype(np.int8))
        rest = rest >> 7
    return [*planes, rest.astype(np.int8)]


def gathers(channels: int, window: Pair) -> bool:
    """True where a window's rows are so short that most of a step would be zeros."""
    steps = window[0] * math.ceil(window[1] * channels / STEP)
    return steps * STEP > 1.5 * window[0] * window[1] * channels and channels <= 16


def prepare(
    codes: np.ndarray,
    bias: np.ndarray,
    layout: Layout,
    code_range: tuple[int, int],
    offset: int,
    scale: int,
    strides: Pair,
    pads: Pads,
    group: int,
) -> Kernel | None:
    """Panels for weights (O, C/group, kh, kw) of integer codes on maps of a layout whose codes lie
    in code_range, are stored with an offset and count 2**scale each; None where planes, depth,
    stride or sums are too large.

    bias: int64 (O,). The offset is taken back through the bias: sum w (x + offset).
    """
    outputs, inputs, kh, kw = codes.shape
    planes = weight_planes(codes)
    if len(planes) > 2 or inputs * kh * kw > MAX_DEPTH or max(strides) > STRIDE:
        return None
    wide = codes.reshape(outputs, -1)
    stored = max(code_range[0] + offset, code_range[1] + offset)
    positive = np.maximum(wide, 0).sum(1, dtype=np.int64)
    negative = np.minimum(wide, 0).sum(1, dtype=np.int64)
    total = positive + negative
    # in Python integers: the bound must not wrap where the sums would
    most = int(np.maximum(positive, -negative).max(initial=0)) * stored << scale
    moved = int(np.abs(total).max(initial=0)) * offset << scale
    largest = most + moved + max(int(bias.max(initial=0)), -int(bias.min(initial=0)))
    if largest >= 2**62:
        return None
    shifted = bias - ((total * offset) << scale)
    gathered = group == 1 and gathers(layout.channels, (kh, kw))
    offsets, order = _steps(layout, inputs, (kh, kw), group, gathered)
    per_group = outputs // group
    lanes = 2 * ROWS if len(planes) == 1 else ROWS
    units = math.ceil(per_group / lanes)
    panels = np.zeros((group, units, 2, order.shape[0] * TILE), np.uint8)
    biases = np.zeros((group, units * lanes), np.int64)
    for g in range(group):
        part = slice(g * per_group, (g + 1) * per_group)
        for index, plane in enumerate(planes):
            panels_of = _panels(plane[part].transpose(0, 2, 3, 1), order, units * lanes)
            if len(planes) == 1:
                panels[g] = panels_of.reshape(units, 2, -1)
            else:
                panels[g, :, index] = panels_of
        biases[g, :per_group] = shifted[part]
    return Kernel(
        panels, offsets, biases, outputs, len(planes), strides, (kh, kw), pads, gathered, largest
    )


def _steps(
    layout: Layout, inputs: int, window: Pair, group: int, gathered: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Byte offsets (group, steps) and, for every step's 64 bytes, which element of a window
    (row, column, channel flattened) they meet, -1 for none: (steps, 64)."""
    kh, kw = window
    elements = np.arange(kh * kw * inputs).reshape(kh, kw, inputs)
    if gathered:
        runs = [(0, elements.reshape(-1))]
    elif group == 1:
        runs = [(i * layout.pitch * inputs, elements[i].reshape(-1)) for i in range(kh)]
    else:
        runs = [
            ((i * layout.pitch + j) * layout.channels, elements[i, j])
            for i in range(kh)
            for j in range(kw)
        ]
    offsets, order = [], []
    for start, run in runs:
        for first in range(0, len(run), STEP):
            line = np.full(STEP, -1, np.int64)
            piece = run[first : first + STEP]
            line[: len(piece)] = piece
            offsets.append(start + first)
            order.append(line)
    shift = 0 if gathered else inputs
    table = np.array(offsets, np.int64)[None] + shift * np.arange(group, dtype=np.int64)[:, None]
    return table, np.array(order)


def _panels(plane: np.ndarray, order: np.ndarray, channels: int) -> np.ndarray:
    """One plane (O, kh, kw, C) as panels (channels / 16, steps * 1024): for each step 16 rows of
    16 channels by 4 bytes."""
    flat = np.zeros((channels, plane[0].size + 1), np.int8)  # the last column is zero
    flat[: len(plane), :-1] = plane.reshape(len(plane), -1)
    picked = flat[:, order]  # (channels, steps, 64)
    steps = order.shape[0]
    tiled = picked.reshape(channels // ROWS, ROWS, steps, STEP // 4, 4).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(tiled).reshape(channels // ROWS, -1).view(np.uint8)


@njit(cache=True, nogil=True, parallel=True)
def _convolve(
    backend, mode, width, paired, halves, low, high, starts, numbers, stride, offsets, panels,
    bias, parameters, outputs, out_low, out_high, sums, keep, pitch, channel, per_task, config,
    seen, outside,
):  # fmt: skip
    """One group of channels. paired: two groups of pixels at a time (one activation plane);
    halves: channel blocks of a unit (2 for one weight plane)."""
    tasks = (starts.size + per_task - 1) // per_task
    units = panels.shape[0]
    steps = offsets.size
    advance = 2 if paired else 1
    two = out_high.size > 0
    unit_block = max(1, PANEL_BYTES // (2 * steps * TILE))
    for task in prange(tasks):
        scratch = np.empty(4 * TILE + 64, np.uint8)
        spare = np.empty(16 * 8, np.uint8)
        kept = spare.view(np.int64)
        # addresses are taken once: taking one counts a reference, which costs more than a row
        c = (scratch.ctypes.data + 63) // 64 * 64
        spare_at, seen_at = spare.ctypes.data, seen[task].ctypes.data
        low_at, high_at, offsets_at = low.ctypes.data, high.ctypes.data, offsets.ctypes.data
        bias_at, parameters_at, sums_at = (
            bias.ctypes.data, parameters.ctypes.data, sums.ctypes.data
        )  # fmt: skip
        out_low_at, out_high_at = out_low.ctypes.data, out_high.ctypes.data
        panels_at = panels.ctypes.data
        _configure_tiles(backend, config.ctypes.data)
        first, end = task * per_task, min(starts.size, (task + 1) * per_task)
        count = (end - first + advance - 1) // advance
        clipped = 0
        # pixels stay in the first cache while the panels of a block of units pass by in the second
        for job in range((units + unit_block - 1) // unit_block * count):
            m = first + job % count * advance
            a0 = low_at + starts[m]
            a1 = low_at + starts[min(m + 1, end - 1)] if paired else high_at + starts[m]
            ahead = job // count * unit_block
            for unit in range(ahead, min(units, ahead + unit_block)):
                b0 = panels_at + 2 * unit * steps * TILE
                b1 = b0 + steps * TILE
                _tiles(backend, a0, a1, stride, offsets_at, b0, b1, c, steps)
                for g in range(min(advance, end - m)):
                    for h in range(halves):
                        block = (unit * halves + h) * ROWS
                        if block >= outputs:
                            continue
                        whole = block + ROWS <= outputs
                        bias_here = bias_at + block * 8
                        for r in range(ROWS):
                            number = numbers[m + g, r]
                            if number < 0:
                                continue
                            row = c + r * 64
                            place = np.int64(number) * pitch + channel + block
                            if keep:
                                to = sums_at + place * 8 if whole else spare_at
                                _keep_row(width, mode, g, h, row, bias_here, parameters_at, to)
                                if not whole:
                                    for k in range(outputs - block):
                                        sums[place + k] = kept[k]
                                continue
                            to_low = out_low_at + place if whole else spare_at
                            to_high = 0
                            if two:
                                to_high = out_high_at + place if whole else spare_at + 16
                            clipped += _finish_row(
                                width,
                                mode,
                                g,
                                h,
                                row,
                                bias_here,
                                parameters_at,
                                to_low,
                                to_high,
                                seen_at,
                            )
                            if not whole:
                                for k in range(outputs - block):
                                    out_low[place + k] = spare[k]
                                    if two:
                                        out_high[place + k] = spare[16 + k]
        _release_tiles(backend)
        # read here, so that the scratch arrays live as long as their addresses are in use
        outside[task] += clipped + (scratch.size - 4 * TILE - 64) + (spare.size - 128)


@njit(cache=True, nogil=True, parallel=True)
def _gather(plane, starts, numbers, pitch, channels, kh, kw, stride, out):
    """Windows of the numbered pixels, one after the other in out."""
    run = kw * channels
    for m in prange(starts.size):
        for r in range(ROWS):
            number = numbers[m, r]
            if number >= 0:
                at = starts[m] + r * stride
                to = np.int64(number) * kh * run
                for _ in range(kh):
                    line, pixels_of = out[to : to + run], plane[at : at + run]
                    for k in range(run):
                        line[k] = pixels_of[k]
                    at += pitch * channels
                    to += run


@dataclass(frozen=True)
class Result:
    """What a fused convolution saw: codes outside their range, least and greatest sum."""

    outside: int
    low: int
    high: int


def convolve(
    source: Map,
    kernel: Kernel,
    target: Map | None,
    parameters: np.ndarray,
    out: tuple[Layout, np.ndarray] | None = None,
    channel: int = 0,
    width: int = 64,
    scratch: Scratch = new_scratch,
) -> Result:
    """Runs a prepared convolution from a map into channels of another, or, with `out`, into exact
    int64 sums at the pixels of a layout. parameters: see rows.parameters.

    The lanes beyond the real channels of a partial unit hold zeros, which the range includes.
    """
    layout = target.layout if target is not None else out[0] if out else source.layout
    where = pixels(source.layout, layout, kernel.strides, kernel.pads)
    low, high, stride, starts = source.low, source.high, where.stride, where.starts
    numbers = where.numbers
    if kernel.gathered:
        low, high, starts, numbers, stride = _gathered(source, kernel, where, scratch)
    backend = tiles.TOKENS[tiles.backend()]
    mode = (source.planes, kernel.planes)
    groups = kernel.panels.shape[0]
    per_group = kernel.outputs // groups
    per_task = _per_task(starts.size, stride * source.planes)
    tasks = math.ceil(starts.size / per_task)
    seen = np.empty((tasks, 2, ROWS), np.int64)
    seen[:, 0], seen[:, 1] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    outside = np.zeros(tasks, np.int64)
    none = np.empty(0, np.uint8)
    for g in range(groups):
        _convolve(
            backend, ending.MODES[mode], ending.WIDTHS[width], source.planes == 1,
            2 if kernel.planes == 1 else 1, low, low if high is None else high, starts, numbers,
            stride, kernel.offsets[g], kernel.panels[g], kernel.bias[g], parameters, per_group,
            none if target is None else target.low,
            none if target is None or target.high is None else target.high,
            out[1] if out else np.empty(0, np.int64), out is not None,
            layout.channels, channel + g * per_group, per_task, tiles.CONFIG, seen, outside,
        )  # fmt: skip
    return Result(int(outside.sum()), int(seen[:, 0].min()), int(seen[:, 1].max()))


def _per_task(groups: int, stride: int) -> int:
    """Pixel groups of a task: a cacheful, an even number, and enough tasks for all threads."""
    cacheful = max(2, TASK_BYTES // (ROWS * max(1, stride)))
    return max(2, min(cacheful, math.ceil(groups / 8)) // 2 * 2)


def _gathered(source, kernel, where, scratch):
    """The windows of few-channel images as pixels of their own."""
    depth = kernel.window[0] * kernel.window[1] * source.layout.channels
    count = where.starts.size * ROWS
    numbers = np.arange(count, dtype=np.int32).reshape(-1, ROWS)
    planes = []
    for index, plane in enumerate((source.low, source.high)):
        if plane is None:
            planes.append(None)
            continue
        out = scratch((count + 32) * depth + SLACK, index)
        _gather(
            plane, where.starts, np.where(where.numbers >= 0, numbers, -1), source.layout.pitch,
            source.layout.channels, *kernel.window, where.stride, out,
        )  # fmt: skip
        planes.append(out)
    starts = np.arange(where.starts.size, dtype=np.int64) * ROWS * depth
    return planes[0], planes[1], starts, where.numbers, depth
