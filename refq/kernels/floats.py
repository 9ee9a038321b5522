"""float32 convolution from map to map, channels last: direct, with the sums in vector registers.

The layout is that of refq.kernels.maps, with floats for bytes. A microkernel takes a few pixels by
a few vectors of channels through K, or a piece of it after the other, so every output is one fused
chain of multiply-adds in the order kernel row, kernel column, channel, whatever the number of
threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import get_num_threads, njit, prange, types
from numba.extending import intrinsic

from refq.kernels import aligned
from refq.kernels.maps import Layout
from refq.kernels.tiles import CHOICES, CHOSEN, I32, I64, _Writer
from refq.kernels.turns import _take
from refq.kernels.walk import pixels
from refq.networks.layers import Pads, Pair

LANES = 16
WIDE = bool(llvm.get_host_cpu_features().get("avx512f"))
# vectors of channels in a block -> its pixels: sums fill the vector registers, and the pixels'
# addresses fit in the others. Four vectors take the fewest loads a product.
PIXELS = {4: 6, 3: 8, 2: 10, 1: 10} if WIDE else {1: 4}
# vectors -> the scalar whose type tells them
FORMS = {vectors: CHOICES[vectors - 1] for vectors in PIXELS}
# steps of K in a pass of the loop
UNROLL = 4
# floats of activations that a task works on, panel after panel of weights: well inside L2
TASK_FLOATS = 1 << 16
# floats of a panel that stay in L2 while the pixels of a task pass
PIECE_FLOATS = 1 << 17
# tasks of a layer at least, so that threads end at about the same time
TASKS = 16
FUSE = ("contract",)


@dataclass(frozen=True)
class FloatMap:
    """float32 values of a feature map, channels last, padding zero: (layout.size,)."""

    layout: Layout
    values: np.ndarray


@dataclass(frozen=True)
class FloatKernel:
    """Weights of a convolution in panels (groups, units, K, channels of a unit), with the runs of
    K that lie together in the map: byte offsets (groups, runs) and lengths (runs,)."""

    panels: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    bias: np.ndarray
    outputs: int
    strides: Pair
    pads: Pads


@intrinsic
def _block(
    typing_context,
    form,
    values,
    starts,
    numbers,
    first,
    last,
    offsets,
    lengths,
    runs,
    b,
    sums,
    resumed,
    ended,
    bias,
    relu,
    out,
    pitch,
    count,
):
    """Some pixels by some vectors of channels, as the form tells, through runs of K.

    starts, numbers: addresses of int64 and int32, float offset of each pixel's window in values
    and its place in the output, `pitch` bytes apart from `out`; the block takes pixels from `first`
    on, and for those beyond `last` that one again. offsets, lengths, b: addresses as in
    FloatKernel; sums: address of what the runs before left there (if resumed) and of what these
    leave, unless ended: then bias and perhaps ReLU follow, and `count` channels are stored.
    """
    vectors = CHOSEN[form] + 1
    pixels = PIXELS[vectors]

    def generate(context, builder, signature, arguments):
        (
            values,
            starts,
            numbers,
            first,
            last,
            offsets,
            lengths,
            runs,
            b,
            at,
            resumed,
            ended,
            bias,
            relu,
            out,
            pitch,
            count,
        ) = arguments[1:]
        w = _Writer(builder)
        kind = ir.VectorType(ir.FloatType(), LANES)
        zero = ir.Constant(kind, [0.0] * LANES)
        order = [(r, v) for r in range(pixels) for v in range(vectors)]

        def constant(value: int) -> Any:
            return ir.Constant(I64, value)

        def scaled(index: Any, size: int) -> Any:
            return builder.mul(index, constant(size))

        chosen, lines = [], []
        for r in range(pixels):
            n = w.plus(first, r)
            n = builder.select(builder.icmp_signed("<", n, last), n, last)
            chosen.append(n)
            start = w.load(builder.add(starts, scaled(n, 8)), I64)
            lines.append(builder.add(values, scaled(start, 4)))

        def steps(count: int, inner: list[Any]) -> list[Any]:
            panel, place, sums = inner[0], inner[1], inner[2:]
            for k in range(count):
                weights = [
                    w.load(w.plus(panel, 64 * (k * vectors + v)), kind) for v in range(vectors)
                ]
                for r in range(pixels):
                    value = w.load(w.plus(builder.add(lines[r], place), 4 * k), ir.FloatType())
                    spread = w.splat(value, LANES)
                    for v in range(vectors):
                        product = builder.fmul(spread, weights[v], flags=FUSE)
                        n = r * vectors + v
                        sums[n] = builder.fadd(sums[n], product, flags=FUSE)
            return [w.plus(panel, 64 * vectors * count), w.plus(place, 4 * count), *sums]

        def some(count: int, times: Any, inner: list[Any]) -> list[Any]:
            def repeat() -> list[Any]:
                return w.loop(times, inner, lambda t, carried: steps(count, carried))

            return w.when(builder.icmp_signed(">", times, constant(0)), inner, repeat)

        def run(t: Any, carried: list[Any]) -> list[Any]:
            entry = scaled(t, 8)
            offset = w.load(builder.add(offsets, entry), I64)
            length = w.load(builder.add(lengths, entry), I64)
            inner = [carried[0], offset, *carried[1:]]
            inner = some(UNROLL, builder.lshr(length, constant(UNROLL.bit_length() - 1)), inner)
            inner = some(1, builder.and_(length, constant(UNROLL - 1)), inner)
            return [inner[0], *inner[2:]]

        def left() -> list[Any]:
            return [w.load(w.plus(at, 64 * n), kind) for n in range(len(order))]

        begun = w.when(builder.icmp_signed("!=", resumed, constant(0)), [zero] * len(order), left)
        sums = w.loop(runs, [b, *begun], run)[1:]
        with builder.if_else(builder.icmp_signed("==", ended, constant(0))) as (more, end):
            with more:
                for n, value in enumerate(sums):
                    w.store(value, w.plus(at, 64 * n))
            with end:
                start = [w.load(w.plus(bias, 64 * v), kind) for v in range(vectors)]
                lanes = ir.VectorType(I64, LANES)
                real = [
                    builder.icmp_signed(
                        "<",
                        ir.Constant(lanes, [v * LANES + n for n in range(LANES)]),
                        w.splat(count, LANES),
                    )
                    for v in range(vectors)
                ]
                # what ReLU raises to zero: everything that is not above it, or nothing
                linear = w.splat(builder.icmp_signed("==", relu, constant(0)), LANES)
                stores = []
                for n, (r, v) in enumerate(order):
                    if v == 0:
                        number = w.load(builder.add(numbers, scaled(chosen[r], 4)), I32)
                        to = builder.add(out, builder.mul(builder.sext(number, I64), pitch))
                    value = builder.fadd(sums[n], start[v])
                    kept = builder.or_(builder.fcmp_ordered(">", value, zero), linear)
                    stores.append((builder.select(kept, value, zero), w.plus(to, 64 * v), real[v]))
                whole = builder.icmp_signed(">=", count, constant(LANES * vectors))
                with builder.if_else(whole) as (all_channels, some_channels):
                    with all_channels:
                        for value, to, _ in stores:
                            w.store(value, to)
                    with some_channels:
                        for value, to, mask in stores:
                            w.store_some(value, to, mask)
        return context.get_dummy_value()

    return types.void(form, *[types.intp] * 17), generate


def prepare(
    weights: np.ndarray, bias: np.ndarray, layout: Layout, strides: Pair, pads: Pads, group: int
) -> FloatKernel:
    """Panels for float32 weights (O, C/group, kh, kw) and bias (O,) on maps of a layout."""
    outputs, inputs, kh, kw = weights.shape
    per_group = outputs // group
    # units of as few vectors as fill the same number of units
    vectors = math.ceil(per_group / LANES)
    units = math.ceil(vectors / max(PIXELS))
    channels = LANES * math.ceil(vectors / units)
    last = weights.transpose(0, 2, 3, 1).reshape(group, per_group, -1)
    panels = np.zeros((group, units * channels, last.shape[2]), np.float32)
    panels[:, :per_group] = last
    split = panels.reshape(group, units, channels, -1).transpose(0, 1, 3, 2)
    panels = aligned.zeros(split.shape, np.float32)
    panels[:] = split
    if group == 1:
        runs = [(i * layout.pitch * inputs, kw * inputs) for i in range(kh)]
    else:
        runs = [
            ((i * layout.pitch + j) * layout.channels, inputs) for i in range(kh) for j in range(kw)
        ]
    starts = np.array([start for start, _ in runs], np.int64)
    table = 4 * (starts[None] + inputs * np.arange(group, dtype=np.int64)[:, None])
    biases = np.zeros((group, units * channels), np.float32)
    biases[:, :per_group] = bias.reshape(group, per_group)
    return FloatKernel(
        panels, table, np.array([n for _, n in runs], np.int64), biases, outputs, strides, pads
    )


@njit(cache=True, nogil=True, parallel=True)
def _convolve(
    form,
    values,
    starts,
    numbers,
    offsets,
    lengths,
    panels,
    bias,
    relu,
    outputs,
    out,
    pitch,
    channel,
    size,
    per_task,
    piece,
    sums,
    turn,
):
    """size: pixels of a block; per_task: blocks of a task; piece: runs of K at a time; sums: of
    each thread's blocks between pieces; turn: the next task."""
    blocks, runs = (starts.size + size - 1) // size, lengths.size
    tasks = (blocks + per_task - 1) // per_task
    for thread in prange(sums.shape[0]):
        # addresses are taken once: taking one counts a reference
        values_at, starts_at, numbers_at = (
            values.ctypes.data,
            starts.ctypes.data,
            numbers.ctypes.data,
        )
        offsets_at, lengths_at = offsets.ctypes.data, lengths.ctypes.data
        panels_at, bias_at, out_at = panels.ctypes.data, bias.ctypes.data, out.ctypes.data
        sums_at, turn_at = sums[thread].ctypes.data, turn.ctypes.data
        depth, channels = panels.shape[1:]
        task = _take(turn_at)
        while task < tasks:
            begin, end = task * per_task, min(blocks, (task + 1) * per_task)
            for unit in range(panels.shape[0]):
                first = unit * channels
                panel = panels_at + 4 * unit * depth * channels
                for run in range(0, runs, piece):
                    following = min(runs, run + piece)
                    for block in range(begin, end):
                        _block(
                            form,
                            values_at,
                            starts_at,
                            numbers_at,
                            block * size,
                            starts.size - 1,
                            offsets_at + 8 * run,
                            lengths_at + 8 * run,
                            following - run,
                            panel,
                            sums_at + 4 * (block - begin) * size * channels,
                            run,
                            following == runs,
                            bias_at + 4 * first,
                            relu,
                            out_at + 4 * (channel + first),
                            4 * pitch,
                            outputs - first,
                        )
                    for done in range(run, following):
                        panel += 4 * lengths[done] * channels
            task = _take(turn_at)


def convolve(
    source: FloatMap, kernel: FloatKernel, target: FloatMap, channel: int, relu: bool
) -> None:
    """Convolution, bias and ReLU from a map into channels of another."""
    where = pixels(source.layout, target.layout, kernel.strides, kernel.pads, 1)
    groups, _, _, channels = kernel.panels.shape
    per_group = kernel.outputs // groups
    vectors = channels // LANES
    size = PIXELS[vectors]
    per_task = max(1, TASK_FLOATS // (size * where.stride))
    per_task = max(1, min(per_task, math.ceil(where.starts.size / size / TASKS)))
    piece = max(1, PIECE_FLOATS // (int(kernel.lengths.max()) * channels))
    sums = aligned.zeros((get_num_threads(), per_task * size * channels), np.float32)
    for g in range(groups):
        _convolve(
            FORMS[vectors],
            source.values,
            where.starts,
            where.numbers,
            kernel.offsets[g],
            kernel.lengths,
            kernel.panels[g],
            kernel.bias[g],
            relu,
            per_group,
            target.values,
            target.layout.channels,
            channel + g * per_group,
            size,
            per_task,
            piece,
            sums,
            np.zeros(1, np.int64),
        )


@njit(cache=True, nogil=True, parallel=True)
def _pack(x, values, pitch, rows, first, channels, first_channel):
    images, count, height, width = x.shape
    for task in prange(images * height):
        n, y = task // height, task % height
        at = (first + (n * rows + y) * pitch) * channels + first_channel
        for column in range(width):
            for c in range(count):
                values[at + c] = x[n, c, y, column]
            at += channels


@njit(cache=True, nogil=True, parallel=True)
def _unpack(values, pitch, rows, first, channels, first_channel, out):
    images, count, height, width = out.shape
    for task in prange(images * height):
        n, y = task // height, task % height
        at = (first + (n * rows + y) * pitch) * channels + first_channel
        for c in range(count):
            line = out[n, c, y]
            for column in range(width):
                line[column] = values[at + column * channels + c]


def pack(x: np.ndarray, target: FloatMap, channel: int = 0) -> None:
    """Writes float32 (N,C,H,W) into channels of a map, from `channel` on."""
    layout = target.layout
    _pack(
        np.asarray(x, np.float32),
        target.values,
        layout.pitch,
        layout.rows,
        layout.first,
        layout.channels,
        channel,
    )


def unpack(source: FloatMap, channels: slice | None = None) -> np.ndarray:
    """float32 (N,C,H,W) of a map, or of some of its channels."""
    layout = source.layout
    start, stop, _ = (channels or slice(None)).indices(layout.channels)
    out = np.empty((layout.images, stop - start, layout.height, layout.width), np.float32)
    _unpack(source.values, layout.pitch, layout.rows, layout.first, layout.channels, start, out)
    return out


@njit(cache=True, nogil=True, parallel=True)
def _max_pool(
    values,
    pitch,
    rows,
    first,
    channels,
    height,
    width,
    out,
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
        top = max(0, r * strides[0] - pads[0])
        bottom = min(height, r * strides[0] - pads[0] + kernel[0])
        for c in range(out_width):
            left = max(0, c * strides[1] - pads[1])
            right = min(width, c * strides[1] - pads[1] + kernel[1])
            at = (out_first + (n * out_rows + r) * out_pitch + c) * out_channels + out_channel
            best = out[at : at + channels]
            best[:] = -np.inf
            for y in range(top, bottom):
                for x in range(left, right):
                    pixel = (first + (n * rows + y) * pitch + x) * channels
                    seen = values[pixel : pixel + channels]
                    for k in range(channels):
                        best[k] = best[k] if best[k] > seen[k] else seen[k]


def max_pool(
    source: FloatMap, target: FloatMap, channel: int, kernel: Pair, strides: Pair, pads: Pads
) -> None:
    """Maximum over windows, from one map into channels of another."""
    a, b = source.layout, target.layout
    _max_pool(
        source.values,
        a.pitch,
        a.rows,
        a.first,
        a.channels,
        a.height,
        a.width,
        target.values,
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
