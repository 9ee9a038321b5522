"""Convolution from map to map: exact byte-plane products, then bias, ReLU, rounding, saturation and
encoding in the store (docs/performance.md).

Operands wider than a byte are split into planes (refq.kernels.planes), whose products are exact in
int32; they are combined in 32 bits where a bound on the sums allows it, in 64 bits elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import get_num_threads

from refq.kernels import aligned, backends, channelwise
from refq.kernels.channelwise import Depthwise
from refq.kernels.compiling import njit, prange
from refq.kernels.endings import EXACT, Ending, Store, store_of, sum_bits
from refq.kernels.maps import NONE, Layout, Map, View
from refq.kernels.panels import Kernel
from refq.kernels.rows import LEAST, MOST, OUTSIDE, PASS, Finish, _work, choice_of
from refq.kernels.tiles import ROWS, TILE, Block, _configure_tiles, _release_tiles
from refq.kernels.turns import _take
from refq.kernels.walk import Pixels, pixels

# bytes of activations that a task works on, panel after panel of weights: well inside L2
TASK_BYTES = 1 << 18
# bytes of panels that stay in L2 while a task's pixels pass
PANEL_BYTES = 1 << 19
# tasks of a layer, so that threads end at about the same time
TASKS = 8


class Operands(NamedTuple):
    """What one group of channels multiplies.

    sources, panels: int64 (passes,), addresses of the planes of each pass; unit_bytes: of a
    block's panels; outputs: channels; offsets, parts: as in Kernel, of this group.
    """

    sources: np.ndarray
    panels: np.ndarray
    unit_bytes: int
    outputs: int
    offsets: np.ndarray
    parts: np.ndarray


class Stored(NamedTuple):
    """Store's arrays, of one group of channels."""

    parameters: np.ndarray
    channels: np.ndarray
    table: np.ndarray


class Tasks(NamedTuple):
    """How the work is divided.

    pixels, units: of a task, a unit being a block's channels here; down, wide: groups of pixels and
    channels of a block; turn: int64 (1,), the next task; scratch: uint8 (threads, ...), each
    thread's tiles; seen: (threads, 3, 16) in the sums' type, what rows._work saw.
    """

    pixels: int
    units: int
    down: int
    wide: int
    turn: np.ndarray
    scratch: np.ndarray
    seen: np.ndarray


@njit(parallel=True)
def _convolve(choice, operands, where, target, stored, tasks):
    """One group of channels. choice: rows.choice_of; where: walk.Pixels; target: maps.View, or with
    int64 sums for its low plane."""
    outputs, unit_bytes, wide, down = (
        operands.outputs,
        operands.unit_bytes,
        tasks.wide,
        tasks.down,
    )
    passes, steps, count = operands.sources.size, operands.offsets.size, where.starts.size
    units = (outputs + wide - 1) // wide
    across = (units + tasks.units - 1) // tasks.units
    total = (count + tasks.pixels - 1) // tasks.pixels * across
    unit_block = max(1, PANEL_BYTES // (passes * unit_bytes))
    for thread in prange(tasks.seen.shape[0]):
        # addresses are taken once: taking one counts a reference, which costs more than a row
        sources, panels, starts, wanted = (
            operands.sources,
            operands.panels,
            where.starts,
            where.wanted,
        )
        offsets, parts = operands.offsets.ctypes.data, operands.parts.ctypes.data
        numbers, turn = where.numbers.ctypes.data, tasks.turn.ctypes.data
        biases, row = stored.channels.ctypes.data, stored.channels.strides[0]
        parameters, table = stored.parameters.ctypes.data, stored.table.ctypes.data
        size = target.low.itemsize
        low = target.low.ctypes.data + target.channel * size
        high = target.high.ctypes.data + target.channel
        both = target.both.ctypes.data + target.channel
        tiles = tasks.scratch[thread].ctypes.data
        seen = tasks.seen[thread].ctypes.data
        _configure_tiles(choice[0])
        task = _take(turn)
        while task < total:
            first = task // across * tasks.pixels
            end = min(count, first + tasks.pixels)
            first_unit = task % across * tasks.units
            end_unit = min(units, first_unit + tasks.units)
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
                rows = wanted[m] if real else 0
                more_rows = wanted[m + 1] if real and m + 1 < end else 0
                pixels_done = min(down, end - done_m) * ROWS if job else 0
                channel = done_unit * wide
                for p in range(passes):
                    first_pixel = pixels_done * p // passes
                    last_pixel = pixels_done * (p + 1) // passes
                    block = Block(
                        first=sources[p] + starts[m],
                        second=sources[p] + starts[min(m + 1, end - 1)],
                        stride=where.stride,
                        first_rows=rows,
                        second_rows=more_rows,
                        offsets=offsets,
                        parts=parts,
                        steps=steps_now,
                        panel=panels[p] + unit * unit_bytes,
                        apart=steps * TILE,
                        channels=outputs - unit * wide,
                        sums=tiles + now + p * PASS,
                    )
                    finish = Finish(
                        first=first_pixel,
                        last=last_pixel,
                        apiece=(last_pixel - first_pixel + steps_now - 1) // steps_now,
                        sums=tiles + before,
                        numbers=numbers + 4 * ROWS * done_m,
                        pitch=target.channels * size,
                        biases=biases + 8 * channel,
                        row=row,
                        parameters=parameters,
                        table=table,
                        low=low + channel * size,
                        high=high + channel,
                        both=both + channel,
                        channels=outputs - channel,
                        seen=seen,
                    )
                    _work(choice, block, finish)
                done_m, done_unit = m, unit
                unit += 1
                if unit == block_end:
                    unit, m = ahead, m + down
                    if m >= end:
                        m = first
                        if block_end < end_unit:
                            ahead, block_end = block_end, min(end_unit, block_end + unit_block)
                        unit = ahead
            task = _take(turn)
        _release_tiles(choice[0])


@dataclass(frozen=True)
class Result:
    """What a fused convolution saw: codes outside their range, least and greatest sum."""

    outside: int
    low: int
    high: int


def convolve(
    source: Map,
    kernel: Kernel | Depthwise,
    target: Map,
    ending: Ending,
    channel: int = 0,
    bits: int | None = None,
) -> Result:
    """Runs a prepared convolution from a map into channels of another. bits: of the combined sums,
    32 or 64; by default as many as their bound asks for."""
    key = ending, len(target.planes), target.offset, bits
    if key not in kernel.stores:
        width = bits or sum_bits(ending, kernel)
        kernel.stores[key] = store_of(ending, kernel, len(target.planes), target.offset, width)
    return _run(source, kernel, kernel.stores[key], target.layout, target.view(channel))


def exact_sums(source: Map, kernel: Kernel | Depthwise, layout: Layout) -> np.ndarray:
    """Sums with their bias, int64 (N, C, H, W) for the layout's images, rows and columns."""
    out = np.zeros(layout.size, np.int64)
    store = store_of(EXACT, kernel, 0, 0, 64)
    _run(source, kernel, store, layout, View(out, NONE, NONE, 0, 0, 0, *layout.place(0)))
    grid = (layout.images, layout.rows, layout.pitch, layout.channels)
    whole = out[layout.first * layout.channels :][: math.prod(grid)].reshape(grid)
    real = whole[:, : layout.height, : layout.width]
    return np.ascontiguousarray(real.transpose(0, 3, 1, 2))


def _run(
    source: Map, kernel: Kernel | Depthwise, store: Store, layout: Layout, target: View
) -> Result:
    if isinstance(kernel, Depthwise):
        seen = channelwise.run(source, kernel, store, target)
    else:
        seen = _multiplied(source, kernel, store, layout, target)
    return Result(
        int(seen[:, OUTSIDE].sum(dtype=np.int64)),
        int(seen[:, LEAST].min()),
        int(seen[:, MOST].max()),
    )


def _multiplied(
    source: Map, kernel: Kernel, store: Store, layout: Layout, target: View
) -> np.ndarray:
    """As of channelwise.run."""
    where = pixels(source.layout, layout, kernel.layer.strides, kernel.layer.pads)
    groups = kernel.layer.group
    per_group = len(kernel.scale) // groups
    passes = kernel.recipe.passes
    sources = np.array([source.planes[a].ctypes.data for a, _ in passes], np.int64)
    backend, threads = backends.chosen(), get_num_threads()
    down, across = backends.BLOCKS[backend]
    units = math.ceil(per_group / (ROWS * across))
    unit_bytes = across * kernel.offsets.shape[1] * TILE
    divided = _divided(where, len(source.planes), units, unit_bytes * len(passes))
    scratch = aligned.zeros((threads, 2 * len(passes) * PASS), np.uint8)
    seen = aligned.zeros((threads, 3, ROWS), store.kind)
    seen[:, LEAST], seen[:, MOST] = np.iinfo(store.kind).max, np.iinfo(store.kind).min
    for g in range(groups):
        panels = np.array([kernel.panels[w, g].ctypes.data for _, w in passes], np.int64)
        _convolve(
            choice_of(backend, store, kernel.recipe),
            Operands(sources, panels, unit_bytes, per_group, kernel.offsets[g], kernel.parts),
            where,
            target._replace(channel=target.channel + g * per_group),
            Stored(store.parameters, store.channels[g], store.table),
            Tasks(*divided, down, ROWS * across, np.zeros(1, np.int64), scratch, seen),
        )
    return seen


def _divided(where: Pixels, planes: int, units: int, unit_bytes: int) -> tuple[int, int]:
    """Pixel groups and units of a task: the larger of map and panels is split, so that the
    smaller is what every task reads, and no task has more pixels than stay in its cache."""
    groups, stride = len(where.starts), where.stride * planes
    cacheful = max(2, TASK_BYTES // (ROWS * max(1, stride)))
    if units * unit_bytes > groups * ROWS * stride:
        across = min(units, TASKS)
        down = math.ceil(TASKS / across)
    else:
        down = min(math.ceil(groups / 2), TASKS)
        across = min(units, math.ceil(TASKS / down))
    per_task = min(cacheful, math.ceil(groups / down))
    return max(2, (per_task + 1) // 2 * 2), math.ceil(units / across)
