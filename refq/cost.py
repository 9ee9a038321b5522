"""Activation memory under a Plan (paper A, Table VII; contract section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from refq.layers import Conv
from refq.networks.graph import Network
from refq.plan import Plan, storage_points

MEGABYTE = 10**6
HALF_BITS = 16


@dataclass(frozen=True)
class Memory:
    """Bits that one image's activations take.

    points: {point: bits} over convolution outputs, each stored at the width of the layer that
    reads it, which is how the paper's figures come out. values: {point: how many they are}.
    """

    points: dict[str, int]
    values: dict[str, int]

    @property
    def bits(self) -> int:
        return sum(self.points.values())

    @property
    def megabytes(self) -> float:
        """10**6 bytes, as the paper counts."""
        return self.bits / 8 / MEGABYTE

    @property
    def normalized(self) -> float:
        """Share of what half precision takes."""
        half = HALF_BITS * sum(self.values.values())
        return self.bits / half if half else 0.0


def activation_memory(network: Network, plan: Plan | None) -> Memory:
    """Memory of all convolution outputs under a plan; without one, in float32."""
    counts = network.activation_counts()
    points, values = {}, {}
    for point in storage_points(network):
        stored = sum(
            counts[name]
            for name in point.producers
            if isinstance(network.by_name[name].layer, Conv)
        )
        width = plan.tensors[point.makers[0]].stored_bits if plan else 32
        points[point.name] = stored * width
        values[point.name] = stored
    return Memory(points, values)
