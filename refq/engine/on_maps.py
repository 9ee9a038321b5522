"""Steps of the fused kernels, integer or float32: tensors lie in maps, a sum waits for its ReLU or
clip, and what is concatenated is written side by side.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from refq.engine.memory import MapMemory, Place
from refq.engine.steps import Steps
from refq.kernels.maps import Layout
from refq.networks.graph import INPUT, Node
from refq.networks.points import is_wide


@dataclass(frozen=True)
class Pending:
    """A sum that its ReLU or clip will make of `sources`."""

    node: Node
    sources: tuple[Mapped, ...]


@dataclass(frozen=True)
class Mapped:
    """A tensor in a map. shape: (N, C, H, W) or (N, K)."""

    place: Place
    shape: tuple[int, ...]

    @property
    def map(self) -> Any:
        return self.place.map

    @cached_property
    def plain(self) -> Any:
        """The same tensor as plain steps have it, in arrays of its own."""
        raise NotImplementedError


class MapSteps:
    """Steps on maps that `memory` lends; `plain` computes what these maps' kernels do not.

    kernels: refq.kernels.maps or float_maps. unfused: layers whose sums are made, not
    their ReLUs' or clips' values alone.
    """

    kernels: ModuleType

    def __init__(self, memory: MapMemory, plain: Steps, unfused: Container[str] = ()) -> None:
        self.memory, self.network, self.plain = memory, memory.network, plain
        self.unfused = unfused

    # what is particular to a kind of maps

    def covers(self, node: Node) -> bool:
        """Whether the kernels know a layer that makes sums."""
        raise NotImplementedError

    def summed(self, node: Node, sources: Sequence[Any], result: Node) -> Any:
        """A layer's sums, and its ReLU or clip where that is the result, in one pass; None where
        that cannot be."""
        raise NotImplementedError

    def looked_up(self, node: Node, source: Any) -> Any:
        """A function of each value; None where there is no table of it."""
        return None

    def packed(self, name: str, tensor: Any) -> Any:
        """A tensor of the plain steps in a map, where one can hold it, and someone reads it."""
        raise NotImplementedError

    def lent(self, name: str, layout: Layout) -> Any:
        """A map for a tensor."""
        raise NotImplementedError

    def placed(self, name: str, place: Place) -> Any:
        """The tensor that lies in a place, a Mapped."""
        raise NotImplementedError

    # what is not

    def target(self, name: str) -> Any:
        """Where a tensor is to be written, a Mapped."""
        place = self.memory.place(name, lambda layout: self.lent(name, layout))
        return self.placed(name, place)

    def image(self, images: np.ndarray) -> Any:
        return self.packed(INPUT, self.plain.image(images))

    def restored(self, name: str, tensor: Any) -> Any:
        return self.packed(name, tensor)

    def __call__(self, node: Node, inputs: Sequence[Any]) -> Any:
        made = node.layer.map_step(MapStep(self, node, inputs))
        if made is None:
            made = self.packed(node.name, self.plain(node, [self.shown(x) for x in inputs]))
        return made

    def made(self, node: Node, sources: Sequence[Mapped], result: Node) -> Any:
        """A layer's sums, and its ReLU or clip where that is the result."""
        made = self.summed(node, sources, result)
        if made is None:
            tensor = self.plain(node, [source.plain for source in sources])
            if result is not node:
                tensor = self.plain(result, [tensor])
            made = self.packed(result.name, tensor)
        return made

    def release(self, tensor: Any) -> None:
        if isinstance(tensor, Mapped):
            self.memory.drop(tensor.place)

    def shown(self, tensor: Any) -> Any:
        if isinstance(tensor, Pending):
            return None
        return tensor.plain if isinstance(tensor, Mapped) else tensor

    def output(self, tensor: Any) -> np.ndarray:
        if isinstance(tensor, Pending):
            tensor = self.made(tensor.node, tensor.sources, tensor.node)
        return self.plain.output(self.shown(tensor))


@dataclass(frozen=True)
class MapStep:
    """What a layer's step on maps is given (refq.networks.layers)."""

    steps: MapSteps
    node: Node
    inputs: Sequence[Any]

    def summed(self) -> Any:
        steps, node = self.steps, self.node
        if not self._mapped() or not steps.covers(node):
            return None
        readers = steps.network.consumers[node.name]
        # of what reads sums, ReLUs and clips alone are made with them
        waits = is_wide(steps.network, node) and readers and readers[0].layer.bounds
        if not waits or node.name in steps.unfused:
            return steps.made(node, self.inputs, node)
        for source in self.inputs:
            steps.memory.hold(source.map)
        return Pending(node, tuple(self.inputs))

    def bounded(self) -> Any:
        (pending,) = self.inputs
        if not isinstance(pending, Pending):
            return None
        result = self.steps.made(pending.node, pending.sources, self.node)
        for source in pending.sources:
            self.steps.memory.unhold(source.map)
        return result

    def looked_up(self) -> Any:
        (x,) = self.inputs
        if not self._mapped() or not x.place.whole:
            return None
        return self.steps.looked_up(self.node, x)

    def max_pooled(self) -> Any:
        (x,), layer = self.inputs, self.node.layer
        if not self._mapped() or not x.place.whole:
            return None
        target = self.steps.target(self.node.name)
        windows = layer.kernel, layer.strides, layer.pads
        self.steps.kernels.max_pool(x.map, target.map, target.place.first, *windows)
        return target

    def joined(self) -> Any:
        if not self._mapped():
            return None
        place = self.steps.memory.concatenated(self.node.name, [x.map for x in self.inputs])
        return self.steps.placed(self.node.name, place) if place else None

    def _mapped(self) -> bool:
        return all(isinstance(x, Mapped) for x in self.inputs)
