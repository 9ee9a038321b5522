"""The inputs of a network whose file has several: slices of its one input, side by side."""

from __future__ import annotations

from refq.networks.graph import INPUT, Network
from refq.networks.layers import Shape, Slice


def input_parts(network: Network) -> dict[str, Shape]:
    """{input: its shape}, in order of channels; none where the network has one input."""
    found, first = dict[str, Shape](), 0
    for node in network.consumers[INPUT]:
        layer = node.layer
        whole = isinstance(layer, Slice) and (first, 0, 0) == layer.starts
        if not isinstance(layer, Slice) or not whole or set(layer.steps) != {1}:
            return {}
        found[node.name] = network.shapes[node.name]
        first = layer.stops[0]
    several = len(found) > 1 and first == network.input_shape[0]
    return found if several else {}
