"""Points are where activations are kept: one point holds all tensors that share one format, and
its width belongs to the layer that reads it (contract section 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from refq.networks.graph import INPUT, Network, Node


@dataclass(frozen=True)
class Point:
    """Tensors kept in one common format.

    name: the first layer that computes with them, or `output`; of an addition's operands, which
    share that layer, `layer.tensor`, and of several outputs `output.tensor`.
    width_of: the weighted layer downstream whose bit-width they follow, or the name.
    tensors: all tensors in this format. makers: those that are quantized; the others (max
    pools, concatenations, subsampled shortcuts) only move codes. producers: the weighted layers
    whose outputs are stored here. readers: layers that compute with them.
    """

    name: str
    width_of: str
    tensors: tuple[str, ...]
    makers: tuple[str, ...]
    producers: tuple[str, ...]
    readers: tuple[str, ...]
    signed: bool

    @property
    def is_output(self) -> bool:
        return not self.readers


def is_wide(network: Network, node: Node) -> bool:
    """True where a node's exact sums are not stored: they go straight into an activation, or are an
    output that no layer reads."""
    readers = network.consumers[node.name]
    taken = not readers or (
        len(readers) == 1 and readers[0].layer.takes_sums and node.name not in network.outputs
    )
    return node.layer.makes_sums and taken


def moves_codes(network: Network, node: Node) -> bool:
    """True for layers whose output codes are some of their input codes, or zeros of their own that
    need no code (contract section 2)."""
    if node.layer.moves_stored:
        source = network.by_name.get(node.inputs[0])
        return source is None or not is_wide(network, source)
    return node.layer.moves_codes


def keeps_maps(network: Network, point: Point) -> bool:
    """Whether each feature map of a point's tensors comes from one, so that each of them may have a
    format of its own."""
    moved = [network.by_name[name].layer for name in point.tensors if name not in point.makers]
    return all(layer.keeps_maps for layer in moved)


def carried_drops(
    network: Network, node: Node, drops: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """What the feature maps of a layer that only moves codes drop, from those it reads."""
    parts = [drops.get(name, ()) for name in node.inputs]
    if not any(parts):
        return ()
    sizes = [network.shapes[name][0] for name in node.inputs]
    return node.layer.of_channels([part or (0,) * size for part, size in zip(parts, sizes)])


def storage_points(network: Network) -> tuple[Point, ...]:
    """The points of a network in order of computation."""
    groups: dict[str, list[str]] = {INPUT: [INPUT]}  # tensor -> the shared list of its group
    for node in network.nodes:
        if is_wide(network, node):
            continue
        group = [node.name]
        if moves_codes(network, node):
            # joined to the groups it moves codes from, which thereby get one common format
            merged: list[str] = []
            for name in node.inputs:
                merged += [tensor for tensor in groups[name] if tensor not in merged]
            group = [*merged, node.name]
        for name in group:
            groups[name] = group
    order = {name: index for index, name in enumerate(network.shapes)}
    unique = {id(group): sorted(group, key=order.__getitem__) for group in groups.values()}
    signs = _signs(network)
    return tuple(
        _point(network, tuple(tensors), signs)
        for tensors in sorted(unique.values(), key=lambda names: order[names[0]])
    )


def _signs(network: Network) -> dict[str, bool]:
    """Whether each tensor can be negative."""
    signs = {INPUT: True}
    for node in network.nodes:
        signs[node.name] = node.layer.signed([signs[name] for name in node.inputs])
    return signs


def _point(network: Network, tensors: tuple[str, ...], signs: Mapping[str, bool]) -> Point:
    makers, producers, readers = [], [], []
    for name in tensors:
        node = network.by_name.get(name)
        # an addition of a tensor to itself reads it once
        outside = {reader.name: None for reader in network.consumers[name]}
        readers += [each for each in outside if each not in tensors and each not in readers]
        if node is not None and moves_codes(network, node):
            continue
        makers.append(name)
        # an activation stores the sum that it reads
        source = network.by_name.get(node.inputs[0]) if node and node.layer.takes_sums else node
        if source is not node and source is not None and not is_wide(network, source):
            source = None
        if source is not None and source.layer.weighted:
            producers.append(source.name)
    signed = any(signs[name] for name in makers)
    readers.sort(key=list(network.shapes).index)
    name = readers[0] if readers else "output"
    if readers:
        several = network.by_name[name].layer.several
    else:
        several = len(network.outputs) > 1 or name in network.by_name
    if several:
        name = f"{name}.{tensors[-1]}"
    width_of = _weighted_below(network, tensors) or name
    return Point(name, width_of, tensors, tuple(makers), tuple(producers), tuple(readers), signed)


def _weighted_below(network: Network, tensors: tuple[str, ...]) -> str | None:
    """The first weighted layer that values of these tensors reach."""
    reached = set(tensors)
    for node in network.nodes:
        if reached.intersection(node.inputs):
            if node.layer.weighted:
                return node.name
            reached.add(node.name)
    return None


def stored_counts(network: Network, points: tuple[Point, ...]) -> dict[str, int]:
    """Weighted-layer outputs of one image that each point stores: the papers' activations."""
    return {
        point.name: sum(math.prod(network.shapes[name]) for name in point.producers)
        for point in points
    }
