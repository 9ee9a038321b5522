"""Formats by layer, kernel and filter, and clustered kernels, side by side on one network.

    python benchmarks/bench_hybrid.py [NETWORK] [--batch N] [--rounds N] [--json FILE]

Random weights whose filters' ranges differ by up to 2**4. "two convolutions" is the sum of a pass
with base kernels' bits everywhere and one with the residuals': what a clustered layer costs where
its two sums are made apart.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.peers import machine
from refq import networks, schemes
from refq.engine.forward import forward, quantize_weights
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks import Network
from refq.networks.layers import Dense
from refq.networks.weights import Weights, random_weights
from refq.plans.plan import Plan
from refq.schemes.hybrid_options import HybridOptions
from refq.schemes.statistics import Wanted

ASKED: dict[str, tuple[str, dict[str, Any], int]] = {
    "4D": ("hybrid", {"granularity": "4D"}, 8),
    "3D": ("hybrid", {"granularity": "3D"}, 8),
    "2D": ("hybrid", {"granularity": "2D"}, 8),
    "2D, 4 bits": ("hybrid", {"granularity": "2D"}, 4),
    "clustered 2D, 8 + 4 bits": ("clustered", {"granularity": "2D"}, 8),
}
TWO = ("2D", "2D, 4 bits")


def uneven_weights(network: Network, seed: int) -> Weights:
    """Random weights with a power of two of its own for each filter."""
    rng, weights = np.random.default_rng(seed), random_weights(network, seed)
    scaled = {
        name: (w * 2.0 ** rng.integers(-4, 1, (*w.shape[:2], *(1,) * (w.ndim - 2)))).astype("f4")
        for name, w in weights.weight.items()
    }
    return Weights(scaled, weights.bias)


def passes(network: Network, images: np.ndarray) -> dict[str, Callable[[], object]]:
    weights = uneven_weights(network, 0)
    source = Source(network, weights, lambda: [(images, None)])
    seen = gather(Wanted(histograms=True), source)
    dense = {n.name: 0 for n in network.weighted if isinstance(n.layer, Dense)}
    layers = {n.name: 4 for n in network.weighted} | dense
    made: dict[str, Callable[[], object]] = {}
    for label, (scheme, own, bits) in ASKED.items():
        hybrid = HybridOptions(**own, clusters=layers)
        options = schemes.Options(bits_wt=bits, hybrid=hybrid)
        plan: Plan = schemes.find(scheme).plan(network, weights, seen, options)
        integer = quantize_weights(network, weights, plan)

        def run(integer: Any = integer, plan: Plan = plan) -> object:
            return forward(network, integer, plan, images)

        run()  # compiles, packs
        made[label] = run
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="?", default="vgg16", help="one of refq's")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write the figures as JSON")
    arguments = parser.parse_args()
    network = networks.build(arguments.network)
    rng = np.random.default_rng(1)
    shape = (arguments.batch, *network.input_shape)
    images = rng.integers(-128, 128, shape).astype(np.float32)
    made = passes(network, images)
    seconds: dict[str, list[float]] = {label: [] for label in made}
    # in turns, so that a slow moment of the machine meets all of them
    for _ in range(arguments.rounds):
        for label, run in made.items():
            began = time.perf_counter()
            run()
            seconds[label].append(time.perf_counter() - began)
    medians = {label: statistics.median(times) for label, times in seconds.items()}
    medians["two convolutions"] = sum(medians[label] for label in TWO)
    first = medians["4D"]
    print(machine.line())
    for label, median in medians.items():
        print(f"{label:26} {arguments.batch / median:8.1f} img/s  {first / median:5.2f} of 4D")
    machine.write(arguments.json, {"network": arguments.network, "seconds": medians})


if __name__ == "__main__":
    main()
