"""float32 convolution from map to map, channels last: direct, with the sums in vector registers.

The layout is that of refq.kernels.maps, with floats for bytes. A microkernel takes a few pixels by
a few vectors of channels through all of K, so every output is one fused chain of multiply-adds in
the order kernel row, kernel column, channel, whatever the number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from refq.kernels import aligned
from refq.kernels.maps import Layout
from refq.kernels.tiles import I32, I64, _Writer
from refq.kernels.walk import pixels
from refq.layers import Pads, Pair

LANES = 16
# pixels and vectors of a block: what the vector registers hold, and pixels of a group
WIDE = bool(llvm.get_host_cpu_features().get("avx512f"))
PIXELS, VECTORS = (14, 2) if WIDE else (4, 1)
GROUP = 14 if WIDE else 12
# steps of K in a pass of the loop
UNROLL = 4
CHANNELS = LANES * VECTORS
# floats of activations that a task works on, panel after panel of weights: well inside L2
TASK_FLOATS = 1 << 16
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
    typing_context, a, stride, offsets, lengths, runs, b, numbers, bias, relu, out, pitch, count
):
    """PIXELS pixels by CHANNELS channels, with bias and perhaps ReLU, to where they belong.

    a, b, offsets, lengths: addresses as in FloatKernel; stride: bytes from pixel to pixel of A;
    numbers: address of int32, which pixel of the output each is (-1: none), `pitch` bytes apart
    from `out`; count: how many of the channels are real.
    """

    def generate(context, builder, signature, arguments):
        a, stride, offsets, lengths, runs, b, numbers, bias, relu, out, pitch, count = arguments
        w = _Writer(builder)
        kind = ir.VectorType(ir.FloatType(), LANES)
        # a base for every four pixels
        multiples = w.multiples(stride)
        bases = [a]
        for _ in range((PIXELS - 1) // 4):
            bases.append(builder.add(bases[-1], multiples[3]))

        def steps(count: int, inner: list[Any]) -> list[Any]:
            panel, lines, sums = inner[0], inner[1 : 1 + len(bases)], inner[1 + len(bases) :]
            for k in range(count):
                weights = [
                    w.load(w.plus(panel, 64 * (k * VECTORS + v)), kind) for v in range(VECTORS)
                ]
                for r in range(PIXELS):
                    line = lines[r // 4]
                    if r % 4:
                        line = builder.add(line, multiples[r % 4 - 1])
                    spread = w.splat(w.load(w.plus(line, 4 * k), ir.FloatType()), LANES)
                    for v in range(VECTORS):
                        product = builder.fmul(spread, weights[v], flags=FUSE)
                        n = r * VECTORS + v
                        sums[n] = builder.fadd(sums[n], product, flags=FUSE)
            lines = [w.plus(line, 4 * count) for line in lines]
            return [w.plus(panel, 4 * CHANNELS * count), *lines, *sums]

        def some(count: int, times: Any, inner: list[Any]) -> list[Any]:
            def repeat() -> list[Any]:
                return w.loop(times, inner, lambda t, carried: steps(count, carried))

            return w.when(builder.icmp_signed(">", times, ir.Constant(I64, 0)), inner, repeat)

        def run(t: Any, carried: list[Any]) -> list[Any]:
            at = builder.shl(t, ir.Constant(I64, 3))
            offset = w.load(builder.add(offsets, at), I64)
            length = w.load(builder.add(lengths, at), I64)
            lines = [builder.add(base, offset) for base in bases]
            inner = [carried[0], *lines, *carried[1:]]
            shift = ir.Constant(I64, UNROLL.bit_length() - 1)
            inner = some(UNROLL, builder.lshr(length, shift), inner)
            inner = some(1, builder.and_(length, ir.Constant(I64, UNROLL - 1)), inner)
            return [inner[0], *inner[1 + len(bases) :]]

        zero = ir.Constant(kind, [0.0] * LANES)
        sums = w.loop(runs, [b, *[zero] * (PIXELS * VECTORS)], run)[1:]
        start = [w.load(w.plus(bias, 64 * v), kind) for v in range(VECTORS)]
        lanes = ir.VectorType(I64, LANES)
        real = [
            builder.icmp_signed(
                "<",
                ir.Constant(lanes, [v * LANES + n for n in range(LANES)]),
                w.splat(count, LANES),
            )
            for v in range(VECTORS)
        ]
        whole = builder.icmp_signed(">=", count, ir.Constant(I64, CHANNELS))
        # what ReLU raises to zero: everything that is not above it, or nothing
        linear = w.splat(builder.icmp_signed("==", relu, ir.Constant(I64, 0)), LANES)
        for r in range(PIXELS):
            number = w.load(w.plus(numbers, 4 * r), I32)
            with builder.if_then(builder.icmp_signed(">=", number, ir.Constant(I32, 0))):
                to = builder.add(out, builder.mul(builder.sext(number, I64), pitch))
                for v in range(VECTORS):
                    value = builder.fadd(sums[r * VECTORS + v], start[v])
                    kept = builder.or_(builder.fcmp_ordered(">", value, zero), linear)
                    value = builder.select(kept, value, zero)
                    with builder.if_else(whole) as (all_channels, some_channels):
                        with all_channels:
                            w.store(value, w.plus(to, 64 * v))
                        with some_channels:
                            w.store_some(value, w.plus(to, 64 * v), real[v])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 12), generate


def prepare(
    weights: np.ndarray, bias: np.ndarray, layout: Layout, strides: Pair, pads: Pads, group: int
) -> FloatKernel:
    """Panels for float32 weights (O, C/group, kh, kw) and bias (O,) on maps of a layout."""
    outputs, inputs, kh, kw = weights.shape
    per_group = outputs // group
    units = math.ceil(per_group / CHANNELS)
    last = weights.transpose(0, 2, 3, 1).reshape(group, per_group, -1)
    panels = np.zeros((group, units * CHANNELS, last.shape[2]), np.float32)
    panels[:, :per_group] = last
    split = panels.reshape(group, units, CHANNELS, -1).transpose(0, 1, 3, 2)
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
    biases = np.zeros((group, units * CHANNELS), np.float32)
    biases[:, :per_group] = bias.reshape(group, per_group)
    return FloatKernel(
        panels, table, np.array([n for _, n in runs], np.int64), biases,
        outputs, strides, pads,
    )  # fmt: skip


@njit(cache=True, nogil=True, parallel=True)
def _convolve(
    values, starts, numbers, stride, offsets, lengths, panels, bias, relu, outputs, out, pitch,
    channel, per_task,
):  # fmt: skip
    tasks = (starts.size + per_task - 1) // per_task
    for task in prange(tasks):
        # addresses are taken once: taking one counts a reference
        values_at, out_at, panels_at = values.ctypes.data, out.ctypes.data, panels.ctypes.data
        offsets_at, lengths_at = offsets.ctypes.data, lengths.ctypes.data
        numbers_at, bias_at = numbers.ctypes.data, bias.ctypes.data
        runs, depth = lengths.size, panels.shape[1]
        for unit in range(panels.shape[0]):
            first = unit * CHANNELS
            panel = panels_at + 4 * unit * depth * CHANNELS
            for m in range(task * per_task, min(starts.size, (task + 1) * per_task)):
                for part in range(0, GROUP, PIXELS):
                    _block(
                        values_at + 4 * starts[m] + part * stride, stride, offsets_at,
                        lengths_at, runs, panel, numbers_at + 4 * (GROUP * m + part),
                        bias_at + 4 * first, relu, out_at + 4 * (channel + first), 4 * pitch,
                        outputs - first,
                    )  # fmt: skip


def convolve(
    source: FloatMap, kernel: FloatKernel, target: FloatMap, channel: int, relu: bool
) -> None:
    """Convolution, bias and ReLU from a map into channels of another."""
    where = pixels(source.layout, target.layout, kernel.strides, kernel.pads, GROUP)
    groups = len(kernel.panels)
    per_group = kernel.outputs // groups
    per_task = max(1, TASK_FLOATS // (GROUP * where.stride))
    per_task = max(1, min(per_task, math.ceil(where.starts.size / 8)))
    for g in range(groups):
        _convolve(
            source.values, where.starts, where.numbers, 4 * where.stride, kernel.offsets[g],
            kernel.lengths, kernel.panels[g], kernel.bias[g], relu, per_group, target.values,
            target.layout.channels, channel + g * per_group, per_task,
        )  # fmt: skip


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
        np.asarray(x, np.float32), target.values, layout.pitch, layout.rows, layout.first,
        layout.channels, channel,
    )  # fmt: skip


def unpack(source: FloatMap, channels: slice | None = None) -> np.ndarray:
    """float32 (N,C,H,W) of a map, or of some of its channels."""
    layout = source.layout
    start, stop, _ = (channels or slice(None)).indices(layout.channels)
    out = np.empty((layout.images, stop - start, layout.height, layout.width), np.float32)
    _unpack(source.values, layout.pitch, layout.rows, layout.first, layout.channels, start, out)
    return out


@njit(cache=True, nogil=True, parallel=True)
def _max_pool(
    values, pitch, rows, first, channels, height, width, out, out_pitch, out_rows, out_first,
    out_channels, out_channel, images, out_height, out_width, kernel, strides, pads,
):  # fmt: skip
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
        source.values, a.pitch, a.rows, a.first, a.channels, a.height, a.width, target.values,
        b.pitch, b.rows, b.first, b.channels, channel, a.images, b.height, b.width, kernel,
        strides, pads,
    )  # fmt: skip
