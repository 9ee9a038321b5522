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
    """Bits that one image's activations take, and what they would take in half precision.

    points: {point: bits} over convolution outputs, each stored at the width of the layer that
    reads it, which is how the paper's figures come out.
    """

    points: dict[str, int]
    half_bits: int

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
        return self.bits / self.half_bits if self.half_bits else 0.0


def activation_memory(network: Network, plan: Plan | None) -> Memory:
    """Memory of all convolution outputs under a plan; without one, in float32."""
    counts = network.activation_counts()
    points, values = {}, 0
    for point in storage_points(network):
        stored = sum(
            counts[name]
            for name in point.producers
            if isinstance(network.by_name[name].layer, Conv)
        )
        width = plan.tensors[point.makers[0]].stored_bits if plan else 32
        points[point.name] = stored * width
        values += stored
    return Memory(points, values * HALF_BITS)
