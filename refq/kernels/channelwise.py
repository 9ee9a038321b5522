"""Depthwise convolution from map to map: every lane of a vector is a channel, so nothing is
gathered, and sums end as those of refq.kernels.fused do.

Two taps at a time are multiplied in 16 bits and added in 32 (`vpdpwssd`, `vpmaddwd`), exactly; of
wide codes each byte plane by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import get_num_threads, types
from numba.extending import intrinsic

from refq.kernels import aligned, backends
from refq.kernels.backends import NAMES, TOKENS
from refq.kernels.compiling import njit, prange
from refq.kernels.endings import Built, Store
from refq.kernels.maps import Map, View, _at
from refq.kernels.panels import Operand, bounded, grouped, signed_sums
from refq.kernels.planes import radix
from refq.kernels.rows import LANES, LEAST, MOST, _Finisher
from refq.kernels.turns import _take
from refq.kernels.writer import CHOICES, CHOSEN, I8, I16, I32, I64, Writer, fields
from refq.networks.layers import Layer

# of so many taps with 16-bit weights the sums of a byte plane are exact in 32 bits
MOST_TAPS = 256
# pairs of taps whose weights stay in vector registers
HELD = 5


@dataclass(frozen=True)
class Depthwise:
    """Weights of one depthwise convolution.

    weights: int16 (vectors of channels, pairs, 16, 2); offsets: int64 (pairs, 2), bytes from a
    window's first pixel; planes: of the map's codes; all else as in panels.Kernel.
    """

    weights: np.ndarray
    offsets: np.ndarray
    planes: int
    bias: np.ndarray
    scale: np.ndarray
    layer: Layer
    largest: int
    stores: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


def prepare(
    codes: np.ndarray, bias: np.ndarray, scale: np.ndarray, operand: Operand, layer: Layer
) -> Depthwise | None:
    """A kernel for weights (O, 1, kh, kw) of integer codes, as panels.prepare takes them; None
    where each channel has not one output, or weights or sums are too large."""
    taps = math.prod(layer.kernel)
    within = codes.min(initial=0) >= -(1 << 15) and codes.max(initial=0) < 1 << 15
    if len(codes) != layer.group or codes.shape[1] != 1 or taps > MOST_TAPS or not within:
        return None
    scale = scale if codes.any() else np.zeros_like(scale)
    largest, shifted = bounded(*signed_sums(codes), bias, scale, operand)
    if largest >= 2**62:
        return None
    vectors, pairs = math.ceil(len(codes) / LANES), math.ceil(taps / 2)
    weights = np.zeros((vectors * LANES, 2 * pairs), np.int16)
    weights[: len(codes), :taps] = codes.reshape(len(codes), taps)
    weights = weights.reshape(vectors, LANES, pairs, 2).transpose(0, 2, 1, 3)
    panels = aligned.zeros(weights.shape, np.int16)
    panels[:] = weights
    rows, columns = np.indices(layer.kernel)
    down, right = layer.dilations
    places = ((rows * down * operand.layout.pitch + columns * right).reshape(-1)).astype(np.int64)
    # the other half of a last pair has a weight of zero
    places = np.append(places, places[-1:])[: 2 * pairs] * operand.layout.channels
    apart = places.reshape(pairs, 2), operand.planes
    return Depthwise(panels, *apart, grouped(shifted, 1), scale, layer, largest)


class Line(NamedTuple):
    """Outputs of one row and 16 channels: addresses and counts.

    low, high: of the first window in the planes of the source, `step` bytes before the next;
    offsets, weights, pairs: as in Depthwise; outputs: how many. All else as in rows.Finish.
    """

    low: int
    high: int
    step: int
    offsets: int
    weights: int
    pairs: int
    outputs: int
    pitch: int
    biases: int
    row: int
    parameters: int
    table: int
    to_low: int
    to_high: int
    to_both: int
    channels: int
    seen: int


class _Ends(NamedTuple):
    """What _Finisher reads: the last fields of a Line."""

    biases: Any
    row: Any
    parameters: Any
    table: Any
    low: Any
    high: Any
    both: Any
    channels: Any
    seen: Any


class _Body:
    """Writes the code of a line."""

    def __init__(self, w: Writer, backend: str, line: Line, planes: int, held: int) -> None:
        self.w, self.backend, self.line = w, backend, line
        self.sources = [line.low, line.high][:planes]  # not their sum, if there is one
        self.kind = ir.VectorType(I32, LANES)
        self.held = [self._pair(ir.Constant(I64, n)) for n in range(held)]

    def _pair(self, n: Any) -> tuple[Any, Any, Any]:
        """(offset, offset, weights) of two taps."""
        w, b, line = self.w, self.w.b, self.line
        at = b.add(line.offsets, b.shl(n, ir.Constant(I64, 4)))
        weights = w.load(b.add(line.weights, b.shl(n, ir.Constant(I64, 6))), self.kind)
        return w.load(at, I64), w.load(w.plus(at, 8), I64), weights

    def sums(self, moved: Any) -> list[Any]:
        """int32 sums of each plane, for the window so many bytes from the first."""
        starts = [self.w.b.add(source, moved) for source in self.sources]
        sums = [ir.Constant(self.kind, [0] * LANES)] * len(starts)
        for pair in self.held:
            sums = self._added(sums, starts, pair)
        if self.held:
            return sums
        return self.w.loop(
            self.line.pairs, sums, lambda n, carried: self._added(carried, starts, self._pair(n))
        )

    def _added(self, sums: list[Any], starts: list[Any], pair: tuple[Any, Any, Any]) -> list[Any]:
        w, b, (one, other, weights) = self.w, self.w.b, pair
        some, order = (
            ir.VectorType(I8, LANES),
            [n + LANES * k for n in range(LANES) for k in (0, 1)],
        )
        out = []
        for total, start in zip(sums, starts):
            taps = [w.load(b.add(start, offset), some) for offset in (one, other)]
            both = b.shuffle_vector(*taps, ir.Constant(ir.VectorType(I32, 2 * LANES), order))
            codes = b.zext(both, ir.VectorType(I16, 2 * LANES))
            out.append(self._dot(total, codes, weights))
        return out

    def _dot(self, total: Any, codes: Any, weights: Any) -> Any:
        """total + code * weight + code * weight of each lane's two taps."""
        w, b = self.w, self.w.b
        if self.backend != "portable":
            values = b.bitcast(codes, self.kind)
            name = "llvm.x86.avx512.vpdpwssd.512"
            return w.call(name, self.kind, [total, values, weights])
        wide, short = ir.VectorType(I32, 2 * LANES), ir.VectorType(I16, 2 * LANES)
        products = b.mul(b.zext(codes, wide), b.sext(b.bitcast(weights, short), wide))
        even, odd = (w.pick(products, range(n, 2 * LANES, 2)) for n in (0, 1))
        return b.add(total, b.add(even, odd))


def _choice_of(kernel: Depthwise, store: Store) -> tuple[Any, ...]:
    """Scalars whose types tell _line what to compile: the backend, whether there are so few taps
    that their weights are held, the source's planes, and what the store does."""
    held = len(kernel.offsets) == HELD
    return (TOKENS[backends.chosen()], CHOICES[held], CHOICES[kernel.planes], *store.token)


@intrinsic
def _line(typing_context, choice, line):
    """choice: as _choice_of gives it; line: a Line."""
    backend, held, planes = (CHOSEN[kind] for kind in choice.types[:3])
    built = Built(*(CHOSEN[kind] for kind in choice.types[3:]))

    def generate(context, builder, signature, arguments):
        w, b = Writer(builder), builder
        values = fields(context, builder, line, arguments[1])
        to = _Ends(*values[8:])
        finisher = _Finisher(w, built, 1, to)
        body = _Body(w, NAMES[backend], values, planes, HELD if held else 0)

        def output(n: Any, seen: list[Any]) -> list[Any]:
            sums = body.sums(b.mul(n, values.step))
            total, *more = [b.sext(each, finisher.kind) if built.wide else each for each in sums]
            for plane in more:
                shift = ir.Constant(finisher.kind, [radix(planes)] * LANES)
                total = b.add(total, b.shl(plane, shift))
            return finisher.vector(0, total, b.mul(n, values.pitch), seen)

        after = w.loop(values.outputs, finisher.before, output)
        for place, value in zip(finisher.places, after):
            w.store(value, place)
        return context.get_dummy_value()

    return types.void(choice, line), generate


class Operands(NamedTuple):
    """What a depthwise convolution multiplies a map by: a Depthwise's arrays, and its layer's
    strides and pads. channels: how many are real."""

    weights: np.ndarray
    offsets: np.ndarray
    down: int
    across: int
    top: int
    left: int
    channels: int


class Stored(NamedTuple):
    """Store's arrays, and where each thread tells what it saw: (threads, 3, 16)."""

    parameters: np.ndarray
    channels: np.ndarray
    table: np.ndarray
    seen: np.ndarray


@njit(parallel=True)
def _convolve(choice, source, operands, target, stored, turn):
    """turn: int64 (1,), the next row of the output."""
    for thread in prange(stored.seen.shape[0]):
        # addresses are taken once: taking one counts a reference
        low, high = source.low.ctypes.data, source.high.ctypes.data
        weights, offsets = operands.weights, operands.offsets.ctypes.data
        panels = weights.ctypes.data
        size = target.low.itemsize
        to_low, to_high, to_both = (
            target.low.ctypes.data,
            target.high.ctypes.data,
            target.both.ctypes.data,
        )
        biases, row = stored.channels.ctypes.data, stored.channels.strides[0]
        parameters, table = stored.parameters.ctypes.data, stored.table.ctypes.data
        seen, next_row = stored.seen[thread].ctypes.data, turn.ctypes.data
        task = _take(next_row)
        while task < target.images * target.height:
            n, y = task // target.height, task % target.height
            first = n * source.rows + y * operands.down - operands.top
            start = (source.first + first * source.pitch - operands.left) * source.channels
            to = _at(target, n, y)
            for vector in range(weights.shape[0]):
                channel = vector * LANES
                line = Line(
                    low=low + start + channel,
                    high=high + start + channel,
                    step=operands.across * source.channels,
                    offsets=offsets,
                    weights=panels + vector * weights.strides[0],
                    pairs=weights.shape[1],
                    outputs=target.width,
                    pitch=target.channels * size,
                    biases=biases + 8 * channel,
                    row=row,
                    parameters=parameters,
                    table=table,
                    to_low=to_low + (to + channel) * size,
                    to_high=to_high + to + channel,
                    to_both=to_both + to + channel,
                    channels=operands.channels - channel,
                    seen=seen,
                )
                _line(choice, line)
            task = _take(next_row)


def run(source: Map, kernel: Depthwise, store: Store, target: View) -> np.ndarray:
    """Convolves a map into channels of another, or into int64 sums.

    Returns what each thread saw, (threads, 3, 16) in the sums' type: rows.LEAST, MOST, OUTSIDE.
    """
    strides, pads = kernel.layer.strides, kernel.layer.pads[:2]
    seen = aligned.zeros((get_num_threads(), 3, LANES), store.kind)
    seen[:, LEAST], seen[:, MOST] = np.iinfo(store.kind).max, np.iinfo(store.kind).min
    _convolve(
        _choice_of(kernel, store),
        source.view(),
        Operands(kernel.weights, kernel.offsets, *strides, *pads, len(kernel.scale)),
        target,
        Stored(store.parameters, store.channels[0], store.table, seen),
        np.zeros(1, np.int64),
    )
    return seen
