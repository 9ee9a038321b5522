"""TensorFlow's quantize_graph of 2017, by its own rules: ranges from least to greatest value,
float32 computed on what quantizing and dequantizing leaves (docs/comparators.md).
"""

from __future__ import annotations

import math

import numpy as np

from refq.formats.fixed import Rounding
from refq.formats.floats import Affine, Buckets, Number
from refq.networks import Network
from refq.networks.graph import INPUT
from refq.networks.weights import Weights
from refq.plans.plan import FLOAT, LayerPlan, Plan, TensorPlan
from refq.schemes import choice
from refq.schemes.options import Options, When
from refq.schemes.statistics import Statistics, Wanted

DEFAULT_BITS = 8
EIGHTBIT = "eightbit"
# layers whose ranges are measured where they are quantized, and those that inherit their inputs'
MEASURED = ("Conv", "Dense", "Add", "LRN")
INHERITED = ("ReLU", "MaxPool", "AvgPool", "Concat", "Subsample")
READS = ("bits_wt", "mode", When("bits_act", lambda o: o.mode == EIGHTBIT, "--mode eightbit"))


def wanted(network: Network, options: Options) -> Wanted:
    """Extremes of the image, of sums before their ReLU, and of what is computed in float32 between
    quantized layers; nothing for weights alone."""
    if options.mode != EIGHTBIT:
        return Wanted()
    sums = {node.name for node in network.nodes if node.layer.kind in MEASURED}
    return Wanted(histograms=True, also={INPUT, *sums})


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> Plan:
    """mode weights_rounded: weights and biases as bucket centres, data in float32; eightbit:
    weights, biases and data as affine values with an exact zero."""
    choice.check_one_width("tensorflow", options)
    bits_wt = options.bits_wt or DEFAULT_BITS
    settings: dict[str, object] = {"mode": options.mode, "bits_wt": bits_wt}
    tensors: dict[str, TensorPlan] = {}
    if options.mode == EIGHTBIT:
        assert statistics is not None  # wanted asked for them
        settings["bits_act"] = options.bits_act or DEFAULT_BITS
        tensors = _tensors(network, statistics, options.bits_act or DEFAULT_BITS)

    def coefficients(values: np.ndarray) -> Number:
        low, high = float(values.min()), float(values.max())
        if options.mode == EIGHTBIT:
            return affine(low, high, bits_wt)
        return Buckets(bits_wt, low, high)

    layers = {
        node.name: LayerPlan(
            coefficients(weights.weight[node.name]), coefficients(weights.bias[node.name])
        )
        for node in network.weighted
    }
    return Plan(
        network=network.name,
        parameters=dict(network.parameters),
        scheme="tensorflow",
        tensors=tensors,
        layers=layers,
        rounding=Rounding.TIES_AWAY,
        options=settings,
        arithmetic=FLOAT,
    )


def affine(low: float, high: float, bits: int) -> Affine:
    """2**bits values from low to high, moved so that zero is one of them (MIN_FIRST).

    The range is made to reach zero from below, and to be no narrower than a hundredth of the
    larger of 1 and its ends.
    """
    low = min(0.0, low)
    high = max(high, low + max(1.0, abs(low), abs(high)) / 100)
    step = (high - low) / ((1 << bits) - 1)
    # half away from zero; low is not above it
    return Affine(bits, step, -math.floor(-low / step + 0.5))


def _tensors(network: Network, statistics: Statistics, bits: int) -> dict[str, TensorPlan]:
    """Ranges are measured where numbers are made, and inherited where they are moved or averaged.

    Global means and softmax have no quantized kernel and stay float32.
    """
    ranges: dict[str, tuple[float, float]] = {INPUT: statistics.extremes[INPUT]}
    for node in network.nodes:
        if node.name in statistics.extremes and node.layer.kind in MEASURED:
            ranges[node.name] = statistics.extremes[node.name]
        elif node.layer.kind in INHERITED:
            sources = [ranges[name] for name in node.inputs if name in ranges]
            if len(sources) == len(node.inputs):
                ranges[node.name] = min(s[0] for s in sources), max(s[1] for s in sources)
    # a range that is below zero altogether still has to hold zero, for padding and ReLU
    return {
        name: TensorPlan(affine(low, max(0.0, high), bits)) for name, (low, high) in ranges.items()
    }
