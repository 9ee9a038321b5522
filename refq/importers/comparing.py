"""A file's graph beside a network: which layer is which, or the first fact that differs.

The one comparison of all formats that state their network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from refq import networks
from refq.errors import RefqError, ShapeError
from refq.importers import graphs
from refq.importers.contents import Contents
from refq.importers.naming import Names
from refq.networks import Network
from refq.networks.layers import Pair, Shape


@dataclass(frozen=True)
class Problem:
    """Why a network does not fit. named: whether all its layers are there; share: of its layers or
    steps that are in the file; apart: how many layers more or less the file has; stated: whether
    the file states what differs; covers: the share of the file's layers that it would take."""

    named: bool
    share: float
    text: str
    apart: int = 0
    stated: bool = False
    covers: float = 1.0

    @property
    def nearness(self) -> tuple[bool, bool, float, int]:
        """Graphs that begin alike and have as many layers are the same network but for a fact."""
        alike = self.stated and self.share > 0 and not self.apart
        return self.named, alike, self.share, -self.apart


@dataclass(frozen=True)
class Comparison:
    """Of one file with many networks: labels are shared, and the file's graph is walked once for
    each size of the image."""

    contents: Contents
    labels: graphs.Labels = field(default_factory=dict)

    @cached_property
    def _walked(self) -> dict[Pair, graphs.Places]:
        return {}

    def file_at(self, size: Pair) -> graphs.Places:
        if size not in self._walked:
            self._walked[size] = graphs.places(self.contents.graph, self.labels, size)
        return self._walked[size]

    def network(
        self, name: str, parameters: Mapping[str, Any]
    ) -> tuple[Network | None, Names, Problem | None]:
        """(the network, its layers in the file, what differs). Where the file does not state the
        size of its images, the usual one is taken until weights tell another."""
        given = dict(parameters)
        before: tuple[Network | None, Names, Problem | None] = None, {}, None
        while True:
            try:
                plain = networks.build(name, given)
            except ShapeError as error:
                # farther than any that fits
                far = Problem(False, -1.0, f"{name}: {error}")
                return before if before[0] else (None, {}, far)
            before = (plain, *self._beside(plain))
            size = None if "input_size" in given else self._implied_size(plain, before[1])
            if size in (None, plain.input_shape[1]):
                return before
            given["input_size"] = size

    def _beside(self, plain: Network) -> tuple[Names, Problem | None]:
        size = plain.input_shape[1], plain.input_shape[2]
        file, wanted = self.file_at(size), graphs.places(graphs.steps_of(plain), self.labels, size)
        have, first = wanted.lacking(file)
        names = graphs.same_layers(wanted, file)
        problem = Problem(
            False,
            have / len(wanted.computed),
            f"{plain.name}: the graph has no {first}",
            abs(len(file.of) - len(wanted.of)),
            stated=True,
        )
        if first:
            return names, problem
        if plain.parameters["top"] and not wanted.ends <= file.ends:
            text = f"{plain.name}: the graph goes on behind {plain.output}"
            return names, replace(problem, text=text)
        return names, None

    def _implied_size(self, plain: Network, names: Names) -> int | None:
        """What the first dense layer's weights tell of the image's size. Where it is a convolution
        over a whole image of another size, it is the first layer that was not found."""
        units = self.contents.units
        taken = {part for parts in names.values() for part in parts}
        first = next((n.name for n in plain.weighted if n.layer.flat), None)
        left = [name for name in units if name not in taken and "weight" in units[name].arrays]
        found = {layer: parts[0] for layer, parts in names.items()}
        if first is not None and first not in found and left:
            found[first] = left[0]
        shapes = {
            layer: shape_of(self.contents, plain, layer, unit) for layer, unit in found.items()
        }
        try:
            told = networks.infer(plain.name, shapes).get("input_size")
        except (RefqError, ArithmeticError):
            return None
        return told if told is None or 0 < told < 1 << 14 else None

    def is_its_head(self, trunk: Network, names: Names) -> bool:
        """Whether what stands behind a trunk has as many layers with weights as the network's own
        classifier."""
        units = list(self.contents.units)
        last = max(units.index(parts[0]) for parts in names.values())
        more = networks.build(trunk.name).weight_shapes().keys() - trunk.weight_shapes().keys()
        return len(units) - last - 1 == len(more)


def shape_of(contents: Contents, network: Network, layer: str, unit: str) -> Shape:
    """Of a weight as refq would have it: convolutions that cover their whole input are dense."""
    weight = contents.units[unit].arrays["weight"]
    dense = network.by_name[layer].layer.flat
    if dense and len(weight.shape) == 4:
        return weight.shape[0], math.prod(weight.shape[1:])
    return weight.shape
