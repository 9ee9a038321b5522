"""The frozen graph description that every network is written in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from refq.errors import ShapeError
from refq.networks.layers import NO_PADS, Layer, Pads, Shape

INPUT = "data"


@dataclass(frozen=True)
class Node:
    """One layer in a network: its name is also the name of its output tensor."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """Nodes in the order of computation, and which tensors are the network's outputs.

    input_shape is (C, H, W); parameters are what the builder was called with. outputs: names of
    tensors, by default the last node's.
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.shapes  # noqa: B018 - a network that does not fit together fails when it is built
        if not self.outputs:
            object.__setattr__(self, "outputs", (self.nodes[-1].name,))
        strange = [name for name in self.outputs if name not in self.by_name]
        if strange or len(set(self.outputs)) != len(self.outputs):
            raise ShapeError(f"{self.name}: outputs {self.outputs}", "different nodes")

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every tensor, without batch. Raises ShapeError naming the node."""
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in shapes]
            if missing or node.name in shapes:
                raise ShapeError(
                    f"{self.name}: node {node.name!r} with inputs {node.inputs}",
                    "a new name and inputs that earlier nodes make",
                )
            try:
                shapes[node.name] = node.layer.output_shape([shapes[name] for name in node.inputs])
            except ShapeError as error:
                raise ShapeError(f"{self.name}: layer {node.name!r}: {error}") from None
        return shapes

    @cached_property
    def by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """Nodes that read each tensor."""
        readers: dict[str, list[Node]] = {name: [] for name in self.shapes}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    @property
    def output(self) -> str:
        """The only output, or the first."""
        return self.outputs[0]

    @property
    def has_classifier(self) -> bool:
        """True where the only output is one value a class, as (K,) or (K, 1, 1), of two or more;
        False for a trunk of convolutions."""
        shape = self.shapes[self.output]
        return len(self.outputs) == 1 and 1 < math.prod(shape) == shape[0]

    @cached_property
    def map_pads(self) -> dict[str, Pads]:
        """The padding that the readers of each tensor read of its map."""
        found: dict[str, Pads] = {}
        for name, readers in self.consumers.items():
            sides = [reader.layer.map_pads for reader in readers] or [NO_PADS]
            top, left, bottom, right = (max(side) for side in zip(*sides))
            found[name] = (top, left, bottom, right)
        return found

    @cached_property
    def weighted(self) -> tuple[Node, ...]:
        """Convolutions and dense layers, in order."""
        return tuple(node for node in self.nodes if node.layer.weighted)

    @cached_property
    def convolutions(self) -> tuple[Node, ...]:
        """The weighted layers whose weights have rows and columns."""
        return tuple(node for node in self.weighted if not node.layer.flat)

    def weight_shapes(self) -> dict[str, Shape]:
        """Weight shape of each weighted layer; its bias has the first dimension's length."""
        return {
            node.name: node.layer.weight_shape(self.shapes[node.inputs[0]])
            for node in self.weighted
        }

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of each weighted layer for one image (paper B, section 3.1)."""
        return {
            name: math.prod(shape) * math.prod(self.shapes[name][1:])
            for name, shape in self.weight_shapes().items()
        }

    def parameter_counts(self) -> dict[str, int]:
        """Weights and biases of each weighted layer."""
        return {name: math.prod(shape) + shape[0] for name, shape in self.weight_shapes().items()}

    def activation_counts(self) -> dict[str, int]:
        """Outputs of each weighted layer for one image."""
        return {node.name: math.prod(self.shapes[node.name]) for node in self.weighted}


def chain(first: str, *steps: tuple[str, Layer]) -> list[Node]:
    """Nodes one after the other, the first reading the tensor `first`."""
    nodes, previous = [], first
    for name, layer in steps:
        nodes.append(Node(name, layer, (previous,)))
        previous = name
    return nodes


def scaled(channels: int, width: float) -> int:
    """Channel count at a width multiplier, at least 1. Raises ShapeError for absurd widths."""
    if not 0 < width <= 64:
        raise ShapeError(f"width {width:g}", "above 0 and up to 64")
    return max(1, round(channels * width))
