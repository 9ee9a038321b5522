"""Memory of activations, codebooks and weights, and complexity of the MACs (contract sections 2, 3
and 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from refq.formats.fixed import FixedPointFormat, FormatGrid
from refq.formats.floats import Number
from refq.networks.graph import Network
from refq.networks.points import Point, storage_points
from refq.plans.plan import Clustered, Coefficients, Plan

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
    counts = {node.name: counts[node.name] for node in network.convolutions}
    points, values, by_output = {}, {}, 0
    for point in storage_points(network):
        stored = sum(counts.get(name, 0) for name in point.producers)
        points[point.name] = stored * widths[point.name]
        values[point.name] = stored
        by_output += sum(counts.get(name, 0) for name in point.readers) * widths[point.name]
    return Memory(points, values, by_output)


def stored_bits(plan: Plan | None, point: Point) -> int:
    """Bits of each value that a point keeps; those of float32 where nothing else is planned."""
    entry = plan.kept(point) if plan else None
    return entry.stored_bits if entry else FLOAT_BITS


def activation_memory(network: Network, plan: Plan | None) -> Memory:
    """Memory of all convolution outputs under a plan; without one, in float32."""
    widths = {point.name: stored_bits(plan, point) for point in storage_points(network)}
    return memory_of_widths(network, widths)


def codebook_bits(network: Network, plan: Plan | None) -> int:
    """Bits of all codebooks: each value in the format that the next layer computes with."""
    if plan is None:
        return 0
    entries = [plan.kept(point) for point in storage_points(network)]
    return sum(
        len(entry.code.lookup) * entry.format.bits for entry in entries if entry and entry.code
    )


def _mean_bits(weight: Coefficients | Number | None, real: int = FLOAT_BITS) -> float:
    """Bits of a kernel's coefficients on average, `real` in float32; base kernels of a clustered
    layer are counted with the kernels that they stand for."""
    if weight is None:
        return real
    if isinstance(weight, FormatGrid):
        return float(weight.bits.mean())
    if isinstance(weight, Clustered):
        share = (1 + max(weight.labels)) / len(weight.labels)
        return share * _mean_bits(weight.base) + _mean_bits(weight.residual)
    return float(weight.bits)


def weight_bits(network: Network, plan: Plan | None) -> int:
    """Bits of all weights and biases, without their formats."""
    total = 0.0
    for node in network.weighted:
        shape = network.weight_shapes()[node.name]
        weights, biases = math.prod(shape), shape[0]
        if plan is None:
            total += FLOAT_BITS * (weights + biases)
        else:
            entry = plan.layers[node.name]
            total += round(_mean_bits(entry.weight) * weights) + _mean_bits(entry.bias) * biases
    return round(total)


def format_bits(network: Network, plan: Plan | None) -> int:
    """Bits of what tells kernels' and filters' formats, feature maps' and clusters apart: a byte
    each for fraction bits, bits where they differ, and a kernel's base."""
    total = 0
    for entry in plan.tensors.values() if plan else ():
        total += 8 * len(entry.drops)
    for layer in plan.layers.values() if plan else ():
        parts = [layer.weight]
        if isinstance(layer.weight, Clustered):
            parts = [layer.weight.base, layer.weight.residual]
            total += 8 * len(layer.weight.labels)
        for part in parts:
            if isinstance(part, FormatGrid):
                differ = part.bits.min() != part.bits.max()
                total += 8 * part.bits.size * (2 if differ else 1)
    return total


def temporary_bits(network: Network, plan: Plan | None) -> int:
    """Bits of the temporary maps of the clustered layer that needs most: K maps of sums, each as
    wide as the accumulator, or 32 bits (paper B, section 6)."""
    most = 0
    for name, layer in plan.layers.items() if plan else ():
        if isinstance(layer.weight, Clustered):
            pixels = math.prod(network.shapes[name][1:])
            width = int(np.max(layer.accumulator.bits or FLOAT_BITS))
            most = max(most, (1 + max(layer.weight.labels)) * pixels * width)
    return most


def relative_complexity(coefficient_bits: float, data_bits: float) -> float:
    """What a multiply-accumulate costs in units of one of 8 by 8 bits; floating point counts its 24
    bits of significand (paper B, section 3.1 and Table 1)."""
    return coefficient_bits * data_bits / 64


def unclustered(plan: Plan) -> Plan:
    """The same plan with clustered layers' kernels in the format of their bases, of one width."""
    layers = {}
    for name, layer in plan.layers.items():
        if isinstance(layer.weight, Clustered):
            bits = math.ceil(_mean_bits(layer.weight.base))
            layer = replace(layer, weight=FixedPointFormat(bits, 0))
        layers[name] = layer
    return replace(plan, layers=layers)


def mac_complexity(network: Network, plan: Plan | None) -> dict[str, float]:
    """{layer: multiply-accumulates in units of 8 by 8 bits}; a clustered layer's base kernels add
    K/N of the layer at their width (contract section 3)."""
    out = {}
    for name, macs in network.macs().items():
        weight: float = FLOAT_MAC_BITS
        data = FLOAT_MAC_BITS
        if plan:
            weight = _mean_bits(plan.layers[name].weight, FLOAT_MAC_BITS)
            read = plan.tensors.get(network.by_name[name].inputs[0])
            data = read.stored_bits if read else FLOAT_MAC_BITS
        out[name] = macs * relative_complexity(weight, data)
    return out
