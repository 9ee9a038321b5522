"""Samples of every layer, computed again by the oracle: what a golden set rests on.

Of sums, outputs at two corners and in the middle; of rounding and storage codes, single elements,
each from the same numbers as the kernels had; of pools and means, whole feature maps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from refq import kernels, oracle
from refq.engine.aligning import coded, of_channels
from refq.engine.coefficients import filter_counts
from refq.engine.integer import Tensor, encoded, window_attributes
from refq.formats.fixed import FixedPointFormat, FormatGrid
from refq.hardware.golden.agreement import CHANNELS, Made, agree, spread
from refq.hardware.golden.sampled_sums import check_sums
from refq.networks.graph import Network
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
from refq.networks.weights import Weights
from refq.plans.plan import Clustered, Plan

ELEMENTS = 48  # single ones of a layer


def check_coefficients(
    network: Network, weights: Weights, plan: Plan, chosen: Sequence[str]
) -> None:
    """Raises DisagreementError where the oracle makes other codes of sampled kernels and biases."""
    for node in network.weighted:
        if node.name not in chosen:
            continue
        weight, bias_format = plan.layers[node.name].fixed
        filters = weights.weight[node.name].reshape(*filter_counts(node, network), -1)
        kept = spread(len(filters), CHANNELS)
        if not isinstance(weight, Clustered):
            # base kernels are means of whole clusters, which their sums' samples rest on
            for o in kept:
                # of a large kernel, its first filters
                part, fmt = filters[o : o + 1, :64], _of_kernel(weight, o)
                agree(
                    f"{node.name}.weight of kernel {o}",
                    coded(part, fmt, kernels)[0],
                    coded(part, fmt, oracle)[0],
                )
        bias = weights.bias[node.name][kept]
        found = [ops.quantize(bias, bias_format)[0] for ops in (kernels, oracle)]
        agree(f"{node.name}.bias", *found)


def _of_kernel(fmt: FixedPointFormat | FormatGrid, o: int) -> FixedPointFormat | FormatGrid:
    if isinstance(fmt, FixedPointFormat):
        return fmt
    if fmt.bits.ndim == 1:
        return FormatGrid(fmt.bits[o : o + 1], fmt.frac_bits[o : o + 1])
    return FormatGrid(fmt.bits[o : o + 1, :64], fmt.frac_bits[o : o + 1, :64])


def check_layer(made: Made) -> None:
    """Raises DisagreementError where the oracle makes other integers of samples of one image."""
    x, stages, result = made.inputs[0], made.stages, made.result
    match made.node.layer:
        case Conv() | Dense():
            check_sums(made)
        case Add():
            made.agree(".sum", stages["sum"], _added(made.inputs))
        case MaxPool() | AvgPool() | GlobalAvgPool() as layer:
            _check_maps(made, layer)
        case LRN() as layer:
            _check_normalised(made, layer)
        case Softmax():
            wanted = oracle.softmax_integer(x.codes, x.frac_bits, made.kept.fixed)
            made.agree(".rounded", stages["rounded"], wanted)
        case Subsample(strides, channels):
            made.agree(".value", result.codes, oracle.subsample(x.codes, strides, channels))
        case Concat():
            wanted = oracle.concat([each.codes for each in made.inputs])
            made.agree(".value", result.codes, wanted)
    if result.stored is not None and "rounded" in stages:
        _check_stored(made)


def _check_stored(made: Made) -> None:
    """Rounding, overflow and storage of single elements."""
    kept, rounded = made.kept, made.stages["rounded"]
    places = spread(rounded.size, ELEMENTS)
    source = _rounded_from(made)
    rounding, overflow, seed, first = made.steps.modes(made.node.name, rounded)
    per_map = math.prod(rounded.shape[2:])
    for place in places if source else ():
        assert source is not None
        codes, frac_bits = source
        element = codes.reshape(-1)[place : place + 1]
        if isinstance(made.node.layer, ReLU):
            element = oracle.relu(element)
        drop = kept.drops[place // per_map % rounded.shape[1]] if kept.drops else 0
        fmt = dataclasses.replace(kept.fixed, frac_bits=kept.fixed.frac_bits - drop)
        modes = (rounding, overflow, seed, first + place)
        wanted, _ = oracle.requantize(element, frac_bits, fmt, *modes)
        got = rounded.reshape(-1)[place : place + 1]
        made.agree(f".rounded of element {place}", got >> drop, wanted)
    values = encoded(rounded.reshape(-1)[places], kept, oracle)
    made.agree(".value", made.result.codes.reshape(-1)[places], values)


def _rounded_from(made: Made) -> tuple[np.ndarray, int] | None:
    """(codes, fraction bits) that a layer rounds; None where it computes with rounding."""
    node, steps = made.node, made.steps
    match node.layer:
        case ReLU():
            return made.inputs[0].codes, made.inputs[0].frac_bits
        case Conv() | Dense():
            layer, sums = steps.weights.layers[node.name], made.stages["sum"]
            return np.left_shift(sums, of_channels(layer.raised, sums)), layer.frac_bits
        case Add():
            return made.stages["sum"], max(each.frac_bits for each in made.inputs)
    return None


def _check_maps(made: Made, layer: MaxPool | AvgPool | GlobalAvgPool) -> None:
    """Pools of whole feature maps."""
    x, got = made.inputs[0], made.stages.get("rounded", made.result.codes)
    per_map = got.size // got.shape[1]
    for c in spread(got.shape[1], 1 if per_map > 4096 else CHANNELS):
        one = x.codes[:, c : c + 1]
        if isinstance(layer, MaxPool):
            wanted = oracle.max_pool(one, **window_attributes(layer))
        else:
            modes = _modes(made, c * per_map)
            mean: Any = oracle.global_avg_pool_integer
            if isinstance(layer, AvgPool):
                mean = partial(oracle.avg_pool_integer, **window_attributes(layer))
            wanted, _ = mean(one, x.frac_bits, made.kept.fixed, **modes)
        made.agree(f" of map {c}", got[:, c : c + 1], wanted)


def _check_normalised(made: Made, layer: LRN) -> None:
    """One row of a feature map, from the rows of its neighbours."""
    x, got = made.inputs[0], made.stages["rounded"]
    _, channels, height, width = got.shape
    for c in spread(channels, CHANNELS):
        low, high = max(0, c - layer.size), min(channels, c + layer.size + 1)
        row = c % height
        # the row's own place in the stochastic sequence, seen from the first of its neighbours
        modes = _modes(made, (c * height + row) * width - (c - low) * width)
        attributes = dataclasses.asdict(layer)
        neighbours = x.codes[:, low:high, row : row + 1]
        wanted, _ = oracle.lrn_integer(
            neighbours, x.frac_bits, made.kept.fixed, **attributes, **modes
        )
        wanted = wanted[:, c - low : c - low + 1]
        made.agree(f" of map {c}", got[:, c : c + 1, row : row + 1], wanted)


def _modes(made: Made, place: int) -> dict[str, Any]:
    """How the oracle rounds, from that element of the image on."""
    rounding, overflow, seed, first = made.steps.modes(made.node.name, made.stages["rounded"])
    return {"rounding": rounding, "overflow": overflow, "seed": seed, "offset": first + place}


def _added(inputs: Sequence[Tensor]) -> np.ndarray:
    """The sum of operands at the largest F, in Python's integers."""
    top = max(each.frac_bits for each in inputs)
    total = sum(each.codes.astype(object) * 2 ** (top - each.frac_bits) for each in inputs)
    return np.asarray(total)
