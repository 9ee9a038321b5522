"""float32 steps on channels-last maps: a convolution, its bias and its ReLU or clip in one
pass.

Other layers, and dense ones, run on plain arrays (refq.engine.float_steps).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from refq.engine.float_steps import FloatSteps
from refq.engine.memory import Place
from refq.engine.on_maps import Mapped, MapSteps
from refq.formats.fixed import Rounding
from refq.formats.floats import Number
from refq.kernels import aligned, float_channelwise, float_maps, floats
from refq.kernels.float_channelwise import FloatDepthwise
from refq.kernels.float_maps import FloatMap
from refq.kernels.maps import STRIDE, Layout
from refq.kernels.rounded import round_rows
from refq.networks.graph import Node


@dataclass(frozen=True)
class MappedFloat(Mapped):
    """A float tensor in a map."""

    @cached_property
    def plain(self) -> np.ndarray:
        """float32 (N, C, H, W)."""
        return float_maps.unpack(self.map, self.place.channels).reshape(self.shape)

    def rounded(self, fmt: Number, rounding: Rounding) -> int:
        """Rounds its values where they lie; returns how many saturated."""
        # padding is zero, and stays so
        layout: Layout = self.map.layout
        flat = self.map.values[: layout.pixels * layout.channels]
        pixels = flat.reshape(layout.pixels, layout.channels)[:, self.place.channels]
        return round_rows(pixels, fmt, rounding)


class FusedFloatSteps(MapSteps):
    """Steps on maps of float32."""

    kernels = float_maps
    plain: FloatSteps

    def covers(self, node: Node) -> bool:
        layer = node.layer
        if layer.weighted:
            return not layer.flat and max(layer.strides) <= STRIDE
        shapes = [self.network.shapes[name] for name in node.inputs]
        return len(shapes) == 2 and shapes[0] == shapes[1]

    def summed(self, node: Node, sources: Sequence[Any], result: Node) -> MappedFloat:
        bounds = (result.layer.bounds if result is not node else None) or floats.UNBOUNDED
        target = self.target(result.name)
        if not node.layer.weighted:
            maps = sources[0].map, sources[1].map
            float_maps.add(maps, target.map, target.place.first, bounds)
            return target
        weights, (source,), layer = self.plain.weights, sources, node.layer
        layout = source.map.layout
        key = (node.name, layout.pitch, layout.channels)
        if key not in weights.workspace:
            numbers = weights.weight[node.name], weights.bias[node.name]
            each = float_channelwise.is_depthwise(numbers[0], layer)
            prepare = float_channelwise.prepare if each else floats.prepare
            weights.workspace[key] = prepare(*numbers, layout, layer)
        kernel = weights.workspace[key]
        each = isinstance(kernel, FloatDepthwise)
        convolve = float_channelwise.convolve if each else floats.convolve
        convolve(source.map, kernel, target.map, target.place.first, bounds)
        return target

    def packed(self, name: str, tensor: np.ndarray) -> Any:
        if tensor.ndim != 4 or not any(r.layer.float_maps for r in self.network.consumers[name]):
            return tensor
        target = self.target(name)
        float_maps.pack(tensor, target.map, target.place.first)
        return target

    def placed(self, name: str, place: Place) -> MappedFloat:
        return MappedFloat(place, self.memory.shape(name))

    def lent(self, name: str, layout: Layout) -> FloatMap:
        def make(idle: FloatMap | None) -> FloatMap:
            return idle or FloatMap(layout, aligned.zeros((layout.size,), np.float32))

        lent: FloatMap = self.memory.borrow(layout, make)
        return lent

    def rounded(self, tensor: Any, fmt: Number, rounding: Rounding) -> tuple[Any, int]:
        """As of FloatSteps; in place where the tensor is in a map."""
        if isinstance(tensor, MappedFloat):
            return tensor, tensor.rounded(fmt, rounding)
        return self.plain.rounded(tensor, fmt, rounding)
