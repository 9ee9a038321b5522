"""float32 convolution from map to map, channels last: direct, with the sums in vector registers.

The layout is that of refq.kernels.maps, with floats for bytes. A microkernel takes a few pixels by
a few vectors of channels through all of K, so every output is one fused chain of multiply-adds in
the order kernel row, kernel column, channel, whatever the number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from refq.kernels import aligned
from refq.kernels.maps import Layout
from refq.kernels.tiles import I64, _Writer
from refq.kernels.walk import pixels
from refq.layers import Pads, Pair

LANES = 16
# pixels and vectors of a block: what the vector registers hold, and pixels of a group
WIDE = bool(llvm.get_host_cpu_features().get("avx512f"))
PIXELS, VECTORS = (12, 2) if WIDE else (4, 1)
GROUP = 12
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
def _multiply(typing_context, a, stride, offsets, lengths, runs, b, c):
    """PIXELS pixels by CHANNELS channels at c (one pixel after the other): a, b, c, offsets and
    lengths are addresses, stride is bytes from pixel to pixel of A."""

    def generate(context, builder, signature, arguments):
        a, stride, offsets, lengths, runs, b, c = arguments
        w = _Writer(builder)
        kind = ir.VectorType(ir.FloatType(), LANES)
        lines = [builder.add(a, builder.mul(stride, ir.Constant(I64, r))) for r in range(PIXELS)]

        def run(t, carried):
            at = builder.shl(t, ir.Constant(I64, 3))
            offset = w.load(builder.add(offsets, at), I64)
            length = w.load(builder.add(lengths, at), I64)
            starts = [builder.add(line, offset) for line in lines]

            def step(k, inner):
                panel, sums = inner[0], inner[1:]
                weights = [w.load(w.plus(panel, 64 * v), kind) for v in range(VECTORS)]
                place = builder.shl(k, ir.Constant(I64, 2))
                out = []
                for r in range(PIXELS):
                    x = w.load(builder.add(starts[r], place), ir.FloatType())
                    spread = w.splat(x, LANES)
                    for v in range(VECTORS):
                        product = builder.fmul(spread, weights[v], flags=FUSE)
                        out.append(builder.fadd(sums[r * VECTORS + v], product, flags=FUSE))
                return [w.plus(panel, 4 * CHANNELS), *out]

            return w.loop(length, carried, step)

        zero = ir.Constant(kind, [0.0] * LANES)
        sums = w.loop(runs, [b, *[zero] * (PIXELS * VECTORS)], run)[1:]
        for index, total in enumerate(sums):
            w.store(total, w.plus(c, 64 * index))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), generate


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
        block = np.empty((PIXELS, CHANNELS), np.float32)
        # addresses are taken once: taking one counts a reference
        block_at, values_at = block.ctypes.data, values.ctypes.data
        offsets_at, lengths_at = offsets.ctypes.data, lengths.ctypes.data
        panels_at = panels.ctypes.data
        runs, depth = lengths.size, panels.shape[1]
        for unit in range(panels.shape[0]):
            first = unit * CHANNELS
            count = min(CHANNELS, outputs - first)
            start = bias[first : first + count]
            panel = panels_at + 4 * unit * depth * CHANNELS
            for m in range(task * per_task, min(starts.size, (task + 1) * per_task)):
                for part in range(0, GROUP, PIXELS):
                    a = values_at + 4 * starts[m] + part * stride
                    _multiply(a, stride, offsets_at, lengths_at, runs, panel, block_at)
                    for r in range(PIXELS):
                        number = numbers[m, part + r]
                        if number < 0:
                            continue
                        to = np.int64(number) * pitch + channel + first
                        line, sums = out[to : to + count], block[r]
                        for k in range(count):
                            value = sums[k] + start[k]
                            line[k] = np.float32(0) if relu and not value > 0 else value


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
        for column in range(width):
            for c in range(count):
                out[n, c, y, column] = values[at + c]
            at += channels


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
