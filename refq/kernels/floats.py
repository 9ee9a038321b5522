"""float32 convolution from map to map, channels last: direct, with the sums in vector registers.

A microkernel takes a few pixels by a few vectors of channels through K, or a piece of it after the
other, so every output is one fused chain of multiply-adds in the order kernel row, kernel column,
channel, whatever the number of threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import get_num_threads, types
from numba.extending import intrinsic

from refq.kernels import aligned
from refq.kernels.compiling import features, njit, prange
from refq.kernels.float_maps import FloatMap
from refq.kernels.maps import Layout
from refq.kernels.turns import _take
from refq.kernels.walk import pixels
from refq.kernels.writer import CHOICES, CHOSEN, I32, I64, Writer, fields
from refq.networks.layers import Layer

LANES = 16
WIDE = "avx512f" in features()
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
UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class FloatKernel:
    """Weights of a convolution in panels (groups, units, K, channels of a unit), with the runs of
    K that lie together in the map: byte offsets (groups, runs) and lengths (runs,); biases (groups,
    channels of all units)."""

    panels: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    bias: np.ndarray
    outputs: int
    layer: Layer


class Block(NamedTuple):
    """What one call of the microkernel computes: addresses and counts.

    values, starts, numbers: of the map, of int64 and of int32: float offset of each pixel's window
    and its place in the output, `pitch` bytes apart from `out`; first, last: the block takes pixels
    from the first on, and for those beyond the last that one again; offsets, lengths: as in
    FloatKernel, from a run on; runs: how many; panel: their weights; sums: what the runs before
    left there (if resumed) and these leave, unless ended: then bias and perhaps a ReLU or clip
    follow, and `channels` are stored. bounds: of two float32, what is left is between them; 0 where
    there are none.
    """

    values: int
    starts: int
    numbers: int
    first: int
    last: int
    offsets: int
    lengths: int
    runs: int
    panel: int
    sums: int
    resumed: int
    ended: int
    bias: int
    bounds: int
    out: int
    pitch: int
    channels: int


class _Body:
    """Writes the code of a block: so many pixels by so many vectors of channels."""

    def __init__(self, w: Writer, vectors: int, block: Block) -> None:
        self.w, self.vectors, self.block = w, vectors, block
        self.kind = ir.VectorType(ir.FloatType(), LANES)
        self.order = [(r, v) for r in range(PIXELS[vectors]) for v in range(vectors)]
        self.numbers, self.lines = [], []
        for r in range(PIXELS[vectors]):
            n = w.plus(block.first, r)
            n = w.b.select(w.b.icmp_signed("<", n, block.last), n, block.last)
            start = w.load(w.element(block.starts, n, 8), I64)
            self.numbers.append(w.element(block.numbers, n, 4))
            self.lines.append(w.element(block.values, start, 4))

    def write(self) -> None:
        w, b, block = self.w, self.w.b, self.block
        zero, none = ir.Constant(self.kind, [0.0] * LANES), ir.Constant(I64, 0)

        def left() -> list[Any]:
            return [w.load(w.plus(block.sums, 64 * n), self.kind) for n in range(len(self.order))]

        zeros = [zero] * len(self.order)
        begun = w.when(b.icmp_signed("!=", block.resumed, none), zeros, left)
        sums = w.loop(block.runs, [block.panel, *begun], self._run)[1:]
        with b.if_else(b.icmp_signed("==", block.ended, none)) as (more, end):
            with more:
                for n, value in enumerate(sums):
                    w.store(value, w.plus(block.sums, 64 * n))
            with end:
                self._store(sums)

    def _run(self, t: Any, carried: list[Any]) -> list[Any]:
        """One run of K; carried: address of the weights, sums."""
        w, b = self.w, self.w.b
        offset = w.load(w.element(self.block.offsets, t, 8), I64)
        length = w.load(w.element(self.block.lengths, t, 8), I64)
        inner = [carried[0], offset, *carried[1:]]
        whole = b.lshr(length, ir.Constant(I64, UNROLL.bit_length() - 1))
        inner = self._some(UNROLL, whole, inner)
        inner = self._some(1, b.and_(length, ir.Constant(I64, UNROLL - 1)), inner)
        return [inner[0], *inner[2:]]

    def _some(self, count: int, times: Any, inner: list[Any]) -> list[Any]:
        """So many times so many steps; inner: address of the weights, bytes into the run, sums."""

        def repeat() -> list[Any]:
            return self.w.loop(times, inner, lambda t, carried: self._steps(count, carried))

        wanted = self.w.b.icmp_signed(">", times, ir.Constant(I64, 0))
        return self.w.when(wanted, inner, repeat)

    def _steps(self, count: int, inner: list[Any]) -> list[Any]:
        w, b, vectors = self.w, self.w.b, self.vectors
        panel, place, sums = inner[0], inner[1], inner[2:]
        for k in range(count):
            weights = [
                w.load(w.plus(panel, 64 * (k * vectors + v)), self.kind) for v in range(vectors)
            ]
            for r, line in enumerate(self.lines):
                value = w.load(w.plus(b.add(line, place), 4 * k), ir.FloatType())
                spread = w.splat(value, LANES)
                for v in range(vectors):
                    product = b.fmul(spread, weights[v], flags=FUSE)
                    n = r * vectors + v
                    sums[n] = b.fadd(sums[n], product, flags=FUSE)
        return [w.plus(panel, 64 * vectors * count), w.plus(place, 4 * count), *sums]

    def _store(self, sums: list[Any]) -> None:
        w, b, block, vectors = self.w, self.w.b, self.block, self.vectors
        start = [w.load(w.plus(block.bias, 64 * v), self.kind) for v in range(vectors)]
        real = [w.below(block.channels, LANES, v * LANES) for v in range(vectors)]
        low, high = (
            w.splat(w.load(w.plus(block.bounds, at), ir.FloatType()), LANES) for at in (0, 4)
        )
        # what a ReLU raises to zero: everything that is not above it
        linear = b.fcmp_ordered("==", low, ir.Constant(self.kind, [-math.inf] * LANES))
        stores = []
        for n, (r, v) in enumerate(self.order):
            if v == 0:
                number = w.load(self.numbers[r], I32)
                to = b.add(block.out, b.mul(b.sext(number, I64), block.pitch))
            value = b.fadd(sums[n], start[v])
            kept = b.or_(b.fcmp_ordered(">", value, low), linear)
            value = b.select(kept, value, low)
            value = b.select(b.fcmp_ordered(">", value, high), high, value)
            stores.append((value, w.plus(to, 64 * v), real[v]))
        whole = b.icmp_signed(">=", block.channels, ir.Constant(I64, LANES * vectors))
        w.store_lanes(whole, stores)


@intrinsic
def _block(typing_context, form, block):
    """Some pixels by some vectors of channels, as the form tells, through runs of K."""

    def generate(context, builder, signature, arguments):
        values = fields(context, builder, block, arguments[1])
        _Body(Writer(builder), CHOSEN[form] + 1, values).write()
        return context.get_dummy_value()

    return types.void(form, block), generate


def prepare(weights: np.ndarray, bias: np.ndarray, layout: Layout, layer: Layer) -> FloatKernel:
    """Panels for float32 weights (O, C/group, kh, kw) and bias (O,) on maps of a layout."""
    (outputs, inputs, kh, kw), group = weights.shape, layer.group
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
    down, right = layer.dilations
    if group == right == 1:
        runs = [(i * down * layout.pitch * inputs, kw * inputs) for i in range(kh)]
    else:
        runs = [
            ((i * down * layout.pitch + j * right) * layout.channels, inputs)
            for i in range(kh)
            for j in range(kw)
        ]
    starts = np.array([start for start, _ in runs], np.int64)
    table = 4 * (starts[None] + inputs * np.arange(group, dtype=np.int64)[:, None])
    biases = np.zeros((group, units * channels), np.float32)
    biases[:, :per_group] = bias.reshape(group, per_group)
    lengths = np.array([length for _, length in runs], np.int64)
    return FloatKernel(panels, table, lengths, biases, outputs, layer)


class Operands(NamedTuple):
    """What one group of channels multiplies: a map's values, and a FloatKernel's arrays of the
    group; outputs: channels."""

    values: np.ndarray
    panels: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    bias: np.ndarray
    outputs: int
    bounds: np.ndarray


class Tasks(NamedTuple):
    """How the work is divided. size: pixels of a block; blocks: of a task; runs: of K at a time;
    turn: int64 (1,), the next task; sums: float32 (threads, ...), of each thread's blocks between
    pieces."""

    size: int
    blocks: int
    runs: int
    turn: np.ndarray
    sums: np.ndarray


@njit(parallel=True)
def _convolve(form, operands, where, target, tasks):
    """One group of channels. where: walk.Pixels, one by one; target: a FloatView."""
    pixels, runs, size = where.starts.size, operands.lengths.size, tasks.size
    blocks = (pixels + size - 1) // size
    total = (blocks + tasks.blocks - 1) // tasks.blocks
    for thread in prange(tasks.sums.shape[0]):
        # addresses are taken once: taking one counts a reference
        values, bias = operands.values.ctypes.data, operands.bias.ctypes.data
        starts, numbers = where.starts.ctypes.data, where.numbers.ctypes.data
        offsets, lengths = operands.offsets.ctypes.data, operands.lengths.ctypes.data
        panels, out = operands.panels.ctypes.data, target.values.ctypes.data + 4 * target.channel
        sums, turn = tasks.sums[thread].ctypes.data, tasks.turn.ctypes.data
        bounds = operands.bounds.ctypes.data
        depth, channels = operands.panels.shape[1:]
        task = _take(turn)
        while task < total:
            begin, end = task * tasks.blocks, min(blocks, (task + 1) * tasks.blocks)
            for unit in range(operands.panels.shape[0]):
                first = unit * channels
                panel = panels + 4 * unit * depth * channels
                for run in range(0, runs, tasks.runs):
                    following = min(runs, run + tasks.runs)
                    for number in range(begin, end):
                        block = Block(
                            values=values,
                            starts=starts,
                            numbers=numbers,
                            first=number * size,
                            last=pixels - 1,
                            offsets=offsets + 8 * run,
                            lengths=lengths + 8 * run,
                            runs=following - run,
                            panel=panel,
                            sums=sums + 4 * (number - begin) * size * channels,
                            resumed=run,
                            ended=following == runs,
                            bias=bias + 4 * first,
                            bounds=bounds,
                            out=out + 4 * first,
                            pitch=4 * target.channels,
                            channels=operands.outputs - first,
                        )
                        _block(form, block)
                    for done in range(run, following):
                        panel += 4 * operands.lengths[done] * channels
            task = _take(turn)


def convolve(
    source: FloatMap,
    kernel: FloatKernel,
    target: FloatMap,
    channel: int,
    bounds: tuple[float, float] = UNBOUNDED,
) -> None:
    """Convolution and bias from a map into channels of another; between bounds, as a ReLU (0 and
    infinity) or a clip leaves them."""
    layer = kernel.layer
    where = pixels(source.layout, target.layout, layer.strides, layer.pads, 1)
    groups, _, _, channels = kernel.panels.shape
    per_group = kernel.outputs // groups
    vectors = channels // LANES
    size = PIXELS[vectors]
    blocks = max(1, TASK_FLOATS // (size * where.stride))
    blocks = max(1, min(blocks, math.ceil(where.starts.size / size / TASKS)))
    runs = max(1, PIECE_FLOATS // (int(kernel.lengths.max()) * channels))
    sums = aligned.zeros((get_num_threads(), blocks * size * channels), np.float32)
    for g in range(groups):
        arrays = kernel.panels[g], kernel.offsets[g], kernel.lengths, kernel.bias[g]
        _convolve(
            FORMS[vectors],
            Operands(source.values, *arrays, per_group, np.array(bounds, np.float32)),
            where,
            target.view(channel + g * per_group),
            Tasks(size, blocks, runs, np.zeros(1, np.int64), sums),
        )
