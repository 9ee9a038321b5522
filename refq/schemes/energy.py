"""Two widths by energy (paper B, section 5; contract section 3): filters that contribute little
energy over probe images, eq. (8), have few bits, the others many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from refq.errors import OptionError, listed
from refq.networks import Network
from refq.networks.graph import Node
from refq.networks.weights import Weights
from refq.plans.plan import Coefficients, Plan
from refq.schemes import hybrid
from refq.schemes.granular import formats
from refq.schemes.options import Options, When
from refq.schemes.statistics import Statistics, Wanted

DEFAULT_BITS = hybrid.DEFAULT_BITS
SEARCHED = ("threshold", "bisection")
SEARCH = "bisection"
READS = (
    *hybrid.SHARED,
    "threshold",
    "low_share",
    "experiment",
    When("bits_low", lambda o: o.hybrid.experiment != "conservative", "filters with few bits"),
    When("low_bits", lambda o: o.hybrid.experiment != "conservative", "filters with few bits"),
)
# percent of the filters with few bits in the layer of most MACs between the first and the last; in
# the others between all have (paper B, Table 3)
EXPERIMENTS = {"conservative": None, "moderate": 40.0, "aggressive": 100.0}


def wanted(network: Network, options: Options) -> Wanted:
    return replace(hybrid.wanted(network, options), energies=True)


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> Plan:
    """bits_wt bits of most filters, hybrid.bits_low of those with the least energy: below the
    threshold, in the asked share of each layer, or as in an experiment of the paper."""
    assert statistics is not None  # wanted asked for them
    own = options.hybrid
    low = low_filters(network, statistics.energies, options)

    def chosen(node: Node, weight: np.ndarray, bits: int) -> Coefficients:
        few = min(bits, own.low_bits.get(node.name, own.bits_low))
        mask = low[node.name]
        if node.layer.flat:
            return formats(weight, few if mask.all() else bits, "4D", options)
        if not mask.any():
            return formats(weight, bits, "2D", options)
        return formats(weight, np.where(mask, few, bits), "2D", options)

    shares = {
        name: round(100 * float(mask.mean()), 2) for name, mask in low.items() if mask.size > 1
    }
    more: dict[str, Any] = {
        "granularity": "2D",
        "bits_low": own.bits_low,
        "low_bits": dict(own.low_bits),
        "threshold": own.threshold,
        "experiment": _experiment(options),
        "low_percent": shares,
    }
    kind = hybrid.Kind("energy", chosen, more)
    return hybrid.made(network, weights, statistics, options, kind)


def _experiment(options: Options) -> str | None:
    own = options.hybrid
    return own.experiment or (None if own.low_share or own.threshold is not None else "moderate")


def low_filters(
    network: Network, energies: Mapping[str, np.ndarray], options: Options
) -> dict[str, np.ndarray]:
    """{layer: bool (O, I)}, true for filters with few bits; of a dense layer bool (1, 1).

    energies: float64 (O, I) of every convolution.
    """
    own, experiment = options.hybrid, _experiment(options)
    shares: dict[str, float] = dict(own.low_share)
    layers = [node.name for node in network.weighted]
    for label, given in (("--low-share", shares), ("--bits-low", own.low_bits)):
        wrong = sorted(set(given) - set(layers))
        if wrong:
            raise OptionError(f"{label} of {listed(wrong)}", f"one of {', '.join(layers)}")
    if experiment and EXPERIMENTS[experiment] is not None:
        macs = network.macs()
        shares = dict.fromkeys(layers[1:-1], 100.0)
        if shares:
            shares[max(shares, key=macs.__getitem__)] = EXPERIMENTS[experiment] or 0.0
    found = {}
    for name in layers:
        if name not in energies:
            found[name] = np.full((1, 1), shares.get(name, 0.0) == 100.0)
        elif own.threshold is not None:
            # filters that contribute nothing are below any threshold
            energy, bound = energies[name], own.threshold * energies[name].mean()
            found[name] = (energy < bound) | ((energy == 0) & (own.threshold > 0))
        else:
            found[name] = _least(energies[name], shares.get(name, 0.0))
    return found


def _least(energy: np.ndarray, percent: float) -> np.ndarray:
    """The given share of the filters, those with the least energy; of equals the first."""
    mask = np.zeros(energy.size, bool)
    count = round(percent / 100 * energy.size)
    mask[np.argsort(energy, axis=None, kind="stable")[:count]] = True
    return mask.reshape(energy.shape)
