"""Choosing formats: by magnitude, by coverage, and what all schemes share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from refq.errors import OptionError, listed
from refq.formats.fixed import MAX_FRAC_BITS, Accumulator, FixedPointFormat, Rounding, within
from refq.networks.graph import INPUT, Network
from refq.networks.points import Point, storage_points
from refq.networks.weights import Weights
from refq.plans.plan import LayerPlan, Plan, TensorPlan
from refq.schemes.options import Options, When
from refq.schemes.statistics import Statistics, covering_bits

# bits of the uniform codes where none are asked for (paper A, section IV-A)
BASE_BITS = 12
# how much finer than the products a bias may be: 2**-8 of a product's step is beyond any use,
# and a wider gap would only widen the accumulator
BIAS_FINER = 8
OUTPUT_BITS = 32
# bits of weights and biases where none are asked for (contract section 2)
WEIGHT_BITS = 14
# what `finish` reads of the options: with layers of a scheme's own, and without
ROUNDED = (
    "rounding",
    "overflow",
    When("seed", lambda o: o.rounding is Rounding.STOCHASTIC, "--rounding stochastic"),
)
FINISHED = (*ROUNDED, "bits_wt", "accumulator")
# what activations read whose F is the network's
CALIBRATED = "no --frac-act"
ONE_F = (
    *("bits_act", "widths", "bits_image", "frac_act"),
    When("frac_by", lambda o: o.frac_act is None, CALIBRATED),
)
COVERED = When("coverage", lambda o: o.frac_act is None, CALIBRATED)


def magnitude_bits(x: np.ndarray) -> int:
    """I = ceil(log2 max|x|), paper B eq. (6); 0 where all are zero.

    A maximum that is an exact power of two saturates by one step (contract section 3).
    """
    peak = float(np.abs(x).max(initial=0.0))
    if peak == 0.0:
        return 0
    mantissa, exponent = math.frexp(peak)
    return exponent - 1 if mantissa == 0.5 else exponent


def by_magnitude(x: np.ndarray, bits: int) -> FixedPointFormat:
    """Signed format of so many bits: F = T - I - 1 (paper B, eq. 6)."""
    return FixedPointFormat(bits, within(bits - magnitude_bits(x) - 1))


def image_format(options: Options, bits: int) -> FixedPointFormat:
    """Signed codes of the preprocessed image with the most fraction bits that never saturate;
    F = 0 is exact for integers."""
    low, high = options.image_bounds
    for frac_bits in range(0 if options.image_integral else 32, -33, -1):
        fmt = FixedPointFormat(bits, frac_bits)
        scale = 2.0**frac_bits
        if fmt.min_code <= round(low * scale) and round(high * scale) <= fmt.max_code:
            return fmt
    raise OptionError(f"an image from {low:g} to {high:g}", "values below 2**32")


def image_plan(point: Point, options: Options) -> TensorPlan:
    """The image keeps signed codes; a width asked for it replaces bits_image."""
    return TensorPlan(image_format(options, width(point, options.widths, options.bits_image)))


def network_frac_bits(
    points: tuple[Point, ...], statistics: Statistics | None, options: Options, bits: int
) -> int:
    """F of the whole network: as given, or so that `bits` bits cover the asked share of every
    point's calibrated activations."""
    if options.frac_act is not None:
        return options.frac_act
    assert statistics is not None  # wanted asked for them
    needed = [
        _needed(point, statistics, options)
        for point in points
        if INPUT not in point.makers and (point.readers or point.producers)
    ]
    return within(bits - max(needed, default=0))


def _needed(point: Point, statistics: Statistics, options: Options) -> int:
    """Integer bits, and that of the sign, that cover the asked share of a point's activations."""
    covered = covering_bits(statistics.joined(point.makers), options.coverage)
    return covered + int(point.signed)


def frac_bits_of(
    points: tuple[Point, ...],
    statistics: Statistics | None,
    options: Options,
    bits: Callable[[Point], int],
) -> dict[str, int]:
    """F of every point but the image, by its name: the network's, or, by layer, so that the point's
    own bits cover the asked share of its own activations."""
    inner = [point for point in points if INPUT not in point.makers]
    if options.frac_act is None and options.frac_by == "layer":
        assert statistics is not None  # wanted asked for them
        return {p.name: within(bits(p) - _needed(p, statistics, options)) for p in inner}
    one = network_frac_bits(points, statistics, options, options.bits_act or BASE_BITS)
    return {point.name: one for point in inner}


def told_frac_bits(options: Options, frac_bits: Mapping[str, int]) -> dict[str, object]:
    """What reports and plans say of them."""
    if options.frac_act is None and options.frac_by == "layer":
        return {"frac_by": "layer"}
    return {"frac_act": next(iter(frac_bits.values()), options.frac_act)}


def layer_plans(
    network: Network,
    weights: Weights,
    tensors: Mapping[str, TensorPlan],
    options: Options,
    formats: Mapping[str, FixedPointFormat],
) -> dict[str, LayerPlan]:
    """14-bit signed weights and biases, F per layer from the largest magnitude (contract 2).

    formats: of the weights of those layers that a scheme decides on itself.
    """
    plans, bits = {}, options.bits_wt or WEIGHT_BITS
    for node in network.weighted:
        weight = formats.get(node.name) or by_magnitude(weights.weight[node.name], bits)
        bias = by_magnitude(weights.bias[node.name], bits)
        finest = tensors[node.inputs[0]].fixed.frac_bits + weight.frac_bits + BIAS_FINER
        bias = FixedPointFormat(bias.bits, max(-MAX_FRAC_BITS, min(bias.frac_bits, finest)))
        plans[node.name] = LayerPlan(weight, bias, options.accumulator or Accumulator())
    return plans


def wide_output(network: Network, point: Point, source: FixedPointFormat) -> TensorPlan | None:
    """The format of means and probabilities that are the network's output: 32 bits over the
    range of what they are computed from, so that ranking them loses nothing."""
    if not point.is_output:
        return None
    wide = network.by_name[point.tensors[-1]].layer.wide_format(source, OUTPUT_BITS)
    return TensorPlan(wide) if wide else None


@dataclass(frozen=True)
class Chosen:
    """What a scheme decides itself.

    points: a TensorPlan for each, by name. settings: what reports show and plans keep of the
    scheme. weights: formats of those layers' weights that are not layer_plans'. layers: makes all
    LayerPlans, where they are others altogether. drops: of tensors whose feature maps have formats
    of their own.
    """

    points: Mapping[str, TensorPlan]
    settings: Mapping[str, object]
    weights: Mapping[str, FixedPointFormat] = field(default_factory=dict)
    layers: Callable[[Mapping[str, TensorPlan]], Mapping[str, LayerPlan]] | None = None
    drops: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def finish(
    network: Network, weights: Weights, options: Options, scheme: str, chosen: Chosen
) -> Plan:
    """A Plan from what a scheme chose; outputs widen by themselves."""
    tensors: dict[str, TensorPlan] = {}
    for point in storage_points(network):
        entry = chosen.points[point.name]
        if point.makers[0] != INPUT:
            source = network.by_name[point.makers[0]].inputs[0]
            if source in tensors:
                entry = wide_output(network, point, tensors[source].fixed) or entry
        tensors.update(
            {name: replace(entry, drops=chosen.drops.get(name, ())) for name in point.tensors}
        )
    if chosen.layers:
        layers = chosen.layers(tensors)
    else:
        layers = layer_plans(network, weights, tensors, options, chosen.weights)
    return Plan(
        network=network.name,
        parameters=dict(network.parameters),
        scheme=scheme,
        tensors=tensors,
        layers=layers,
        rounding=options.rounding,
        overflow=options.overflow,
        seed=options.seed,
        options=dict(chosen.settings),
    )


def check_widths(points: tuple[Point, ...], widths: Mapping[str, int]) -> None:
    """Raises OptionError for a width of a layer that has no point of its own."""
    names = {name for point in points for name in (point.name, point.width_of)}
    wrong = sorted(set(widths) - names)
    if wrong:
        raise OptionError(f"bits for layer {listed(wrong)}", f"one of {', '.join(sorted(names))}")


def check_one_width(scheme: str, options: Options) -> None:
    """Raises OptionError for widths of single layers, which a scheme does not have."""
    if options.widths:
        raise OptionError(f"--bits-act by layer with scheme {scheme}", "one number")


def code_width(point: Point, widths: Mapping[str, int], default: int) -> int:
    """`width` of a storage code. Raises OptionError for 1 bit of values of both signs, where
    nothing but 0 would be left of one of them."""
    bits = width(point, widths, default)
    if bits < 1 + point.signed:
        raise OptionError(
            f"{bits} bit at {point.name}, whose values can be negative",
            f"2 or more bits for {point.width_of}",
        )
    return bits


def width(point: Point, widths: Mapping[str, int], default: int) -> int:
    """The bits asked for at a point, by its own name or the weighted layer it feeds."""
    return widths.get(point.name, widths.get(point.width_of, default))
