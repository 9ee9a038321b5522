"""Memory of activations, codebooks and weights, and complexity of the MACs (contract sections 2, 3
and 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from refq.layers import Conv
from refq.networks.graph import Network
from refq.plan import Codebook, Plan, storage_points

MEGABYTE = 10**6
MEBIBYTE = 2**20
HALF_BITS = 16
FLOAT_BITS = 32
# what a float operand counts in the complexity of MACs (contract section 3)
FLOAT_MAC_BITS = 24


@dataclass(frozen=True)
class Memory:
    """Bits that one image's activations take.

    points: {point: bits} over convolution outputs, each stored at the width of the layer that
    reads it, which is how the paper's figures come out. values: {point: how many they are}.
    by_output: all bits under the other reading of the paper's index, each convolution's outputs at
    the width that its own input has.
    """

    points: dict[str, int]
    values: dict[str, int]
    by_output: int = 0

    @property
    def bits(self) -> int:
        return sum(self.points.values())

    @property
    def megabytes(self) -> float:
        """10**6 bytes, as the paper counts."""
        return self.bits / 8 / MEGABYTE

    @property
    def mebibytes(self) -> float:
        return self.bits / 8 / MEBIBYTE

    @property
    def megabytes_by_output(self) -> float:
        return self.by_output / 8 / MEGABYTE

    @property
    def normalized(self) -> float:
        """Share of what half precision takes."""
        half = HALF_BITS * sum(self.values.values())
        return self.bits / half if half else 0.0


def memory_of_widths(network: Network, widths: Mapping[str, int]) -> Memory:
    """Memory of all convolution outputs, given the stored bits of every point by its name."""
    counts = network.activation_counts()
    points, values, by_output = {}, {}, 0
    for point in storage_points(network):
        stored = sum(
            counts[name]
            for name in point.producers
            if isinstance(network.by_name[name].layer, Conv)
        )
        points[point.name] = stored * widths[point.name]
        values[point.name] = stored
        for reader in point.readers:
            if isinstance(network.by_name[reader].layer, Conv):
                by_output += counts[reader] * widths[point.name]
    return Memory(points, values, by_output)


def activation_memory(network: Network, plan: Plan | None) -> Memory:
    """Memory of all convolution outputs under a plan; without one, in float32."""
    widths = {
        point.name: plan.tensors[point.makers[0]].stored_bits if plan else FLOAT_BITS
        for point in storage_points(network)
    }
    return memory_of_widths(network, widths)


def codebook_bits(network: Network, plan: Plan | None) -> int:
    """Bits of all codebooks: each value in the format that the next layer computes with."""
    if plan is None:
        return 0
    entries = [plan.tensors[point.makers[0]] for point in storage_points(network)]
    return sum(
        len(entry.code.values) * entry.format.bits
        for entry in entries
        if isinstance(entry.code, Codebook)
    )


def weight_bits(network: Network, plan: Plan | None) -> int:
    """Bits of all weights and biases."""
    total = 0
    for node in network.weighted:
        shape = network.weight_shapes()[node.name]
        weights, biases = math.prod(shape), shape[0]
        if plan is None:
            total += FLOAT_BITS * (weights + biases)
        else:
            entry = plan.layers[node.name]
            total += entry.weight.bits * weights + entry.bias.bits * biases
    return total


def mac_complexity(network: Network, plan: Plan | None) -> dict[str, float]:
    """{layer: MACs * (weight bits * data bits) / 64}, multiply-accumulates in units of 8 by 8 bits
    (contract section 3); float operands count 24 bits."""
    out = {}
    for name, macs in network.macs().items():
        weight = data = FLOAT_MAC_BITS
        if plan:
            weight = plan.layers[name].weight.bits
            data = plan.tensors[network.by_name[name].inputs[0]].stored_bits
        out[name] = macs * weight * data / 64
    return out
