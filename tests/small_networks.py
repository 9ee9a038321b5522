"""Small networks with everything in them, and plans that make their numbers overflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refq import schemes
from refq.engine.forward import Run, Tensor, forward, quantize_weights
from refq.formats.fixed import Accumulator, Overflow, Rounding
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks import Network, Node
from refq.networks.layers import (
    LRN,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    MaxPool,
    ReLU,
    Softmax,
    Subsample,
)
from refq.networks.weights import Weights, random_weights
from refq.plans.plan import Plan
from refq.schemes.hybrid_options import HybridOptions

# of the images that plans are tried on: how many, and the number of the first
COUNT, FIRST = 2, 3


def crossing() -> Network:
    """Groups, strides, uneven pads, both poolings in ceil mode, LRN over an even number of
    channels, a concatenation, an addition, dense layers."""
    nodes = (
        Node("stem", Conv(6, (3, 2), strides=(2, 1), pads=(1, 0, 1, 1)), ("data",)),
        Node("stem_relu", ReLU(), ("stem",)),
        Node("norm", LRN(4, alpha=2e-5, beta=1.75, bias=1.5, per_window=False), ("stem_relu",)),
        Node("pool", MaxPool((3, 2), (2, 2), (0, 1, 1, 0), ceil_mode=True), ("norm",)),
        Node("left", Conv(8, (3, 3), pads=(1, 1, 1, 1), group=2), ("pool",)),
        Node("left_relu", ReLU(), ("left",)),
        Node("right", Conv(5, (1, 1)), ("pool",)),
        Node("right_relu", ReLU(), ("right",)),
        Node("joined/all", Concat(), ("left_relu", "right_relu")),
        Node("one", Conv(7, (2, 3), pads=(0, 1, 1, 1)), ("joined/all",)),
        Node("two", Conv(7, (1, 1)), ("joined/all",)),
        Node("sum", Add(), ("one", "two")),
        Node("sum_relu", ReLU(), ("sum",)),
        Node("mean", AvgPool((2, 3), (3, 3), (0, 1, 0, 0), True, True), ("sum_relu",)),
        Node("rest", AvgPool((2, 2), (1, 2), (1, 0, 0, 1), True, False), ("mean",)),
        Node("wide", Dense(11), ("rest",)),
        Node("wide_relu", ReLU(), ("wide",)),
        Node("last", Dense(4), ("wide_relu",)),
        Node("share", Softmax(), ("last",)),
    )
    return Network("crossing", (3, 13, 12), nodes, {})


def ending() -> Network:
    """Sums that are stored with their sign and added at several fraction bits, a ReLU on what is
    stored, a global mean; a depthwise convolution, and dilated ones."""
    nodes = (
        Node("first", Conv(5, (2, 3), pads=(1, 1, 0, 1)), ("data",)),
        Node("second", Conv(5, (1, 1), group=5), ("first",)),
        Node("total", Add(), ("first", "second", "first")),
        Node("positive", ReLU(), ("total",)),
        Node("third", Conv(9, (3, 1), dilations=(2, 1)), ("positive",)),
        Node("fourth", Conv(9, (3, 2), pads=(0, 2, 0, 0), dilations=(2, 2)), ("total",)),
        Node("both", Add(), ("third", "fourth")),
        Node("both_relu", ReLU(), ("both",)),
        Node("mean", GlobalAvgPool(), ("both_relu",)),
    )
    return Network("ending", (2, 7, 6), nodes, {})


def shortcut() -> Network:
    """An option A shortcut with zeros on both sides, moved on by a pool, and its addition."""
    nodes = (
        Node("stem", Conv(3, (3, 3), pads=(1, 1, 1, 1)), ("data",)),
        Node("stem_relu", ReLU(), ("stem",)),
        Node("short", Subsample((2, 3), (1, 2)), ("stem_relu",)),
        Node("branch", Conv(6, (3, 2), (2, 3), (1, 0, 1, 1)), ("stem_relu",)),
        Node("moved", MaxPool((1, 1), (1, 1)), ("short",)),
        Node("sum", Add(), ("moved", "branch")),
        Node("sum_relu", ReLU(), ("sum",)),
        Node("last", Dense(4), ("sum_relu",)),
    )
    return Network("shortcut", (2, 9, 11), nodes, {})


def bottleneck() -> Network:
    """Linear bottlenecks: convolutions that read sums stored with their sign, an addition of two of
    them, and what moves, rectifies, joins and averages signed codes."""
    nodes = (
        Node("stem", Conv(5, (3, 3), pads=(1, 1, 1, 1)), ("data",)),
        Node("stem_relu", ReLU(), ("stem",)),
        Node("narrow", Conv(6, (1, 1)), ("stem_relu",)),
        Node("wide", Conv(7, (3, 2), pads=(1, 0, 1, 1)), ("narrow",)),
        Node("wide_relu", ReLU(), ("wide",)),
        Node("back", Conv(6, (1, 1)), ("wide_relu",)),
        Node("sum", Add(), ("narrow", "back")),
        Node("pooled", MaxPool((2, 2), (1, 2), (0, 1, 0, 0)), ("sum",)),
        Node("positive", ReLU(), ("pooled",)),
        Node("joined", Concat(), ("pooled", "positive")),
        Node("mean", AvgPool((2, 2), (2, 2)), ("joined",)),
        Node("short", Subsample((1, 1), (1, 2)), ("mean",)),
        Node("last", Dense(4), ("short",)),
    )
    return Network("bottleneck", (3, 8, 9), nodes, {})


def uneven(network: Network, seed: int) -> Weights:
    """Weights whose kernels and filters have very different ranges; those of a layer `last` are
    small, so that a softmax behind it is no mere maximum."""
    rng = np.random.default_rng(seed)
    weights, weight, bias = random_weights(network, seed), {}, {}
    for name, values in weights.weight.items():
        scale = 2.0**-8 if name == "last" else 1.0
        filters = scale * 2.0 ** rng.integers(-5, 3, values.shape[:2])
        filters = filters.reshape(*filters.shape, *(1,) * (values.ndim - 2))
        weight[name] = (values * filters).astype(np.float32)
        bias[name] = (scale * (4 * weights.bias[name] + 0.3)).astype(np.float32)
    return Weights(weight, bias)


def pixels(network: Network, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 128, (count, *network.input_shape)).astype(np.float32)


def planned(network: Network, weights: Weights, scheme: str, **options: Any) -> Plan:
    own = {name: options.pop(name) for name in list(options) if hasattr(HybridOptions, name)}
    own |= {name: options.pop(name) for name in ("clusters",) if name in options}
    chosen = schemes.Options(**options, hybrid=HybridOptions(**own))
    images = Source(network, weights, lambda: [(pixels(network, 5, 6), None)])
    statistics = gather(schemes.find(scheme).wanted(network, chosen), images)
    plan: Plan = schemes.find(scheme).plan(network, weights, statistics, chosen)
    return plan


@dataclass(frozen=True)
class Way:
    """How an accumulator is too narrow: dropped, fraction bits fewer than the products' most; by
    kernel, other bits and fraction bits in each."""

    overflow: Overflow
    every_mac: bool
    dropped: int | None = None
    rounding: Rounding = Rounding.TIES_EVEN
    by_kernel: bool = False


def narrowed(network: Network, weights: Weights, plan: Plan, ways: Sequence[Way]) -> Plan:
    """The plan with accumulators of two bits less than the sums need, in one way after the other,
    and the last layer's exact."""
    own = quantize_weights(network, weights, plan)
    for number, name in enumerate(list(plan.layers)[:-1]):
        way, sums = ways[number % len(ways)], observed(network, weights, plan)[name].sums
        assert sums is not None
        frac_bits: Any = own.layers[name].frac_bits - way.dropped if way.dropped else None
        bits: Any = max(-sums[0] - 1, sums[1]).bit_length() - 1 - (way.dropped or 0)
        if way.by_kernel:
            count = len(own.layers[name].bias)
            bits = tuple(bits - o % 3 for o in range(count))
            if frac_bits is not None:
                frac_bits = tuple(frac_bits - o % 2 for o in range(count))
        accumulator = Accumulator(bits, way.overflow, way.every_mac, frac_bits, way.rounding)
        layer = replace(plan.layers[name], accumulator=accumulator)
        plan = replace(plan, layers={**plan.layers, name: layer})
    return plan


def observed(network: Network, weights: Weights, plan: Plan) -> dict[str, Tensor]:
    """Every tensor of the images that plans are tried on, with what was lost of it."""
    found = {}

    def note(node: Node | None, tensor: Tensor) -> None:
        found[node.name if node else "data"] = tensor

    own, images = quantize_weights(network, weights, plan), pixels(network, COUNT, 9)
    forward(network, own, plan, images, run=Run(note, first_image=FIRST, fused=False))
    return found
