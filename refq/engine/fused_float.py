"""float32 steps on channels-last maps: a convolution, its bias and its ReLU in one pass.

Other layers, and dense ones, run on plain arrays (refq.engine.forward).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from refq.engine.memory import MapMemory, Place
from refq.kernels import aligned, floats
from refq.kernels.floats import FloatMap
from refq.kernels.maps import STRIDE, Layout
from refq.networks.graph import INPUT, Node
from refq.networks.layers import Concat, Conv, MaxPool, ReLU
from refq.networks.points import is_wide
from refq.networks.weights import Weights


@dataclass(frozen=True)
class PendingFloat:
    """A convolution that its ReLU will make."""

    node: Node
    source: Mapped


@dataclass(frozen=True)
class Mapped:
    """A float tensor in a map."""

    place: Place
    shape: tuple[int, ...]

    @property
    def pixels(self) -> np.ndarray:
        """A view of all pixels of these channels, padding included: float32 (pixels, channels)."""
        layout: Layout = self.place.map.layout
        flat = self.place.map.values[: layout.pixels * layout.channels]
        pixels: np.ndarray = flat.reshape(layout.pixels, layout.channels)[:, self.place.channels]
        return pixels

    @cached_property
    def array(self) -> np.ndarray:
        """float32 (N, C, H, W)."""
        return floats.unpack(self.place.map, self.place.channels).reshape(self.shape)


class FusedFloatSteps:
    """One layer on maps that `memory` lends; `plain` computes what maps do not.

    unfused: convolutions whose sums are made, not their ReLUs' values alone.
    """

    def __init__(
        self,
        memory: MapMemory,
        weights: Weights,
        plain: Callable[[Node, Sequence[np.ndarray]], np.ndarray],
        unfused: Container[str] = (),
    ) -> None:
        self.memory, self.network, self.weights, self.plain = memory, memory.network, weights, plain
        self.unfused = unfused

    def release(self, tensor: Any) -> None:
        if isinstance(tensor, Mapped):
            self.memory.drop(tensor.place)

    def image(self, images: np.ndarray) -> Any:
        return self._packed(INPUT, images)

    def __call__(self, node: Node, inputs: Sequence[Any]) -> Any:
        layer, x = node.layer, inputs[0]
        if isinstance(layer, Conv) and isinstance(x, Mapped) and max(layer.strides) <= STRIDE:
            wide = is_wide(self.network, node) and self.network.consumers[node.name]
            if wide and node.name not in self.unfused:
                self.memory.hold(x.place.map)
                return PendingFloat(node, x)
            return self._conv(node, x, node, relu=False)
        if isinstance(layer, ReLU) and isinstance(x, PendingFloat):
            result = self._conv(x.node, x.source, node, relu=True)
            self.memory.unhold(x.source.place.map)
            return result
        if isinstance(layer, MaxPool) and isinstance(x, Mapped) and x.place.whole:
            target = self._target(node.name)
            place = target.place
            floats.max_pool(
                x.place.map, place.map, place.first, layer.kernel, layer.strides, layer.pads
            )
            return target
        if isinstance(layer, Concat) and all(isinstance(each, Mapped) for each in inputs):
            joined = self.memory.concatenated(node.name, [each.place.map for each in inputs])
            if joined:
                return Mapped(joined, self.memory.shape(node.name))
        plain = [each.array if isinstance(each, Mapped) else each for each in inputs]
        return self._packed(node.name, self.plain(node, plain))

    def _packed(self, name: str, array: np.ndarray) -> Any:
        """A plain result as a map, where convolutions, pools or concatenations read it."""
        readers = self.network.consumers[name]
        if array.ndim != 4 or not any(
            isinstance(reader.layer, (Conv, MaxPool, Concat)) for reader in readers
        ):
            return array
        target = self._target(name)
        floats.pack(array, target.place.map, target.place.first)
        return target

    def _conv(self, node: Node, source: Mapped, result: Node, relu: bool) -> Mapped:
        layer, layout = node.layer, source.place.map.layout
        assert isinstance(layer, Conv)
        key = (node.name, layout.pitch, layout.channels)
        if key not in self.weights.workspace:
            self.weights.workspace[key] = floats.prepare(
                self.weights.weight[node.name],
                self.weights.bias[node.name],
                layout,
                layer.strides,
                layer.pads,
                layer.group,
            )
        target = self._target(result.name)
        floats.convolve(
            source.place.map,
            self.weights.workspace[key],
            target.place.map,
            target.place.first,
            relu,
        )
        return target

    def _target(self, name: str) -> Mapped:
        return Mapped(self.memory.place(name, self._lend), self.memory.shape(name))

    def _lend(self, layout: Layout) -> FloatMap:
        def make(idle: FloatMap | None) -> FloatMap:
            return idle or FloatMap(layout, aligned.zeros((layout.size,), np.float32))

        lent: FloatMap = self.memory.borrow(layout, make)
        return lent
