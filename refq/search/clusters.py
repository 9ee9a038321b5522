"""How many base kernels each layer gets: one more rung where it helps most for its price."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from refq.engine.clustered import quantized_values
from refq.errors import OptionError
from refq.networks.graph import Network
from refq.networks.weights import Weights
from refq.plans.cost import mac_complexity
from refq.plans.plan import Coefficients, Plan
from refq.schemes.hybrid_options import HybridOptions

# base kernels that are tried; beyond half the kernels a base saves nothing
RUNGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


class Ladder:
    """What more base kernels bring a layer, and what they cost."""

    def __init__(
        self,
        network: Network,
        weights: Weights,
        planned: Callable[[Mapping[str, int]], Plan],
        options: HybridOptions,
    ) -> None:
        self.network, self.weights, self.planned = network, weights, planned
        self.rungs: dict[str, tuple[int, ...]] = {}
        for node in network.weighted:
            if options.clusters.get(node.name, options.every_layer) == 0:
                self.rungs[node.name] = (0,)
                continue
            group = node.layer.group
            outputs = network.weight_shapes()[node.name][0]
            most = max(group, outputs // 2)
            self.rungs[node.name] = tuple(
                sorted({min(-(-k // group) * group, most) for k in RUNGS})
            )
        self.price = cache(self._price)

    def _price(self, name: str, k: int) -> tuple[float, float]:
        """(share of a layer's coefficients' energy that is lost, its M MACs of 8 by 8 bits)."""
        plan = self.planned({**dict.fromkeys(self.rungs, 0), name: k})
        weight, fmt, share = self.weights.weight[name], plan.layers[name].weight, 0.0
        energy = np.square(weight, dtype=np.float64).sum()
        # a layer that stays float32 loses nothing
        if energy and isinstance(fmt, Coefficients):
            share = float(np.square(quantized_values(weight, fmt) - weight).sum() / energy)
        return share, mac_complexity(self.network, plan)[name] / 1e6


def climb(accepts: Callable[[Mapping[str, int]], bool], ladder: Ladder) -> dict[str, int]:
    """Base kernels of every layer: from the fewest on, one layer at a time gets more, that which
    loses the most coefficient energy less for each MAC more, until the accuracy holds.

    Raises OptionError where it never does.
    """
    at = dict.fromkeys(ladder.rungs, 0)

    def chosen() -> dict[str, int]:
        return {name: rungs[at[name]] for name, rungs in ladder.rungs.items()}

    while not accepts(chosen()):
        best: tuple[float, str] | None = None
        for name, rungs in ladder.rungs.items():
            if at[name] + 1 == len(rungs):
                continue
            lost, cost = ladder.price(name, rungs[at[name]])
            less, more = ladder.price(name, rungs[at[name] + 1])
            gain = (lost - less) / max(more - cost, 1e-9)
            if best is None or gain > best[0]:
                best = gain, name
        if best is None:
            raise OptionError(
                "no numbers of base kernels that lose so little", "more points or more --bits-low"
            )
        at[best[1]] += 1
    return chosen()
