"""Uniform activations: code = clip(round(a * 2**F), 0, 2**q - 1), one F for the network
(paper A, sections III-A and IV-A)."""

from __future__ import annotations

from dataclasses import replace

from refq.formats.fixed import FixedPointFormat
from refq.networks import Network
from refq.networks.graph import INPUT
from refq.networks.points import Point, storage_points
from refq.networks.weights import Weights
from refq.plans.plan import Plan, TensorPlan
from refq.schemes import choice
from refq.schemes.options import Options
from refq.schemes.statistics import Statistics, Wanted

DEFAULT_BITS = choice.BASE_BITS
SEARCHED = range(2, 17)
SEARCH = "network"
READS = (*choice.FINISHED, *choice.ONE_F, choice.COVERED)


def wanted(network: Network, options: Options) -> Wanted:
    return Wanted(histograms=options.frac_act is None)


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> Plan:
    """q = bits_act (or widths), F as given or picked so that q bits cover the calibration; by layer
    (refq's extension) each layer has its own."""
    points = storage_points(network)
    choice.check_widths(points, options.widths)
    bits = options.bits_act or DEFAULT_BITS

    def width(point: Point) -> int:
        return choice.width(point, options.widths, bits)

    frac_bits = choice.frac_bits_of(points, statistics, replace(options, bits_act=bits), width)
    chosen = {}
    for point in points:
        if INPUT in point.makers:
            chosen[point.name] = choice.image_plan(point, options)
        else:
            fmt = FixedPointFormat(width(point), frac_bits[point.name], point.signed)
            chosen[point.name] = TensorPlan(fmt)
    told = choice.told_frac_bits(options, frac_bits)
    settings = {"bits_act": bits, **told, "widths": dict(options.widths)}
    made = choice.Chosen(points=chosen, settings=settings)
    return choice.finish(network, weights, options, "uniform", made)
