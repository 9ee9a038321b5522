"""Cross-layer quantization, CLNQ: Lin, Talathi, Annapureddy, "Fixed Point Quantization of Deep
Convolutional Networks", arXiv 1511.06393; what paper A compares with (contract section 2).

Every point has an own width, from the cross-layer rule, and an own F, from the distribution of
its calibrated values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from refq import kernels
from refq.formats.fixed import FixedPointFormat, within
from refq.networks import Network
from refq.networks.graph import INPUT
from refq.networks.points import Point, storage_points, stored_counts
from refq.networks.weights import Weights
from refq.plans.plan import Plan, TensorPlan
from refq.schemes import choice
from refq.schemes.allocation import allocate
from refq.schemes.options import Options
from refq.schemes.statistics import Statistics, Wanted, moments
from refq.schemes.steps import recognise, step

DEFAULT_BITS = 8
SEARCHED = range(2, 13)
SEARCH = "sensitivity"
POINTS = ("bits_act", "widths", "bits_image")
READS = (*choice.FINISHED, *POINTS, "distribution", "allocate", "kappa")
# the rule itself gives a small layer any number of bits; beyond 16 they change nothing
MOST_BITS = 16


def wanted(network: Network, options: Options) -> Wanted:
    return Wanted(histograms=True)


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> Plan:
    """bits_act bits a stored value on average (or widths), F by distribution at each point.

    With allocate "all" weights have widths of bits_wt on average, and their F, the same way.
    Raises OptionError where bits_act is too few for signed points.
    """
    assert statistics is not None  # wanted asked for them
    points = storage_points(network)
    choice.check_widths(points, options.widths)
    average = options.bits_act or DEFAULT_BITS
    widths = _activation_bits(network, points, average, options)
    chosen, shown = {}, {}
    for point in points:
        if INPUT in point.makers:
            chosen[point.name] = choice.image_plan(point, options)
            continue
        fmt, found = fitted(
            statistics.joined(point.makers), widths[point.name], point.signed, options.distribution
        )
        chosen[point.name] = TensorPlan(fmt)
        if choice.wide_output(network, point, fmt) is None:
            shown[point.name] = found
    formats, layers = _weight_formats(network, weights, options)
    settings = {
        "bits_act": average,
        "widths": dict(options.widths),
        "distribution": options.distribution,
        "allocate": options.allocate,
        "kappa": options.kappa,
        "points": shown,
        "layers": layers,
    }
    made = choice.Chosen(points=chosen, settings=settings, weights=formats)
    return choice.finish(network, weights, options, "clnq", made)


def fitted(
    magnitudes: np.ndarray, bits: int, signed: bool, distribution: str
) -> tuple[FixedPointFormat, dict[str, Any]]:
    """The format of values with such magnitudes, and what it was chosen by.

    magnitudes: int64 (32768,), a float histogram with both signs joined. Step s = xi * step(b)
    with xi the effective standard deviation, F = -ceil(log2 s).
    """
    mean, rms = moments(magnitudes)
    if distribution == "fit":
        distribution = recognise(mean, rms)
    # b unsigned bits are the upper half of a symmetric quantizer of b + 1
    size = (rms or 1.0) * step(distribution, bits if signed else bits + 1)
    fmt = FixedPointFormat(bits, within(-math.ceil(math.log2(size))), signed)
    return fmt, {"bits": bits, "distribution": distribution, "sigma": rms, "step": size}


def _activation_bits(
    network: Network, points: tuple[Point, ...], average: int, options: Options
) -> dict[str, int]:
    """{point: bits}. Widths asked for stand beside the allocation: it gives the other points
    `average` bits a value. Points that feed the same weighted layer share its width; one that
    stores no weighted layer's output is no part of the rule and has `average` bits."""
    counts = stored_counts(network, points)
    free = [
        point
        for point in points
        if INPUT not in point.makers
        and point.name not in options.widths
        and point.width_of not in options.widths
    ]
    values = {point.width_of: 0 for point in free}
    least = dict.fromkeys(values, 1)
    for point in free:
        values[point.width_of] += counts[point.name]
        if point.signed:
            least[point.width_of] = 2
    names = [name for name in values if values[name]]
    widths = dict(
        zip(
            names,
            allocate(
                [values[name] for name in names],
                average,
                options.kappa,
                [least[name] for name in names],
                max(MOST_BITS, average),
            ),
        )
    )
    return {
        point.name: choice.width(point, options.widths, widths.get(point.width_of, average))
        for point in points
    }


def _weight_formats(
    network: Network, weights: Weights, options: Options
) -> tuple[dict[str, FixedPointFormat], Mapping[str, dict[str, Any]]]:
    """({layer: format}, {layer: what it was chosen by}) of weights, bits_wt bits on average; none
    unless they are to be allocated."""
    if options.allocate != "all":
        return {}, {}
    names = [node.name for node in network.weighted]
    counts = [weights.weight[name].size for name in names]
    average = options.bits_wt or choice.WEIGHT_BITS
    most = max(MOST_BITS, average)
    widths = allocate(counts, average, options.kappa, [2] * len(names), most)
    found = {}
    for name, bits in zip(names, widths):
        counted = kernels.float_histogram(weights.weight[name])
        both = counted[:32768] + counted[32768:]
        found[name] = fitted(both, bits, True, options.distribution)
    formats = {name: fmt for name, (fmt, _) in found.items()}
    return formats, {name: chosen for name, (_, chosen) in found.items()}
