"""No quantization: the float32 reference."""

from __future__ import annotations

from refq.networks import Network
from refq.networks.weights import Weights
from refq.schemes.options import Options
from refq.schemes.statistics import Statistics, Wanted

READS = ()


def wanted(network: Network, options: Options) -> Wanted:
    return Wanted()


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> None:
    """None: the engine computes in float32."""
    return None
