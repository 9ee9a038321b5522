"""Equal-distance nonuniform quantization, ENQ (paper A, section III-A; contract section 2).

An activation's q_m-bit uniform code x is stored as E bits, min(x >> (q_m - E), 2**E - 1),
and comes back as a q_m-bit code by a left shift. Signed codes do likewise, which is refq's
extension.
"""

from __future__ import annotations

from dataclasses import replace

from refq.formats.codes import ShiftCode
from refq.formats.fixed import FixedPointFormat
from refq.networks import Network
from refq.networks.graph import INPUT
from refq.networks.points import storage_points
from refq.networks.weights import Weights
from refq.plans.plan import Plan, TensorPlan
from refq.schemes import choice
from refq.schemes.options import Options, When
from refq.schemes.statistics import Statistics, Wanted, covering_bits

DEFAULT_BITS = 5
SEARCHED = range(1, 9)
SEARCH = "sensitivity"
COVERED = (choice.COVERED, When("coverage", lambda o: o.qm == "layer", "--qm layer"))
READS = (*choice.FINISHED, *choice.ONE_F, *COVERED, "assign", "qm")


def wanted(network: Network, options: Options) -> Wanted:
    return Wanted(histograms=options.frac_act is None or options.qm == "layer")


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> Plan:
    """E = bits_act (or widths). q_m is 12 bits for the whole network (qm global), or the bits
    that cover the asked share of each point's calibrated activations (qm layer)."""
    points = storage_points(network)
    choice.check_widths(points, options.widths)
    bits = options.bits_act or DEFAULT_BITS
    codes = replace(options, bits_act=choice.BASE_BITS)
    frac_bits = choice.frac_bits_of(points, statistics, codes, lambda point: choice.BASE_BITS)
    chosen, q_m = {}, {}
    for point in points:
        if INPUT in point.makers:
            chosen[point.name] = choice.image_plan(point, options)
            continue
        value_bits, own = choice.BASE_BITS, frac_bits[point.name]
        if options.qm == "layer" and (point.readers or point.producers):
            assert statistics is not None  # wanted asked for them
            covered = covering_bits(statistics.joined(point.makers), options.coverage)
            sign = int(point.signed)
            value_bits = max(1 + sign, min(choice.BASE_BITS, covered + own + sign))
        q_m[point.name] = value_bits
        kept = choice.code_width(point, options.widths, bits)
        code = None
        if kept < value_bits:
            nearest = options.assign == "nearest"
            code = ShiftCode(kept, value_bits - kept, nearest, point.signed)
        chosen[point.name] = TensorPlan(FixedPointFormat(value_bits, own, point.signed), code)
    settings = {
        "bits_act": bits,
        **choice.told_frac_bits(options, frac_bits),
        "widths": dict(options.widths),
        "qm": options.qm,
        "q_m": q_m,
        "assign": options.assign,
        "coverage": options.coverage,
    }
    made = choice.Chosen(points=chosen, settings=settings)
    return choice.finish(network, weights, options, "enq", made)
