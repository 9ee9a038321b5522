"""Integer steps that never make a map of sums: a weighted layer, its ReLU, its requantization and
its encoding are one pass from bytes to bytes (refq.kernels.fused).

The integers are those of refq.engine.integer.IntegerSteps, which also computes every layer that
the fused kernels do not cover: other layers, accumulators that overflow or round, wrapping,
stochastic rounding, codes beyond 16 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from refq import kernels
from refq.engine.aligning import of_channels
from refq.engine.coefficients import IntegerLayer, IntegerWeights
from refq.engine.fused_add import ending_of_sum
from refq.engine.integer import IntegerSteps, Tensor
from refq.engine.map_codes import fits, kept_bits, span, stored_values
from refq.engine.memory import MapMemory, Place
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import Accumulator, Overflow, Rounding
from refq.kernels import adding, aligned, fused, maps, rows
from refq.kernels.accumulating import saturates_every_mac
from refq.kernels.maps import Layout, Map
from refq.kernels.planes import activation_planes
from refq.networks.graph import INPUT, Node
from refq.networks.layers import NO_PADS, WEIGHTED, Add, Concat, Conv, Dense, MaxPool, ReLU
from refq.networks.points import is_wide
from refq.plans.plan import Plan, TensorPlan


@dataclass(frozen=True)
class Pending:
    """A weighted layer's or an addition's sum that its ReLU will make of `sources`."""

    node: Node
    sources: tuple[Any, ...]


@dataclass(frozen=True)
class Stored:
    """A tensor in a map; reads like a Tensor, whose array is made when asked for.

    shape: (N, C, H, W) or (N, K).
    """

    place: Place
    shape: tuple[int, ...]
    stored: TensorPlan
    outside: int = 0
    sums: tuple[int, int] | None = None
    overflows: int = 0

    @property
    def map(self) -> Map:
        found: Map = self.place.map
        return found

    @cached_property
    def codes(self) -> np.ndarray:
        codes = maps.unpack(self.map, self.place.channels).reshape(self.shape)
        return (
            np.left_shift(codes, of_channels(np.array(self.stored.drops), codes))
            if self.stored.drops
            else codes
        )

    @property
    def frac_bits(self) -> int:
        return self.map.frac_bits

    def tensor(self) -> Tensor:
        """The same tensor as a plain array."""
        return Tensor(
            self.codes, self.frac_bits, self.stored, self.outside, self.sums, self.overflows
        )

    def values(self) -> np.ndarray:
        """Real values, float64."""
        return self.tensor().values()


class FusedSteps:
    """One layer on maps that `memory` lends."""

    def __init__(
        self, memory: MapMemory, weights: IntegerWeights, plan: Plan, first_image: int
    ) -> None:
        self.memory, self.network = memory, memory.network
        self.weights, self.plan = weights, plan
        self.plain = IntegerSteps(weights, plan, kernels, first_image)

    def release(self, tensor: Any) -> None:
        if isinstance(tensor, Stored):
            self.memory.drop(tensor.place)

    def image(self, images: np.ndarray) -> Any:
        return self._packed(INPUT, self.plain.image(images))

    def restored(self, name: str, tensor: Tensor) -> Any:
        """A tensor of a cut, as these steps take it: in a map where one can hold it."""
        codes = tensor.codes
        # vectors are images of one pixel, as in MapMemory.layout
        pixels = codes[:, :, None, None] if codes.ndim == 2 else codes
        packed = self._packed(name, replace(tensor, codes=pixels))
        return packed if isinstance(packed, Stored) else tensor

    def __call__(self, node: Node, inputs: Sequence[Any]) -> Any:
        layer, x = node.layer, inputs[0]
        summed = isinstance(layer, (*WEIGHTED, Add))
        if summed and all(isinstance(each, Stored) for each in inputs):
            if is_wide(self.network, node) and self.network.consumers[node.name]:
                for each in inputs:
                    self.memory.hold(each.map)
                return Pending(node, tuple(inputs))
            return self._summed(node, inputs, node)
        if isinstance(layer, ReLU) and isinstance(x, Pending):
            result = self._summed(x.node, x.sources, node)
            for each in x.sources:
                self.memory.unhold(each.map)
            return result
        if isinstance(layer, MaxPool) and isinstance(x, Stored) and x.place.whole:
            return self._max_pool(node, layer, x)
        if isinstance(layer, Concat) and all(isinstance(each, Stored) for each in inputs):
            joined = self.memory.concatenated(node.name, [each.map for each in inputs])
            if joined:
                entry = self.plan.tensors[node.name]
                return Stored(joined, self.memory.shape(node.name), entry)
        plain = [each.tensor() if isinstance(each, Stored) else each for each in inputs]
        return self._packed(node.name, self.plain(node, plain))

    def _packed(self, name: str, tensor: Tensor) -> Any:
        """A plain result as a map, where it is one that maps can hold."""
        entry = self.plan.tensors.get(name)
        if entry is None or tensor.codes.ndim != 4 or not fits(entry):
            return tensor
        target = self._target(name, entry)
        drop: Any = target.map.scale
        if entry.drops:
            drop = of_channels(np.array(entry.drops), tensor.codes)
        codes = tensor.codes >> drop
        maps.pack(codes, target.map, target.place.first)
        return replace(target, outside=tensor.outside, sums=tensor.sums, overflows=tensor.overflows)

    def _summed(self, node: Node, sources: Sequence[Stored], result: Node) -> Any:
        """A sum, and its ReLU where that is the result, in one pass; else on plain arrays."""
        relu = result is not node
        if not isinstance(node.layer, Add):
            return self._weighted(node, sources[0], result, relu)
        entry = self.plan.tensors.get(result.name)
        ending = ending_of_sum(self.plan, [each.stored for each in sources], entry, relu)
        if entry is None or ending is None:
            return self._plainly(node, sources, result, relu)
        places = [each.stored.fixed.frac_bits for each in sources]
        target = self._target(result.name, entry)
        outside = adding.add_maps(
            (sources[0].map, sources[1].map),
            (max(places) - places[0], max(places) - places[1]),
            target.map,
            target.place.first,
            target.shape[1],
            ending,
        )
        return replace(target, outside=outside)

    def _weighted(self, node: Node, source: Stored, result: Node, relu: bool) -> Any:
        """A weighted layer and what follows it, in one pass; on plain arrays where it must be."""
        own = self.weights.layers[node.name]
        entry = self.plan.tensors.get(result.name)
        read, kernel = source.map, None
        safe, modelled = self._limited(node, source)
        if not modelled and self._fuses(entry, own):
            flat = isinstance(node.layer, Dense)
            layout = _one_pixel(read.layout) if flat else read.layout
            kernel = self._kernel(node, source, layout)
            if flat and kernel is not None:
                read = self._flattened(read, layout)
        if kernel is None:
            return self._plainly(node, [source], result, relu)
        if entry is None:
            made = self._sums(node, read, kernel, own)
            if safe or _held(own.accumulator, *(made.sums or (0, 0))):
                return made
            return self._plainly(node, [source], result, relu)
        shift = own.frac_bits - own.raised - entry.fixed.frac_bits + np.array(entry.drops or (0,))
        scale = own.align + read.scale
        # in 32 bits where sums, codes and what rounding adds to them stay below 2**31
        most = max(kernel.largest + (1 << int(shift.max())), 2 * entry.fixed.max_code)
        width = 32 if most < 2**31 else 64
        target = self._target(result.name, entry)
        symmetric = self.plan.overflow is Overflow.SAT_SYM
        shifted, table = None, None
        match entry.code:
            case ShiftCode(bits, drop, nearest):
                shifted = (bits, drop, nearest)
            case Codebook():
                table = stored_values(entry)
        ending = rows.ending(
            int(scale[0]),
            relu,
            int(shift[0]),
            self.plan.rounding,
            entry.fixed,
            symmetric,
            shifted,
            target.map.offset,
            len(target.map.planes),
            width,
            table,
        )
        assert ending is not None  # _fuses has asked
        if np.ptp(scale) or np.ptp(shift):
            ending = rows.by_channel(ending, kernel.bias, scale, shift, self.plan.rounding)
        seen = fused.convolve(read, kernel, target.map, ending, target.place.first)
        if not safe and not _held(own.accumulator, seen.low, seen.high):
            self.weights.workspace["overflows", node.name] = True
            return self._plainly(node, [source], result, relu)
        return replace(target, outside=seen.outside, sums=(seen.low, seen.high))

    def _plainly(self, node: Node, sources: Sequence[Stored], result: Node, relu: bool) -> Any:
        """A sum and its ReLU on plain arrays."""
        tensor = self.plain(node, [each.tensor() for each in sources])
        if relu:
            tensor = self.plain(result, [tensor])
        return self._packed(result.name, tensor)

    def _limited(self, node: Node, source: Stored) -> tuple[bool, bool]:
        """(no sum can leave the layer's accumulator, it must be modelled MAC by MAC or is known to
        overflow). Between the two, exact sums show whether it mattered."""
        own, entry = self.weights.layers[node.name], source.stored
        if own.accumulator.bits is None:
            return True, False
        if own.drop.any():
            return False, True
        low, high = span(entry)
        largest = max(-low, high) << source.map.scale
        room = np.ldexp(1.0, np.array(own.accumulator.bits) - 1)

        def held(reach: np.ndarray, start: Any) -> bool:
            # in floating point, with room for its rounding: where it matters little, the sums tell
            return bool(((reach * largest + np.abs(start)) * (1 + 2.0**-40) < room).all())

        safe, modelled = held(own.reach, own.bias), saturates_every_mac(own.accumulator)
        if own.split and modelled:
            # base and residual have accumulators of their own
            base, residual = own.split.reaches
            safe = safe and held(base, 0) and held(residual, own.bias)
        return safe, not safe and (modelled or ("overflows", node.name) in self.weights.workspace)

    def _fuses(self, entry: TensorPlan | None, own: IntegerLayer) -> bool:
        """True where the fused store has this rounding, overflow and format, or can store the exact
        sums where there is none."""
        if entry is None:
            return not (np.ptp(own.align) or own.raised.any())
        shift = own.frac_bits - own.raised - entry.fixed.frac_bits + np.array(entry.drops or (0,))
        return (
            fits(entry)
            and shift.min() >= 0
            and shift.max() <= 48
            and self.plan.overflow is not Overflow.WRAP
            and self.plan.rounding is not Rounding.STOCHASTIC
        )

    def _sums(self, node: Node, source: Map, kernel: fused.Kernel, own: IntegerLayer) -> Tensor:
        """Exact sums of the network's output, as a plain tensor."""
        layout = self.memory.layout(node.name, NO_PADS)
        out = np.zeros(layout.size, np.int64)
        fused.convolve(
            source, kernel, (layout, out), rows.exact_sums(source.scale + int(own.align[0]))
        )
        count = layout.images * layout.height * layout.width
        first = layout.first * layout.channels
        flat = out[first : first + count * layout.channels]
        codes = flat.reshape(layout.images, layout.height, layout.width, -1).transpose(0, 3, 1, 2)
        codes = np.ascontiguousarray(codes).reshape(self.memory.shape(node.name))
        return Tensor(codes, own.frac_bits, sums=(int(codes.min()), int(codes.max())))

    def _kernel(self, node: Node, source: Stored, layout: Layout) -> fused.Kernel | None:
        """The layer's panels for the source in this layout, made once for all batches.

        They are kept with the layer's codes, which plans share, so the key names all that they
        depend on beside those; kernels for other ranges of the source's codes share the bytes.
        """
        own, entry, read = self.weights.layers[node.name], source.stored, source.map
        low, high = span(entry)
        grid = (layout.pitch, layout.channels, len(read.planes))
        key = (*grid, low, high, read.offset, read.scale)
        if key not in own.panels:
            codes = own.codes
            strides, pads, group = (1, 1), NO_PADS, 1
            if isinstance(node.layer, Conv):
                strides, pads, group = node.layer.strides, node.layer.pads, node.layer.group
            else:
                shape = read.layout.channels, read.layout.height, read.layout.width
                codes = codes.reshape(-1, *shape)
            like = next((known for at, known in own.panels.items() if at[:3] == grid), None)
            own.panels[key] = fused.prepare(
                codes,
                own.bias,
                layout,
                len(read.planes),
                (low, high),
                read.offset,
                read.scale + own.align,
                strides,
                pads,
                group,
                isinstance(node.layer, Dense),
                like,
            )
        found: fused.Kernel | None = own.panels[key]
        return found

    def _flattened(self, source: Map, flat: Layout) -> Map:
        """What a dense layer reads, in memory of its own."""
        layout = source.layout
        grid = (layout.images, layout.rows, layout.pitch, layout.channels)
        start = layout.first * layout.channels
        planes = []
        for index, plane in enumerate(source.planes):
            out = self._scratch(flat.size, index)
            real = plane[start : start + math.prod(grid)].reshape(grid)
            real = real[:, : layout.height, : layout.width]
            out[: real.size] = real.reshape(-1)
            planes.append(out)
        return replace(source, layout=flat, planes=tuple(planes))

    def _max_pool(self, node: Node, layer: MaxPool, x: Stored) -> Stored:
        target = self._target(node.name, x.stored)
        maps.max_pool(
            x.map, target.map, target.place.first, layer.kernel, layer.strides, layer.pads
        )
        return target

    def _target(self, name: str, entry: TensorPlan) -> Stored:
        """Where a tensor is to be written."""

        def lend(layout: Layout) -> Map:
            return self._lend(layout, entry)

        return Stored(self.memory.place(name, lend), self.memory.shape(name), entry)

    def _lend(self, layout: Layout, entry: TensorPlan) -> Map:
        bits = kept_bits(entry)
        scale = entry.code.drop if isinstance(entry.code, ShiftCode) else 0
        offset = -entry.fixed.min_code

        def make(idle: Map | None) -> Map:
            found = idle or maps.new_map(layout, bits, 0, offset)
            return replace(found, frac_bits=entry.fixed.frac_bits, scale=scale)

        lent: Map = self.memory.borrow((layout, activation_planes(bits), offset), make)
        return lent

    def _scratch(self, size: int, plane: int) -> np.ndarray:
        """A byte array that no step relies on between layers."""
        key = ("scratch", size, plane)
        if key not in self.weights.workspace:
            self.weights.workspace[key] = aligned.zeros((size,), np.uint8)
        found: np.ndarray = self.weights.workspace[key]
        return found


def _held(accumulator: Accumulator, least: int, most: int) -> bool:
    """True where sums from least to most are within a declared accumulator."""
    assert accumulator.bits is not None
    high = (1 << int(np.min(accumulator.bits)) - 1) - 1
    low = -high if accumulator.overflow is Overflow.SAT_SYM else -high - 1
    return low <= least and most <= high


def _one_pixel(layout: Layout) -> Layout:
    """A dense layer's view: each image one pixel of all its values."""
    depth = layout.channels * layout.height * layout.width
    return Layout(layout.images, depth, 1, 1, NO_PADS)
