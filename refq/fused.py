"""Integer steps that never make a map of sums: a weighted layer, its ReLU, its requantization and
its encoding are one pass from bytes to bytes (refq.kernels.fused).

The integers are those of refq.integer.IntegerSteps, which also computes every layer that the fused
kernels do not cover: other layers, declared accumulators, wrapping, stochastic rounding, codes
beyond 16 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np

from refq import kernels
from refq.formats import Overflow
from refq.integer import IntegerLayer, IntegerSteps, IntegerWeights, Tensor
from refq.kernels import fused, maps, rows
from refq.kernels.maps import Layout, Map
from refq.layers import NO_PADS, WEIGHTED, Concat, Conv, Dense, MaxPool, Pads, ReLU
from refq.networks.graph import INPUT, Network, Node
from refq.plan import Plan, TensorPlan, is_wide

MAX_BITS = 16


@dataclass(frozen=True)
class Pending:
    """A weighted layer's sum that its ReLU will make."""

    node: Node
    source: Any


@dataclass(frozen=True)
class Stored:
    """A tensor in some channels of a map; reads like a Tensor, whose array is made when asked for.

    shape: (N, C, H, W) or (N, K). whole: it owns the map's memory.
    """

    map: Map
    channels: slice
    shape: tuple[int, ...]
    stored: TensorPlan
    outside: int = 0
    sums: tuple[int, int] | None = None
    overflows: int = 0
    whole: bool = True

    @cached_property
    def codes(self) -> np.ndarray:
        return maps.unpack(self.map, self.channels).reshape(self.shape)

    @property
    def frac_bits(self) -> int:
        return self.map.frac_bits

    def tensor(self) -> Tensor:
        """The same tensor as a plain array."""
        return Tensor(self.codes, self.frac_bits, self.stored, self.outside, self.sums)

    def values(self) -> np.ndarray:
        """Real values, float64."""
        return self.tensor().values()


class FusedSteps:
    """One layer on maps. Use as a context: leaving it gives all buffers back."""

    def __init__(
        self, network: Network, weights: IntegerWeights, plan: Plan, first_image: int, images: int
    ) -> None:
        self.network, self.weights, self.plan, self.images = network, weights, plan, images
        self.plain = IntegerSteps(weights, plan, kernels, first_image)
        self.shared: dict[str, Map] = {}  # maps of concatenations that operands write into
        self.lent: dict[int, tuple[Any, Map]] = {}
        self.pending: dict[int, int] = {}  # sums that still read a map, by the map's id
        self.unread: set[int] = set()  # maps that no later node reads
        self.idle: dict[Any, list[Map]] = weights.workspace.setdefault("maps", {})

    def __enter__(self) -> FusedSteps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for key, lent in self.lent.values():
            self.idle.setdefault(key, []).append(lent)
        self.lent.clear()

    def release(self, tensor: Any) -> None:
        """Takes a tensor's memory back for the next layers, unless a pending sum still reads it:
        then when that sum is made."""
        if isinstance(tensor, Stored) and tensor.whole:
            self.unread.add(id(tensor.map))
            self._reclaim(tensor.map)

    def _reclaim(self, read: Map) -> None:
        place = id(read)
        if place in self.unread and not self.pending.get(place) and place in self.lent:
            self.unread.discard(place)
            key, lent = self.lent.pop(place)
            self.idle.setdefault(key, []).append(lent)

    def image(self, images: np.ndarray) -> Any:
        return self._packed(INPUT, self.plain.image(images))

    def __call__(self, node: Node, inputs: Sequence[Any]) -> Any:
        layer, x = node.layer, inputs[0]
        if isinstance(layer, WEIGHTED) and isinstance(x, Stored):
            if is_wide(self.network, node) and self.network.consumers[node.name]:
                self.pending[id(x.map)] = self.pending.get(id(x.map), 0) + 1
                return Pending(node, x)
            return self._weighted(node, x, node, relu=False)
        if isinstance(layer, ReLU) and isinstance(x, Pending):
            result = self._weighted(x.node, x.source, node, relu=True)
            self.pending[id(x.source.map)] -= 1
            self._reclaim(x.source.map)
            return result
        if isinstance(layer, MaxPool) and isinstance(x, Stored) and x.channels == slice(None):
            return self._max_pool(node, layer, x)
        if isinstance(layer, Concat) and node.name in self.shared:
            shared = self.shared[node.name]
            if all(isinstance(each, Stored) and each.map is shared for each in inputs):
                return Stored(shared, slice(None), self._shape(node.name), x.stored)
        plain = [each.tensor() if isinstance(each, Stored) else each for each in inputs]
        return self._packed(node.name, self.plain(node, plain))

    def _packed(self, name: str, tensor: Tensor) -> Any:
        """A plain result as a map, where it is one that maps can hold."""
        entry = self.plan.tensors.get(name)
        if entry is None or tensor.codes.ndim != 4 or not _fits(entry):
            return tensor
        target = self._target(name, entry)
        drop = target.map.scale
        codes = tensor.codes >> drop if drop else tensor.codes
        maps.pack(codes, target.map, target.channels.start or 0)
        return replace(target, outside=tensor.outside, sums=tensor.sums)

    def _weighted(self, node: Node, source: Stored, result: Node, relu: bool) -> Any:
        """A weighted layer and what follows it, in one pass; on plain arrays where it must be."""
        own = self.weights.layers[node.name]
        entry = self.plan.tensors.get(result.name)
        read, kernel = source.map, None
        if own.accumulator.bits is None:
            if isinstance(node.layer, Dense):
                read = self._flattened(source.map)
            kernel = self._kernel(node, source, read)
        if kernel is None or (entry is not None and not self._fuses(entry, own.frac_bits)):
            tensor = self.plain(node, [source.tensor()])
            if relu:
                tensor = self.plain(result, [tensor])
            return self._packed(result.name, tensor)
        if entry is None:
            return self._sums(node, read, kernel, own)
        shift = own.frac_bits - entry.format.frac_bits
        # in 32 bits where sums and what rounding adds to them stay below 2**31
        width = 32 if kernel.largest + (1 << shift) < 2**31 else 64
        target = self._target(result.name, entry)
        symmetric = self.plan.overflow is Overflow.SAT_SYM
        code = entry.code
        parameters = rows.parameters(
            source.map.scale + own.align, relu, shift, self.plan.rounding, entry.format, symmetric,
            (code.bits, code.drop, code.nearest) if code else None, target.map.offset, width,
        )  # fmt: skip
        assert parameters is not None  # _fuses has asked
        first = target.channels.start or 0
        seen = fused.convolve(
            read, kernel, target.map, parameters, None, first, width, self._scratch
        )
        return replace(target, outside=seen.outside, sums=(seen.low, seen.high))

    def _fuses(self, entry: TensorPlan, frac_bits: int) -> bool:
        """True where the fused store has this rounding, overflow and format."""
        shift = frac_bits - entry.format.frac_bits
        return (
            _fits(entry)
            and 0 <= shift <= 48
            and self.plan.overflow is not Overflow.WRAP
            and rows.rounding_terms(self.plan.rounding, shift) is not None
        )

    def _sums(self, node: Node, source: Map, kernel: fused.Kernel, own: IntegerLayer) -> Tensor:
        """Exact sums of the network's output, as a plain tensor."""
        layout = self._layout(node.name, NO_PADS)
        out = np.zeros(layout.size, np.int64)
        parameters = np.zeros(12, np.int64)
        parameters[rows.SCALE] = source.scale + own.align
        fused.convolve(source, kernel, None, parameters, (layout, out), scratch=self._scratch)
        count = layout.images * layout.height * layout.width
        first = layout.first * layout.channels
        flat = out[first : first + count * layout.channels]
        codes = flat.reshape(layout.images, layout.height, layout.width, -1).transpose(0, 3, 1, 2)
        codes = np.ascontiguousarray(codes).reshape(self._shape(node.name))
        return Tensor(codes, own.frac_bits, sums=(int(codes.min()), int(codes.max())))

    def _kernel(self, node: Node, source: Stored, read: Map) -> fused.Kernel | None:
        """The layer's panels for this layout, made once for all batches."""
        key = (node.name, read.layout.pitch, read.layout.channels, read.offset, read.scale)
        if key not in self.weights.workspace:
            own, entry = self.weights.layers[node.name], source.stored
            low, high = entry.format.min_code, entry.format.max_code
            if entry.code:
                low, high = 0, (1 << entry.code.bits) - 1
            codes = own.weight
            strides, pads, group = (1, 1), NO_PADS, 1
            if isinstance(node.layer, Conv):
                strides, pads, group = node.layer.strides, node.layer.pads, node.layer.group
            else:
                layout = source.map.layout
                shape = (-1, layout.channels, layout.height, layout.width)
                # channels last, as the map's bytes lie
                codes = codes.reshape(shape).transpose(0, 2, 3, 1).reshape(*codes.shape, 1, 1)
            self.weights.workspace[key] = fused.prepare(
                codes, own.bias, read.layout, (low, high), read.offset, read.scale + own.align,
                strides, pads, group,
            )  # fmt: skip
        found: fused.Kernel | None = self.weights.workspace[key]
        return found

    def _flattened(self, source: Map) -> Map:
        """A dense layer's view: each image one pixel of all its values, in memory of its own."""
        layout = source.layout
        depth = layout.channels * layout.height * layout.width
        flat = Layout(layout.images, depth, 1, 1, NO_PADS)
        grid = (layout.images, layout.rows, layout.pitch, layout.channels)
        start = layout.first * layout.channels
        planes: list[np.ndarray | None] = []
        for index, plane in enumerate((source.low, source.high)):
            if plane is None:
                planes.append(None)
                continue
            out = self._scratch(flat.size, index)
            real = plane[start : start + math.prod(grid)].reshape(grid)
            real = real[:, : layout.height, : layout.width]
            out[: real.size] = real.reshape(-1)
            planes.append(out)
        assert planes[0] is not None
        return replace(source, layout=flat, low=planes[0], high=planes[1])

    def _max_pool(self, node: Node, layer: MaxPool, x: Stored) -> Stored:
        target = self._target(node.name, x.stored)
        first = target.channels.start or 0
        maps.max_pool(x.map, target.map, first, layer.kernel, layer.strides, layer.pads)
        return target

    def _layout(self, name: str, pads: Pads) -> Layout:
        shape = self.network.shapes[name]
        channels, height, width = shape if len(shape) == 3 else (*shape, 1, 1)
        return Layout(self.images, channels, height, width, pads)

    def _target(self, name: str, entry: TensorPlan) -> Stored:
        """Where a tensor is to be written: a map of its own, or channels of its only reader, a
        concatenation."""
        readers = self.network.consumers[name]
        if len(readers) == 1 and isinstance(readers[0].layer, Concat):
            joined = readers[0]
            if joined.name not in self.shared:
                self.shared[joined.name] = self._target(joined.name, entry).map
            first = 0
            for operand in joined.inputs:
                count = self.network.shapes[operand][0]
                if operand == name:
                    break
                first += count
            shared = self.shared[joined.name]
            part = slice(first, first + count)
            return Stored(shared, part, self._shape(name), entry, whole=False)
        pads = [reader.layer.pads for reader in readers if isinstance(reader.layer, Conv)]
        widest = tuple(max((each[i] for each in pads), default=0) for i in range(4))
        layout = self._layout(name, widest)  # type: ignore[arg-type]
        return Stored(self._borrow(layout, entry), slice(None), self._shape(name), entry)

    def _shape(self, name: str) -> tuple[int, ...]:
        return (self.images, *self.network.shapes[name])

    def _borrow(self, layout: Layout, entry: TensorPlan) -> Map:
        """An idle or new map; only real pixels are ever written, so the padding keeps its value."""
        bits, scale = entry.format.bits, 0
        if entry.code:
            bits, scale = entry.code.bits, entry.code.drop
        offset = -entry.format.min_code
        key = (layout, bits > 8, offset)
        idle = self.idle.get(key)
        if idle:
            found = idle.pop()
            lent = Map(layout, found.low, found.high, entry.format.frac_bits, offset, scale)
        else:
            lent = maps.new_map(layout, bits, entry.format.frac_bits, offset, scale)
        self.lent[id(lent)] = (key, lent)
        return lent

    def _scratch(self, size: int, plane: int) -> np.ndarray:
        """A byte array that no step relies on between layers."""
        key = ("scratch", size, plane)
        if key not in self.weights.workspace:
            self.weights.workspace[key] = np.zeros(size, np.uint8)
        found: np.ndarray = self.weights.workspace[key]
        return found


def _fits(entry: TensorPlan) -> bool:
    """True for codes that one or two byte planes hold."""
    return (entry.code.bits if entry.code else entry.format.bits) <= MAX_BITS
