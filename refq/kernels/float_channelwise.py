"""Depthwise float32 convolution from map to map: every lane of a vector is a channel.

Every output is one chain of multiply-adds in the order kernel row, kernel column.
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
from refq.kernels.compiling import njit, prange
from refq.kernels.float_maps import FloatMap, FloatView
from refq.kernels.maps import Layout, _at
from refq.kernels.turns import _take
from refq.kernels.writer import CHOICES, CHOSEN, I64, Writer, fields
from refq.networks.layers import Layer

LANES = 16
# taps whose weights stay in vector registers
HELD = 9
FUSE = ("contract",)


@dataclass(frozen=True)
class FloatDepthwise:
    """Weights of one depthwise convolution: (vectors of channels, taps, 16), with the bytes from a
    window's first pixel to each tap, int64 (taps,), and biases (vectors, 16)."""

    weights: np.ndarray
    offsets: np.ndarray
    bias: np.ndarray
    outputs: int
    layer: Layer


def is_depthwise(weights: np.ndarray, layer: Layer) -> bool:
    """Whether each channel has one output."""
    return len(weights) == layer.group > 1


def prepare(weights: np.ndarray, bias: np.ndarray, layout: Layout, layer: Layer) -> FloatDepthwise:
    """A kernel for float32 weights (O, 1, kh, kw) and bias (O,) on maps of a layout."""
    outputs, taps = len(weights), math.prod(layer.kernel)
    vectors = math.ceil(outputs / LANES)
    table = aligned.zeros((vectors, taps, LANES), np.float32)
    wide = np.zeros((vectors * LANES, taps), np.float32)
    wide[:outputs] = weights.reshape(outputs, taps)
    table[:] = wide.reshape(vectors, LANES, taps).transpose(0, 2, 1)
    biases = aligned.zeros((vectors, LANES), np.float32)
    biases.reshape(-1)[:outputs] = bias
    rows, columns = np.indices(layer.kernel).reshape(2, -1)
    down, right = layer.dilations
    places = (rows * down * layout.pitch + columns * right).astype(np.int64)
    return FloatDepthwise(table, 4 * layout.channels * places, biases, outputs, layer)


class Line(NamedTuple):
    """Outputs of one row and 16 channels: addresses and counts. values: of the first window, `step`
    bytes before the next; offsets, weights, taps, bias: as in FloatDepthwise; bounds: as in
    floats.Block; outputs: how many, `pitch` bytes apart from `out`; channels: how many are real."""

    values: int
    step: int
    offsets: int
    weights: int
    taps: int
    bias: int
    bounds: int
    outputs: int
    out: int
    pitch: int
    channels: int


@intrinsic
def _line(typing_context, form, line):
    """A form of 1 is told that there are HELD taps."""
    held = CHOSEN[form]

    def generate(context, builder, signature, arguments):
        w, b, values = Writer(builder), builder, fields(context, builder, line, arguments[1])
        kind = ir.VectorType(ir.FloatType(), LANES)
        start = w.load(values.bias, kind)
        low, high = (
            w.splat(w.load(w.plus(values.bounds, at), ir.FloatType()), LANES) for at in (0, 4)
        )
        linear = b.fcmp_ordered("==", low, ir.Constant(kind, [-math.inf] * LANES))
        real = w.below(values.channels, LANES, 0)
        whole = b.icmp_signed(">=", values.channels, ir.Constant(I64, LANES))

        def tap(n: Any) -> tuple[Any, Any]:
            weight = w.load(b.add(values.weights, b.shl(n, ir.Constant(I64, 6))), kind)
            return w.load(b.add(values.offsets, b.shl(n, ir.Constant(I64, 3))), I64), weight

        def added(total: Any, window: Any, offset: Any, weight: Any) -> Any:
            product = b.fmul(w.load(b.add(window, offset), kind), weight, flags=FUSE)
            return b.fadd(total, product, flags=FUSE)

        taps = [tap(ir.Constant(I64, n)) for n in range(HELD if held else 0)]

        def output(n: Any, carried: list[Any]) -> list[Any]:
            window, total = b.add(values.values, b.mul(n, values.step)), start
            for each in taps:
                total = added(total, window, *each)
            if not held:

                def one(n: Any, sums: list[Any]) -> list[Any]:
                    return [added(sums[0], window, *tap(n))]

                (total,) = w.loop(values.taps, [total], one)
            kept = b.or_(b.fcmp_ordered(">", total, low), linear)
            total = b.select(kept, total, low)
            total = b.select(b.fcmp_ordered(">", total, high), high, total)
            w.store_lanes(whole, [(total, b.add(values.out, b.mul(n, values.pitch)), real)])
            return carried

        w.loop(values.outputs, [], output)
        return context.get_dummy_value()

    return types.void(form, line), generate


class Operands(NamedTuple):
    """What a depthwise convolution multiplies a map by: a FloatDepthwise's arrays, bounds, and its
    layer's strides and pads."""

    weights: np.ndarray
    offsets: np.ndarray
    bias: np.ndarray
    bounds: np.ndarray
    down: int
    across: int
    top: int
    left: int
    outputs: int


@njit(parallel=True)
def _convolve(form, source, operands, target, turn, threads):
    """turn: int64 (1,), the next row of the output."""
    for _thread in prange(threads):
        # addresses are taken once: taking one counts a reference
        weights, bias = operands.weights.ctypes.data, operands.bias.ctypes.data
        values, offsets = source.values.ctypes.data, operands.offsets.ctypes.data
        bounds, out, next_row = (
            operands.bounds.ctypes.data,
            target.values.ctypes.data,
            turn.ctypes.data,
        )
        vectors, taps = operands.weights.shape[:2]
        task = _take(next_row)
        while task < target.images * target.height:
            n, y = task // target.height, task % target.height
            first = n * source.rows + y * operands.down - operands.top
            start = (source.first + first * source.pitch - operands.left) * source.channels
            to = _at(target, n, y)
            for vector in range(vectors):
                channel = vector * LANES
                line = Line(
                    values=values + 4 * (start + channel),
                    step=4 * operands.across * source.channels,
                    offsets=offsets,
                    weights=weights + 4 * channel * taps,
                    taps=taps,
                    bias=bias + 4 * channel,
                    bounds=bounds,
                    outputs=target.width,
                    out=out + 4 * (to + channel),
                    pitch=4 * target.channels,
                    channels=operands.outputs - channel,
                )
                _line(form, line)
            task = _take(next_row)


def convolve(
    source: FloatMap,
    kernel: FloatDepthwise,
    target: FloatMap,
    channel: int,
    bounds: tuple[float, float],
) -> None:
    """As floats.convolve."""
    form = CHOICES[len(kernel.offsets) == HELD]
    arrays = kernel.weights, kernel.offsets, kernel.bias, np.array(bounds, np.float32)
    grid = *kernel.layer.strides, *kernel.layer.pads[:2]
    into: FloatView = target.view(channel)
    turn = np.zeros(1, np.int64)
    _convolve(
        form, source.view(), Operands(*arrays, *grid, kernel.outputs), into, turn, get_num_threads()
    )
