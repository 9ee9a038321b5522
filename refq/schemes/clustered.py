"""K-means over kernels (paper B, section 6; contract section 3): a layer's kernels are K base
kernels and a residual each, F_i = G_l(i) + F~_i (eq. 9), with formats of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from refq.engine.clustered import base_kernels, residuals
from refq.errors import OptionError, listed
from refq.networks import Network
from refq.networks.graph import Node
from refq.networks.weights import Weights
from refq.plans.plan import Clustered, Coefficients, Plan
from refq.schemes import hybrid, kmeans
from refq.schemes.granular import formats
from refq.schemes.hybrid import wanted
from refq.schemes.options import Options, When
from refq.schemes.statistics import Statistics

__all__ = ["plan", "wanted"]

DEFAULT_BITS = hybrid.DEFAULT_BITS
SEARCHED = ("clusters",)
SEARCH = "clusters"


def _clustered(options: Options) -> bool:
    """Whether some layer has base kernels."""
    return bool(options.hybrid.every_layer or any(options.hybrid.clusters.values()))


FEW = tuple(When(field, _clustered, "base kernels") for field in ("bits_low", "low_bits", "seed"))
READS = (*hybrid.SHARED, "granularity", "clusters", "every_layer", *FEW)


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> Plan:
    """Base kernels of bits_wt bits, residuals of hybrid.bits_low; everything else as hybrid's."""
    own = options.hybrid
    if own.accumulated == "kernel":
        raise OptionError("--acc-frac kernel with scheme clustered", "products or range")
    if own.formats == "affine":
        raise OptionError("--formats affine with scheme clustered", "magnitude or coverage")
    layers = {node.name for node in network.weighted}
    wrong = sorted({*own.clusters, *own.low_bits} - layers)
    if wrong:
        raise OptionError(f"clusters of {listed(wrong)}", f"one of {', '.join(sorted(layers))}")
    counts: dict[str, int] = {}

    def chosen(node: Node, weight: np.ndarray, bits: int) -> Coefficients:
        wanted = own.clusters.get(node.name, own.every_layer)
        if wanted == 0:
            return formats(weight, bits, own.granularity, options)
        key = "clusters", node.name, wanted, options.seed
        if key not in weights.workspace:
            weights.workspace[key] = assigned(node, weight, wanted, options.seed)
        labels = weights.workspace[key]
        counts[node.name] = 1 + max(labels)
        base = formats(base_kernels(weight, np.array(labels)), bits, own.granularity, options)
        rest = residuals(weight, np.array(labels), base)
        low = own.low_bits.get(node.name, own.bits_low)
        return Clustered(base, formats(rest, low, own.granularity, options), labels)

    more: dict[str, Any] = {"bits_low": own.bits_low, "low_bits": dict(own.low_bits)}
    kind = hybrid.Kind("clustered", chosen, more)
    plan = hybrid.made(network, weights, statistics, options, kind)
    return replace(plan, options={**plan.options, "clusters": counts})


def assigned(node: Node, weight: np.ndarray, k: int, seed: int) -> tuple[int, ...]:
    """Which of k base kernels stands for each kernel: k-means in as many dimensions as a kernel has
    coefficients, by Lloyd's algorithm from k-means++.

    The kernels of a group share none with another's, so that k becomes a multiple of the groups;
    fewer where fewer kernels are distinct.
    """
    group = node.layer.group
    each = -(-k // group)
    kernels = weight.reshape(group, len(weight) // group, -1)
    while True:
        course = kmeans.Course(seed)
        made = [kmeans.lloyd(part, min(each, len(part)), course=course).labels for part in kernels]
        used = [np.unique(labels, return_inverse=True) for labels in made]
        least = min(len(names) for names, _ in used)
        if all(len(names) == least for names, _ in used):
            break
        each = least
    joined = [places + number * least for number, (_, places) in enumerate(used)]
    return tuple(np.concatenate(joined).tolist())
