"""Convolution from map to map: exact byte-plane products, then bias, ReLU, rounding, saturation and
encoding in the store (docs/performance.md).

Operands wider than a byte are split into planes (refq.kernels.planes), whose products are exact in
int32; they are combined in 32 bits where a bound on the sums allows it, in 64 bits elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numba import get_num_threads, njit, prange

from refq.kernels import aligned, rows, tiles
from refq.kernels.maps import STRIDE, Layout, Map
from refq.kernels.planes import Recipe, recipe_for, weight_planes
from refq.kernels.rows import LEAST, MOST, OUTSIDE, PASS, Ending, _work
from refq.kernels.tiles import ROWS, STEP, TILE, _configure_tiles, _release_tiles
from refq.kernels.turns import _take
from refq.kernels.walk import pixels
from refq.networks.layers import Pads, Pair

# bytes of activations that a task works on, panel after panel of weights: well inside L2
TASK_BYTES = 1 << 18
# bytes of panels that stay in L2 while a task's pixels pass
PANEL_BYTES = 1 << 19
# sums beyond this depth could leave int32
MAX_DEPTH = (2**31 - 1) // (255 * 128)

# tasks of a layer, so that threads end at about the same time
TASKS = 8
# channels of a unit
UNIT = 2 * ROWS


@dataclass(frozen=True)
class Kernel:
    """Weights of one convolution, in panels for the microkernel.

    panels: uint8 (planes, groups, units, 2, steps * 1024), a unit being two blocks of 16 channels;
    offsets: int64 (groups, steps), bytes from a window's first pixel; parts: int64 (steps,),
    quarters of a step that have weights; bias: int64 (groups, channels); largest: no sum of
    products exceeds this for the map's codes; positive, negative: int64 (outputs,), sums of each
    output's weights of either sign.
    """

    panels: np.ndarray
    offsets: np.ndarray
    parts: np.ndarray
    bias: np.ndarray
    outputs: int
    recipe: Recipe
    strides: Pair
    pads: Pads
    largest: int
    positive: np.ndarray
    negative: np.ndarray


def prepare(
    codes: np.ndarray,
    bias: np.ndarray,
    layout: Layout,
    planes: int,
    code_range: tuple[int, int],
    offset: int,
    scale: np.ndarray,
    strides: Pair,
    pads: Pads,
    group: int,
    flat: bool = False,
    like: Kernel | None = None,
) -> Kernel | None:
    """Panels for weights (O, C/group, kh, kw) of integer codes on maps of a layout whose codes lie
    in code_range, are stored in so many planes with an offset, and whose products count 2**scale
    each; None where weights, depth, stride or sums are too large.

    bias, scale: int64 (O,). The offset is taken back through the bias: sum w (x + offset). flat:
    the layer is dense, and the map's pixels are whole images (kh, kw, C). like: a kernel of the
    same codes for the same layout and planes, whose panels are shared. Works unit by unit, so that
    no second copy of all weights is made.
    """
    outputs, depth = len(codes), math.prod(codes.shape[1:])
    least, most = int(codes.min(initial=0)), int(codes.max(initial=0))
    if least == most == 0:
        scale = np.zeros_like(scale)  # there is nothing to shift, so any shift will do
    recipe = recipe_for(least, most, planes)
    if recipe is None or depth > MAX_DEPTH or max(strides) > STRIDE:
        return None
    stored = max(code_range[0] + offset, code_range[1] + offset)
    positive, negative = (like.positive, like.negative) if like else _signed_sums(codes)
    total = positive + negative
    # in Python integers: the bound must not wrap where the sums would
    largest = max(
        (max(int(up), -int(down)) * stored + abs(int(both)) * offset << int(by)) + abs(int(start))
        for up, down, both, by, start in zip(positive, negative, total, scale, bias, strict=True)
    )
    if largest >= 2**62:
        return None
    shifted = bias - ((total * offset) << scale)
    if like:
        return replace(like, bias=_grouped(shifted, group), largest=largest)
    window = (1, 1) if flat else (codes.shape[2], codes.shape[3])
    offsets, order = _steps(layout, depth // math.prod(window), window, group)
    used = (order >= 0).sum(1)
    per_group = outputs // group
    units = math.ceil(per_group / UNIT)
    count = 1 + max(plane for _, plane in recipe.passes)
    panels = aligned.zeros((count, group, units, 2, order.shape[0] * TILE), np.uint8)
    for g in range(group):
        rows_of = slice(g * per_group, (g + 1) * per_group)
        for unit in range(units):
            here = codes[rows_of][unit * UNIT : (unit + 1) * UNIT].transpose(0, 2, 3, 1)
            for index, plane in enumerate(weight_planes(here, recipe)):
                panels[index, g, unit] = _panel(plane.reshape(len(plane), -1), order)
    return Kernel(
        panels,
        offsets,
        (used + 15) // 16,
        _grouped(shifted, group),
        outputs,
        recipe,
        strides,
        pads,
        largest,
        positive,
        negative,
    )


def _signed_sums(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of each output's positive and negative weights: int64 (O,) each."""
    positive, negative = np.zeros((2, len(codes)), np.int64)
    for unit in range(0, len(codes), UNIT):
        part = codes[unit : unit + UNIT].reshape(-1, math.prod(codes.shape[1:]))
        positive[unit : unit + UNIT] = np.maximum(part, 0).sum(1, dtype=np.int64)
        negative[unit : unit + UNIT] = np.minimum(part, 0).sum(1, dtype=np.int64)
    return positive, negative


def _grouped(bias: np.ndarray, group: int) -> np.ndarray:
    """int64 (O,) as (groups, whole units and one), zeros at the end: what a block that is wider
    than a unit reads beyond the last."""
    per_group = len(bias) // group
    out = np.zeros((group, (math.ceil(per_group / UNIT) + 1) * UNIT), np.int64)
    out[:, :per_group] = bias.reshape(group, per_group)
    return out


def _steps(layout: Layout, inputs: int, window: Pair, group: int) -> tuple[np.ndarray, np.ndarray]:
    """Byte offsets (group, steps) and, for every step's 64 bytes, which element of a window
    (row, column, channel flattened) they meet, -1 for none: (steps, 64)."""
    kh, kw = window
    elements = np.arange(kh * kw * inputs).reshape(kh, kw, inputs)
    if group == 1:
        runs = [(i * layout.pitch * inputs, elements[i].reshape(-1)) for i in range(kh)]
    else:
        runs = [
            ((i * layout.pitch + j) * layout.channels, elements[i, j])
            for i in range(kh)
            for j in range(kw)
        ]
    steps = []
    for start, run in runs:
        for first in range(0, len(run), STEP):
            line = np.full(STEP, -1, np.int64)
            piece = run[first : first + STEP]
            line[: len(piece)] = piece
            steps.append((start + first, line))
    if inputs % STEP == 0:
        # all taps on 64 channels, then the next 64: their pixels stay in the first cache
        steps.sort(key=lambda step: step[1][0] % inputs)
    offsets, order = zip(*steps)
    table = np.array(offsets, np.int64)[None] + inputs * np.arange(group, dtype=np.int64)[:, None]
    return table, np.array(order)


def _panel(plane: np.ndarray, order: np.ndarray) -> np.ndarray:
    """One plane (O, depth) of up to 32 channels as a panel (2, steps * 1024): for each step 16
    rows of 16 channels by 4 bytes."""
    padded = np.zeros((UNIT, plane.shape[1] + 1), np.int8)  # the last column is zero
    padded[: len(plane), :-1] = plane
    tiled = padded[:, order].reshape(2, ROWS, len(order), STEP // 4, 4).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(tiled).view(np.uint8).reshape(2, -1)


@njit(cache=True, nogil=True, parallel=True)
def _convolve(
    backend,
    recipe,
    ending,
    sources,
    panels,
    unit_bytes,
    starts,
    numbers,
    wanted,
    stride,
    offsets,
    parts,
    bias,
    parameters,
    outputs,
    low,
    high,
    both,
    pitch,
    channel_bytes,
    per_task,
    units_per_task,
    config,
    scratch,
    seen,
    seen_bytes,
    turn,
    threads,
    down,
    wide,
):
    """One group of channels. sources, panels: addresses of the planes of each pass; low, high,
    both: addresses of the output's planes, or in low of int64 sums; scratch, seen: addresses of
    each thread's tiles and of the vectors of what rows._work saw; turn: the next task; down, wide:
    groups of pixels and channels of a block, whose weights are a unit here."""
    passes, steps, count = sources.size, offsets.size, starts.size
    units = (outputs + wide - 1) // wide
    across = (units + units_per_task - 1) // units_per_task
    tasks = (count + per_task - 1) // per_task * across
    unit_block = max(1, PANEL_BYTES // (passes * unit_bytes))
    for thread in prange(threads):
        # addresses are taken once: taking one counts a reference, which costs more than a row
        offsets_at, parts_at, numbers_at = (
            offsets.ctypes.data,
            parts.ctypes.data,
            numbers.ctypes.data,
        )
        bias_at, parameters_at = bias.ctypes.data, parameters.ctypes.data
        turn_at = turn.ctypes.data
        buffer = scratch + thread * 2 * passes * PASS
        _configure_tiles(backend, config.ctypes.data)
        task = _take(turn_at)
        while task < tasks:
            first = task // across * per_task
            end = min(count, first + per_task)
            first_unit = task % across * units_per_task
            end_unit = min(units, first_unit + units_per_task)
            jobs = (end - first + down - 1) // down * (end_unit - first_unit)
            # pixels stay in the first cache while the panels of a block of units pass by in the
            # second
            m, unit, ahead = first, first_unit, first_unit
            block_end = min(end_unit, ahead + unit_block)
            done_m, done_unit = m, unit
            for job in range(jobs + 1):
                now, before = (job & 1) * passes * PASS, (1 - (job & 1)) * passes * PASS
                # after the last block a single step, whose sums nobody reads, finishes it
                real = job < jobs
                steps_now = steps if real else 1
                rows0 = wanted[m] if real else 0
                rows1 = wanted[m + 1] if real and m + 1 < end else 0
                pixels_done = min(down, end - done_m) * ROWS if job else 0
                channel = done_unit * wide
                for p in range(passes):
                    first_pixel = pixels_done * p // passes
                    last_pixel = pixels_done * (p + 1) // passes
                    panel = panels[p] + unit * unit_bytes
                    _work(
                        backend,
                        recipe,
                        ending,
                        sources[p] + starts[m],
                        sources[p] + starts[min(m + 1, end - 1)],
                        stride,
                        rows0,
                        rows1,
                        offsets_at,
                        parts_at,
                        panel,
                        steps * TILE,
                        outputs - unit * wide,
                        buffer + now + p * PASS,
                        steps_now,
                        first_pixel,
                        last_pixel,
                        (last_pixel - first_pixel + steps_now - 1) // steps_now,
                        buffer + before,
                        numbers_at + 4 * ROWS * done_m,
                        pitch,
                        bias_at + 8 * channel,
                        parameters_at,
                        low + channel_bytes * channel,
                        high + channel,
                        both + channel,
                        outputs - channel,
                        seen + thread * seen_bytes,
                    )
                done_m, done_unit = m, unit
                unit += 1
                if unit == block_end:
                    unit, m = ahead, m + down
                    if m >= end:
                        m = first
                        if block_end < end_unit:
                            ahead, block_end = block_end, min(end_unit, block_end + unit_block)
                        unit = ahead
            task = _take(turn_at)
        _release_tiles(backend)


@dataclass(frozen=True)
class Result:
    """What a fused convolution saw: codes outside their range, least and greatest sum."""

    outside: int
    low: int
    high: int


def convolve(
    source: Map,
    kernel: Kernel,
    target: Map | tuple[Layout, np.ndarray],
    ending: Ending,
    channel: int = 0,
) -> Result:
    """Runs a prepared convolution from a map into channels of another, or into exact int64 sums
    at the pixels of a layout."""
    if isinstance(target, Map):
        layout, planes = target.layout, target.planes
    else:
        layout, planes = target[0], target[1:]
    where = pixels(source.layout, layout, kernel.strides, kernel.pads)
    groups = kernel.panels.shape[1]
    per_group = kernel.outputs // groups
    passes = kernel.recipe.passes
    sources = np.array([source.planes[a].ctypes.data for a, _ in passes], np.int64)
    backend, threads = tiles.backend(), get_num_threads()
    down, across = tiles.BLOCKS[backend]
    units = math.ceil(per_group / (ROWS * across))
    unit_bytes = across * kernel.offsets.shape[1] * TILE
    per_task, units_per_task = _tasks(
        len(where.starts), where.stride * len(source.planes), units, unit_bytes * len(passes)
    )
    scratch = aligned.zeros((threads, 2 * len(passes) * PASS), np.uint8)
    seen = aligned.zeros((threads, 3, ROWS), ending.kind)
    seen[:, LEAST], seen[:, MOST] = np.iinfo(ending.kind).max, np.iinfo(ending.kind).min
    size = planes[0].itemsize
    for g in range(groups):
        first = channel + g * per_group
        low, high, both = (*(each.ctypes.data + first * size for each in planes), 0, 0)[:3]
        _convolve(
            tiles.TOKENS[backend],
            rows.RECIPE_TOKENS[kernel.recipe],
            ending.token,
            sources,
            np.array([kernel.panels[w, g].ctypes.data for _, w in passes], np.int64),
            unit_bytes,
            where.starts,
            where.numbers,
            where.wanted,
            where.stride,
            kernel.offsets[g],
            kernel.parts,
            kernel.bias[g],
            ending.parameters,
            per_group,
            low,
            high,
            both,
            layout.channels * size,
            size,
            per_task,
            units_per_task,
            tiles.CONFIG,
            scratch.ctypes.data,
            seen.ctypes.data,
            seen[0].nbytes,
            np.zeros(1, np.int64),
            threads,
            down,
            ROWS * across,
        )
    return Result(
        int(seen[:, OUTSIDE].sum(dtype=np.int64)),
        int(seen[:, LEAST].min()),
        int(seen[:, MOST].max()),
    )


def _tasks(groups: int, stride: int, units: int, unit_bytes: int) -> tuple[int, int]:
    """Pixel groups and units of a task: the larger of map and panels is split, so that the
    smaller is what every task reads, and no task has more pixels than stay in its cache."""
    cacheful = max(2, TASK_BYTES // (ROWS * max(1, stride)))
    if units * unit_bytes > groups * ROWS * stride:
        across = min(units, TASKS)
        down = math.ceil(TASKS / across)
    else:
        down = min(math.ceil(groups / 2), TASKS)
        across = min(units, math.ceil(TASKS / down))
    per_task = min(cacheful, math.ceil(groups / down))
    return max(2, (per_task + 1) // 2 * 2), math.ceil(units / across)
