"""Hybrid fixed point, HQ (paper B, section 4; contract section 3): signed formats of coefficients
by layer, kernel or filter, of data by layer or feature map, of biases and of accumulators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refq.errors import OptionError, listed
from refq.formats.fixed import Accumulator, FixedPointFormat, FormatGrid, Overflow, within
from refq.formats.floats import ROUNDINGS
from refq.networks import Network
from refq.networks.graph import INPUT, Node
from refq.networks.points import Point, carried_drops, keeps_maps, moves_codes, storage_points
from refq.networks.weights import Weights
from refq.plans.plan import FLOAT, Clustered, Coefficients, LayerPlan, Plan, TensorPlan
from refq.schemes import choice
from refq.schemes.granular import FINER, formats
from refq.schemes.options import Options, When
from refq.schemes.statistics import Statistics, Wanted, covering_bits, covering_exponents

DEFAULT_BITS = 8
SEARCHED = range(2, 13)
SEARCH = "sensitivity"
# the C-model of paper B, section 4
ACCUMULATOR = Accumulator(32, Overflow.SAT)
# what `made` reads of the options
COEFFICIENTS = ("bits_wt", "weight_bits", "bits_bias", "formats")
DATA = ("bits_act", "widths", "unsigned")
NO_DATA = "one or the other: --float-data has no such numbers"
SHARED = (
    *choice.ROUNDED,
    *COEFFICIENTS,
    "accumulated",
    "accumulator_bits",
    "data_granularity",
    "float_data",
    "only",
    *(When(field, lambda o: not o.hybrid.float_data, NO_DATA) for field in DATA),
    When(
        "coverage",
        lambda o: not o.hybrid.float_data or o.hybrid.formats == "coverage",
        "--formats coverage",
    ),
    When("accumulator", lambda o: not o.hybrid.simulated, "integers: sums are float32 here"),
)
READS = (*SHARED, "granularity")


@dataclass(frozen=True)
class Kind:
    """A scheme whose data is hybrid's.

    choose(layer, weights, bits): the formats of its coefficients. settings: those besides the
    shared ones.
    """

    name: str
    choose: Callable[[Node, np.ndarray, int], Coefficients]
    settings: Mapping[str, Any] = field(default_factory=dict)


def wanted(network: Network, options: Options) -> Wanted:
    """Sums, too, where accumulators are to hold their range."""
    asked = options.hybrid
    ranged = asked.accumulated != "products"
    return Wanted(
        histograms=True,
        maps=asked.data_granularity == "map" or asked.accumulated == "kernel",
        also={node.name for node in network.weighted} if ranged else frozenset(),
    )


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> Plan:
    """bits_act bits of data (or widths), bits_wt of coefficients (or hybrid.weight_bits), 8 each by
    default; formats by granularity."""

    def chosen(node: Node, weight: np.ndarray, bits: int) -> Coefficients:
        return formats(weight, bits, options.hybrid.granularity, options)

    return made(network, weights, statistics, options, Kind("hybrid", chosen))


def made(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options, kind: Kind
) -> Plan:
    """The plan of a scheme that chooses nothing but its coefficients, layer by layer."""
    assert statistics is not None  # wanted asked for them
    points = storage_points(network)
    choice.check_widths(points, options.widths)
    own = options.hybrid
    layers = [node.name for node in network.weighted]
    for label, given in (("--bits-wt", own.weight_bits), ("--bits-acc", own.accumulator_bits)):
        wrong = sorted(set(given) - set(layers))
        if wrong:
            raise OptionError(f"{label} of {listed(wrong)}", f"one of {', '.join(layers)}")
    chosen = {point.name: _data(point, statistics, options) for point in points}
    drops = _map_drops(network, points, statistics, options, chosen)

    def planned(tensors: Mapping[str, TensorPlan]) -> dict[str, LayerPlan]:
        return {
            node.name: _layer(node, weights, tensors, statistics, options, kind)
            for node in network.weighted
        }

    settings = {
        "bits_act": options.bits_act or DEFAULT_BITS,
        "widths": dict(options.widths),
        "bits_wt": options.bits_wt or DEFAULT_BITS,
        "weight_bits": dict(own.weight_bits),
        "bits_bias": own.bits_bias,
        "granularity": own.granularity,
        "data": own.data_granularity,
        "formats": own.formats,
        "coverage": options.coverage,
        **({"unsigned": True} if own.unsigned else {}),
        **kind.settings,
    }
    # simulated data has no formats of feature maps
    everything = choice.Chosen(points=chosen, settings=settings, layers=planned, drops=drops)
    plan = choice.finish(network, weights, options, kind.name, everything)
    return in_float(network, plan, options) if own.simulated else plan


def in_float(network: Network, planned: Plan, options: Options) -> Plan:
    """The same plan where some numbers are float32: of layers that are not quantized, and of all
    data if asked. Sums are float32; what a quantized layer reads is rounded."""
    own = options.hybrid
    if options.accumulator is not None and options.accumulator.bits is not None:
        raise OptionError("--bits-acc in a float32 simulation", "exact sums")
    if options.overflow is not Overflow.SAT or options.rounding not in ROUNDINGS:
        raise OptionError(
            f"--rounding {options.rounding.value}, --overflow {options.overflow.value} "
            "in a float32 simulation",
            "ties-even or ties-away, and sat",
        )
    layers = [node.name for node in network.weighted]
    wrong = sorted(set(own.only) - set(layers))
    if wrong:
        raise OptionError(f"--only {listed(wrong)}", f"of {', '.join(layers)}")
    kept = set(own.only or layers)
    read = {network.by_name[name].inputs[0] for name in kept}
    tensors = {} if own.float_data else {name: planned.tensors[name] for name in sorted(read)}
    return replace(
        planned,
        tensors=tensors,
        layers={
            name: LayerPlan(entry.weight, entry.bias) if name in kept else LayerPlan(None, None)
            for name, entry in planned.layers.items()
        },
        arithmetic=FLOAT,
        options={
            **planned.options,
            "data": "float32" if own.float_data else own.data_granularity,
            **({"only": ",".join(own.only)} if own.only else {}),
        },
    )


def _data(point: Point, statistics: Statistics, options: Options) -> TensorPlan:
    """Signed data that covers the asked share of the calibrated values; the image saturates
    nowhere."""
    bits = choice.width(point, options.widths, options.bits_act or DEFAULT_BITS)
    if INPUT in point.makers:
        return TensorPlan(choice.image_format(options, bits))
    covered = covering_bits(statistics.joined(point.makers), options.coverage)
    signed = point.signed or not options.hybrid.unsigned
    bits = max(bits, 1 + signed)
    return TensorPlan(FixedPointFormat(bits, within(bits - covered - int(signed)), signed))


def _map_drops(
    network: Network,
    points: tuple[Point, ...],
    statistics: Statistics,
    options: Options,
    chosen: dict[str, TensorPlan],
) -> dict[str, tuple[int, ...]]:
    """{tensor: what its feature maps drop}; the points' formats become those of the finest map."""
    drops: dict[str, tuple[int, ...]] = {}
    if options.hybrid.data_granularity != "map":
        return drops
    for point in points:
        nodes = [network.by_name.get(name) for name in point.makers]
        summed = all(node and node.layer.of_sums for node in nodes)
        if not point.readers or not summed or not keeps_maps(network, point):
            continue
        fmt = chosen[point.name].fixed
        own: dict[str, np.ndarray] = {}
        for name in point.makers:
            counts = statistics.maps[name]
            covered = covering_exponents(counts, options.coverage)
            frac_bits = fmt.bits - covered - int(fmt.signed)
            # maps that are always zero are as any other
            silent = counts[:, 0] == counts.sum(axis=1)
            own[name] = np.where(silent, fmt.frac_bits, frac_bits).clip(
                fmt.frac_bits - FINER, fmt.frac_bits + FINER
            )
        finest = max(int(each.max()) for each in own.values())
        chosen[point.name] = TensorPlan(replace(fmt, frac_bits=finest))
        drops.update({name: tuple((finest - each).tolist()) for name, each in own.items()})
    for node in network.nodes:
        if moves_codes(network, node):
            carried = carried_drops(network, node, drops)
            if carried:
                drops[node.name] = carried
    return drops


def _layer(
    node: Node,
    weights: Weights,
    tensors: Mapping[str, TensorPlan],
    statistics: Statistics,
    options: Options,
    kind: Kind,
) -> LayerPlan:
    own = options.hybrid
    bits = own.weight_bits.get(node.name, options.bits_wt or DEFAULT_BITS)
    weight = kind.choose(node, weights.weight[node.name], bits)
    # no finer than the finest product, which the accumulator has anyway
    source = tensors[node.inputs[0]].fixed
    bias = choice.by_magnitude(weights.bias[node.name], own.bits_bias)
    if own.simulated:
        return LayerPlan(weight, bias)
    products = source.frac_bits + finest(weight)
    bias = FixedPointFormat(bias.bits, within(min(bias.frac_bits, products)))
    accumulator = options.accumulator or ACCUMULATOR
    if node.name in own.accumulator_bits:
        accumulator = replace(accumulator, bits=own.accumulator_bits[node.name])
    if own.accumulated != "products" and accumulator.bits is not None:
        # one bit more than the calibrated sums need, for others and for sums on the way
        needed = np.array([covering_bits(statistics.joined((node.name,)), 1.0)])
        if own.accumulated == "kernel":
            needed = covering_exponents(statistics.maps[node.name], 1.0)
        room = np.minimum(int(np.max(accumulator.bits)) - 2 - needed, products)
        places = tuple(within(int(place)) for place in room)
        frac_bits = places if own.accumulated == "kernel" else places[0]
        accumulator = replace(accumulator, frac_bits=frac_bits)
    return LayerPlan(weight, bias, accumulator)


def finest(weight: Coefficients) -> int:
    """Most fraction bits of any coefficient."""
    if isinstance(weight, Clustered):
        return max(finest(weight.base), finest(weight.residual))
    return int(weight.frac_bits.max()) if isinstance(weight, FormatGrid) else weight.frac_bits
