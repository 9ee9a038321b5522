"""Ristretto (Gysel et al.), by its own rules: float32, with layers' inputs, weights and outputs
trimmed. The rules are those of its published source, misbehaviour included (docs/comparators.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from refq.errors import FormatError, OptionError
from refq.formats.fixed import FixedPointFormat, Rounding, within
from refq.formats.floats import MiniFloat, Number, PowerOfTwo
from refq.networks import Network
from refq.networks.graph import Node
from refq.networks.weights import Weights
from refq.plans.plan import FLOAT, LayerPlan, Plan, TensorPlan
from refq.schemes import choice
from refq.schemes.options import Options, When
from refq.schemes.statistics import Statistics, Wanted

DEFAULT_BITS = 8
# weights as powers of two have 2**-8 to 2**-1, which are 4 bits with the sign
POWER_BITS = 4
LEAST_EXPONENT_BITS = 4
# what a part keeps that is not trimmed
FLOAT_BITS = 32
SEARCHED = ("halving",)
SEARCH = "halving"
# whose code trims no data
UNTRIMMED = ("power-of-two", "cpu")
READS = (
    "bits_wt",
    "bits_fc",
    "numbers",
    "device",
    When("bits_act", lambda o: (o.numbers, o.device) != UNTRIMMED, "--device gpu"),
)


@dataclass(frozen=True)
class Peaks:
    """Greatest magnitudes of a weighted layer's input and output over the calibration images."""

    read: float
    made: float


def wanted(network: Network, options: Options) -> Wanted:
    """Extremes of what weighted layers read and make."""
    ends = {name for node in network.weighted for name in (node.inputs[0], _seen(network, node))}
    return Wanted(histograms=True, also=ends)


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> Plan:
    """bits_act bits of layers' inputs and outputs, bits_wt of weights (bits_fc of dense ones)."""
    choice.check_one_width("ristretto", options)
    if options.bits_fc and len(network.weighted) == len(network.convolutions):
        raise OptionError(f"--bits-fc with {network.name}", "a network with dense layers")
    data = options.bits_act or DEFAULT_BITS
    default = POWER_BITS if options.numbers == "power-of-two" else DEFAULT_BITS
    convolutions = options.bits_wt or default
    bits = {"conv": convolutions, "fc": options.bits_fc or convolutions, "data": data}
    return plan_of(network, weights, statistics, options, bits)


def plan_of(
    network: Network,
    weights: Weights,
    statistics: Statistics | None,
    options: Options,
    bits: Mapping[str, int],
) -> Plan:
    """A plan from the bits of its parts; FLOAT_BITS leaves a part in float32.

    bits: of weights of convolutions (conv) and dense layers (fc), and of layers' inputs and outputs
    (data), or of everything (all).
    """
    assert statistics is not None  # wanted asked for them
    peaks = {node.name: _peaks(network, statistics, node) for node in network.weighted}
    exponent_bits = _exponent_bits(peaks.values())
    cpu = options.device == "cpu"
    tensors: dict[str, TensorPlan] = {}
    layers = {}

    def data(peak: float) -> TensorPlan | None:
        width = bits.get("data", bits.get("all", FLOAT_BITS))
        # the CPU code trims no data where weights are powers of two
        if width == FLOAT_BITS or (options.numbers == "power-of-two" and cpu):
            return None
        if options.numbers == "minifloat":
            return TensorPlan(_minifloat(width, exponent_bits, cpu))
        # one bit less than the peak needs: no room for the sign
        return TensorPlan(_fixed(width, peak, 0))

    for node in network.weighted:
        name, own = node.name, peaks[node.name]
        part = "fc" if node.layer.flat else "conv"
        width = bits.get(part, bits.get("all", FLOAT_BITS))
        weight: Number | None = None
        bias: Number | None = None
        if width != FLOAT_BITS:
            largest = float(np.abs(weights.weight[name]).max(initial=0.0))
            match options.numbers:
                case "minifloat":
                    weight = bias = _minifloat(width, exponent_bits, cpu)
                case "power-of-two":
                    weight = PowerOfTwo(-(1 << (width - 1)), -1)
                case _:
                    # biases get the format of the weights, however large they are
                    weight = bias = _fixed(width, largest, 1)
        layers[name] = LayerPlan(weight, bias)
        for tensor, entry in ((node.inputs[0], data(own.read)), (name, data(own.made))):
            if entry is not None:
                tensors[tensor] = entry
                if tensor == name and _seen(network, node) != name:
                    tensors[_seen(network, node)] = entry
    settings = {"numbers": options.numbers, "device": options.device, **bits}
    if options.numbers == "minifloat":
        settings["exponent_bits"] = exponent_bits
    return Plan(
        network=network.name,
        parameters=dict(network.parameters),
        scheme="ristretto",
        tensors=tensors,
        layers=layers,
        rounding=Rounding.TIES_AWAY if cpu else Rounding.TIES_EVEN,
        options=settings,
        arithmetic=FLOAT,
    )


def halving(
    network: Network, statistics: Statistics | None, options: Options
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """(parts whose bits are searched one by one, widths to try in order).

    Ristretto goes on to 1 bit, whose two's complement values are -1 and 0; formats here have 2.
    Raises OptionError for powers of two, which it does not search.
    """
    widths = (16, 8, 4, 2)
    if options.numbers == "power-of-two":
        raise OptionError("--delta with --numbers power-of-two", "fixed or minifloat")
    if options.numbers == "minifloat":
        assert statistics is not None  # wanted asked for them
        used = _exponent_bits(_peaks(network, statistics, node) for node in network.weighted)
        return ("all",), tuple(width for width in widths if width - 1 - used > 0)
    dense = len(network.weighted) > len(network.convolutions)
    return ("conv", "fc", "data") if dense else ("conv", "data"), widths


def _seen(network: Network, node: Node) -> str:
    """The tensor in which Ristretto finds a layer's output after a pass: a ReLU that alone reads it
    has overwritten it in place."""
    readers = network.consumers[node.name]
    if len(readers) == 1 and readers[0].layer.takes_sums:
        return readers[0].name
    return node.name


def _peaks(network: Network, statistics: Statistics, node: Node) -> Peaks:
    return Peaks(
        max(map(abs, statistics.extremes[node.inputs[0]])),
        max(map(abs, statistics.extremes[_seen(network, node)])),
    )


def _fixed(bits: int, peak: float, sign: int) -> FixedPointFormat:
    """il = ceil(log2 peak) + sign integer bits, all others fraction bits."""
    integer_bits = choice.magnitude_bits(np.array([peak])) + sign
    return FixedPointFormat(bits, within(bits - integer_bits))


def _minifloat(bits: int, exponent_bits: int, cpu: bool) -> MiniFloat:
    if bits - 1 - exponent_bits < 0:
        raise FormatError(
            f"minifloats of {bits} bits with {exponent_bits} exponent bits",
            f"{exponent_bits + 1} or more bits",
        )
    return MiniFloat(exponent_bits, bits - 1 - exponent_bits, until_zero=cpu)


def _exponent_bits(peaks: Iterable[Peaks]) -> int:
    """ceil(log2(log2(peak) - 1) + 1) of the greatest peak, and 4 at least.

    Weights are not looked at. Peaks to 2 have no such logarithm and decide nothing.
    """
    most = LEAST_EXPONENT_BITS
    for own in peaks:
        for peak in (own.read, own.made):
            if peak > 2.0:
                most = max(most, math.ceil(math.log2(math.log2(peak) - 1) + 1))
    return most
