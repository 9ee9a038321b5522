"""Integer steps that never make a map of sums: a weighted layer, its ReLU, its requantization and
its encoding are one pass from bytes to bytes (refq.kernels.fused).

The integers are those of refq.engine.integer.IntegerSteps, which also computes every layer that
the fused kernels do not cover: other layers, accumulators that overflow or round, wrapping,
stochastic rounding, codes beyond 16 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from refq.engine.aligning import of_channels
from refq.engine.coefficients import IntegerLayer
from refq.engine.integer import IntegerSteps
from refq.engine.map_codes import clip_codes, fits, kept_bits, scale, span, storable, stored_values
from refq.engine.memory import Place
from refq.engine.on_maps import Mapped, MapSteps
from refq.engine.panels import flattened, one_pixel, panels
from refq.engine.steps import Tensor
from refq.engine.tables import tabled
from refq.formats.fixed import Accumulator
from refq.kernels import adding, fused, lookup, maps
from refq.kernels.accumulating import saturates_every_mac
from refq.kernels.channelwise import Depthwise
from refq.kernels.endings import Ending
from refq.kernels.maps import Layout, Map
from refq.kernels.panels import Kernel
from refq.kernels.planes import activation_planes
from refq.networks.graph import Node
from refq.networks.layers import NO_PADS, ReLU
from refq.plans.plan import TensorPlan, exact_sum

RECTIFIED = ReLU().bounds


@dataclass(frozen=True)
class Stored(Mapped):
    """A tensor in a map. stored, outside, sums, overflows: as of a Tensor."""

    stored: TensorPlan
    outside: int = 0
    sums: tuple[int, int] | None = None
    overflows: int = 0

    @cached_property
    def plain(self) -> Tensor:
        codes = maps.unpack(self.map, self.place.channels).reshape(self.shape)
        if self.stored.drops:
            codes = np.left_shift(codes, of_channels(np.array(self.stored.drops), codes))
        lost = self.outside, self.sums, self.overflows
        return Tensor(codes, self.map.frac_bits, self.stored, *lost)


class FusedSteps(MapSteps):
    """Steps on maps of bytes."""

    kernels = maps
    plain: IntegerSteps

    def covers(self, node: Node) -> bool:
        return True

    def restored(self, name: str, tensor: Tensor) -> Any:
        packed = self.packed(name, tensor)
        return packed if isinstance(packed, Stored) else tensor

    def packed(self, name: str, tensor: Tensor) -> Any:
        entry = self.plain.plan.tensors.get(name)
        # vectors are images of one pixel, as in MapMemory.layout
        codes = tensor.codes[:, :, None, None] if tensor.codes.ndim == 2 else tensor.codes
        if entry is None or codes.ndim != 4 or not fits(entry):
            return tensor
        target: Stored = self.target(name)
        lower: Any = scale(entry)
        if entry.drops:
            lower = of_channels(np.array(entry.drops), codes)
        maps.pack(codes >> lower, target.map, target.place.first)
        return replace(target, outside=tensor.outside, sums=tensor.sums, overflows=tensor.overflows)

    def placed(self, name: str, place: Place) -> Stored:
        return Stored(place, self.memory.shape(name), self.plain.plan.tensors[name])

    def lent(self, name: str, layout: Layout) -> Map:
        entry = self.plain.plan.tensors[name]
        bits, offset = kept_bits(entry), -span(entry)[0]

        def make(idle: Map | None) -> Map:
            lent = idle or maps.new_map(layout, bits, 0, offset)
            return replace(lent, frac_bits=entry.fixed.frac_bits, scale=scale(entry))

        lent: Map = self.memory.borrow((layout, activation_planes(bits), offset), make)
        return lent

    def summed(self, node: Node, sources: Sequence[Any], result: Node) -> Any:
        entry = self.plain.plan.tensors.get(result.name)
        # bounds are codes of one format
        if result is not node and result.layer.bounds != RECTIFIED and entry and entry.drops:
            return None
        if node.layer.weighted:
            return self._weighted(node, sources[0], result, entry)
        return self._added(node, sources, result, entry)

    def _added(
        self, node: Node, sources: Sequence[Stored], result: Node, entry: TensorPlan | None
    ) -> Stored | None:
        """An addition of two operands of one shape."""
        operands, plan = [source.stored for source in sources], self.plain.plan
        if entry is None or len(operands) != 2 or any(o.drops for o in (entry, *operands)):
            return None
        if sources[0].shape != sources[1].shape:
            return None
        bits, frac_bits = exact_sum(node.layer, operands)
        drop = frac_bits - entry.fixed.frac_bits
        if max(bits, drop + 1) > adding.LONGEST or not storable(plan, entry, np.array(drop)):
            return None
        target = self.target(result.name)
        outside = adding.add_maps(
            (sources[0].map, sources[1].map),
            (frac_bits - operands[0].fixed.frac_bits, frac_bits - operands[1].fixed.frac_bits),
            target.map,
            target.place.first,
            target.shape[1],
            self._ending(entry, drop, result if result is not node else None),
        )
        return replace(target, outside=outside)

    def looked_up(self, node: Node, source: Stored) -> Any:
        entry, plan = self.plain.plan.tensors[node.name], self.plain.plan
        if entry.drops or source.stored.drops or not storable(plan, entry, np.zeros(1)):
            return None
        key = "table", node.layer, entry, source.stored, plan.rounding, plan.overflow
        workspace = self.plain.weights.workspace
        if key not in workspace:
            workspace[key] = tabled(self.plain, node, source.stored)
        if workspace[key] is None:
            return None
        target = self.target(node.name)
        table, outside = workspace[key]
        count = lookup.look_up(source.map, target.map, target.place.first, table, outside)
        return replace(target, outside=count)

    def _weighted(self, node: Node, source: Stored, result: Node, entry: TensorPlan | None) -> Any:
        """A weighted layer and what follows it."""
        coded, plan, read = self.plain.weights.layers[node.name], self.plain.plan, source.map
        safe, modelled = self._limited(node, source)
        dropped = coded.frac_bits - coded.raised
        if entry is not None:
            dropped = dropped - entry.fixed.frac_bits + np.array(entry.drops or (0,))
        # exact sums are stored where they have one number of fraction bits
        one = not (np.ptp(coded.align) or coded.raised.any())
        if modelled or not (storable(plan, entry, dropped) if entry else one):
            return None
        layout = one_pixel(read.layout) if node.layer.flat else read.layout
        kernel = panels(node, coded, read, span(source.stored), layout)
        if kernel is None:
            return None
        if node.layer.flat:
            read = flattened(read, layout, self.plain.weights.workspace)
        if entry is None:
            made = self._sums(node, read, kernel, coded)
            return made if safe or _held(coded.accumulator, *(made.sums or (0, 0))) else None
        # kept with the layer's codes: what it depends on beside those is in the key
        last = result if result is not node else None
        key = entry, last and last.layer.bounds, plan.rounding, plan.overflow
        if key not in coded.endings:
            coded.endings[key] = self._ending(entry, dropped, last)
        target, ending = self.target(result.name), coded.endings[key]
        seen = fused.convolve(read, kernel, target.map, ending, target.place.first)
        if not safe and not _held(coded.accumulator, seen.low, seen.high):
            self.plain.weights.workspace["overflows", node.name] = True
            return None
        return replace(target, outside=seen.outside, sums=(seen.low, seen.high))

    def _ending(self, entry: TensorPlan, drop: int | np.ndarray, last: Node | None) -> Ending:
        """What becomes of sums with so many more fraction bits, in all channels or in each. last: a
        ReLU or clip of them."""
        plan, bounds = self.plain.plan, last.layer.bounds if last else None
        low, high = entry.fixed.limits(plan.overflow)
        code = entry.storage.shifted, stored_values(entry, low, high)
        if bounds is None or bounds == RECTIFIED:
            return Ending(bounds is not None, drop, plan.rounding, low, high, *code)
        clip = clip_codes(bounds, entry)
        return Ending(False, drop, plan.rounding, low, high, *code, clip)

    def _limited(self, node: Node, source: Stored) -> tuple[bool, bool]:
        """(no sum can leave the layer's accumulator, it must be modelled MAC by MAC or is known to
        overflow). Between the two, exact sums show whether it mattered."""
        coded = self.plain.weights.layers[node.name]
        if coded.accumulator.bits is None:
            return True, False
        if coded.drop.any():
            return False, True
        low, high = span(source.stored)
        largest = max(-low, high) << source.map.scale
        room = np.ldexp(1.0, np.array(coded.accumulator.bits) - 1)

        def held(reach: np.ndarray, start: Any) -> bool:
            # in floating point, with room for its rounding: where it matters little, the sums tell
            return bool(((reach * largest + np.abs(start)) * (1 + 2.0**-40) < room).all())

        safe, modelled = held(coded.reach, coded.bias), saturates_every_mac(coded.accumulator)
        if coded.split and modelled:
            # base and residual have accumulators of their own
            base, residual = coded.split.reaches
            safe = safe and held(base, 0) and held(residual, coded.bias)
        overflows = ("overflows", node.name) in self.plain.weights.workspace
        return safe, not safe and (modelled or overflows)

    def _sums(
        self, node: Node, source: Map, kernel: Kernel | Depthwise, coded: IntegerLayer
    ) -> Tensor:
        """Exact sums, as a plain tensor."""
        sums = fused.exact_sums(source, kernel, self.memory.layout(node.name, NO_PADS))
        codes = sums.reshape(self.memory.shape(node.name))
        return Tensor(codes, coded.frac_bits, sums=(int(codes.min()), int(codes.max())))


def _held(accumulator: Accumulator, least: int, most: int) -> bool:
    """True where sums from least to most are within a declared accumulator."""
    low, high = accumulator.limits()
    return bool(low.max() <= least and most <= high.min())
