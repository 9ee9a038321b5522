"""The network as it is being made: drafts of nodes, which later passes join, fold and leave out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from refq.errors import ShapeError
from refq.networks.graph import INPUT
from refq.networks.layers import Layer, Shape


@dataclass(frozen=True)
class Affine(Layer):
    """weight * x + bias, a number of each a channel: what a batch normalisation is until it is
    folded into its neighbours (contract section 4)."""

    words = "affine"


@dataclass(frozen=True, eq=False)
class Draft:
    """A node. weight, bias: of a weighted layer, or float64 (C,) of an Affine. origin: the node of
    the file that it is made of, for messages."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    shape: Shape
    origin: str
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None


@dataclass
class Drafts:
    """Drafts by name, in order of computation, and shapes of all tensors."""

    shapes: dict[str, Shape]
    nodes: dict[str, Draft] = field(default_factory=dict)
    known: dict[tuple[Layer, tuple[str, ...]], str] = field(default_factory=dict)

    def add(
        self,
        wanted: str,
        layer: Layer,
        inputs: tuple[str, ...],
        weight: np.ndarray | None = None,
        bias: np.ndarray | None = None,
    ) -> str:
        """The name of the tensor that a layer makes: a new node, called as is wanted or alike, or
        one that does the same already. Raises ShapeError where the layer does not fit."""
        key = (layer, inputs)
        if weight is None and key in self.known:
            return self.known[key]
        shape = layer.output_shape([self.shapes[name] for name in inputs])
        name = self.free(wanted)
        self.nodes[name] = Draft(name, layer, inputs, shape, wanted, weight, bias)
        self.shapes[name] = shape
        if weight is None:
            self.known[key] = name
        return name

    def free(self, wanted: str) -> str:
        """A name of no tensor yet."""
        name, number = wanted, 1
        while name in self.shapes:
            number += 1
            name = f"{wanted}_{number}"
        return name

    def put(self, draft: Draft, **changes: object) -> None:
        """A node with changes, in its place."""
        changed = replace(draft, **changes)  # type: ignore[arg-type]
        fits = changed.layer.output_shape([self.shapes[name] for name in changed.inputs])
        if fits != changed.shape:
            raise ShapeError(f"{changed.name} of shape {fits}", f"{changed.shape}")
        self.nodes[draft.name] = changed

    def instead(self, name: str, other: str, outputs: dict[str, str]) -> None:
        """Whoever reads a tensor reads another, and the first is gone."""
        for draft in list(self.nodes.values()):
            if name in draft.inputs:
                inputs = tuple(other if each == name else each for each in draft.inputs)
                self.nodes[draft.name] = replace(draft, inputs=inputs)
        for output, tensor in outputs.items():
            if tensor == name:
                outputs[output] = other
        self.nodes.pop(name, None)

    def only_reader(self, name: str, outputs: dict[str, str]) -> Draft | None:
        """The node that alone reads a tensor, once; None where others do, or it is an output."""
        if name in outputs.values():
            return None
        read = [each for each in self.nodes.values() for source in each.inputs if source == name]
        return read[0] if len(read) == 1 else None

    def prune(self, outputs: dict[str, str]) -> None:
        """Leaves out what no output needs, and puts the rest in order of computation."""
        ordered: dict[str, Draft] = {}
        stack = [(name, False) for name in reversed(list(outputs.values()))]
        while stack:
            name, ready = stack.pop()
            if name == INPUT or name in ordered:
                continue
            draft = self.nodes[name]
            if ready:
                ordered[name] = draft
            else:
                stack.append((name, True))
                stack += [(each, False) for each in reversed(draft.inputs)]
        self.nodes = ordered

    def __iter__(self) -> Iterator[Draft]:
        """Nodes as they are now; passes change them on the way."""
        return iter([*self.nodes.values()])
