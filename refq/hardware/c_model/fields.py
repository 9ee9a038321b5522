"""Fields of plan.h's struct layer that tell what a layer does, from the manifest's entries of it
and of the first layer that it reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import Any

Entry = Mapping[str, Any]
Fields = dict[str, Any]

# exponentials of distances 2^0 to 2^62
EXPONENTIALS = 63


def three(shape: Sequence[int]) -> list[int]:
    """Channels, rows, columns; after a dense layer one pixel."""
    if len(shape) > 3:
        return [shape[0], math.prod(shape[1:-1]), shape[-1]]
    return [*shape, *[1] * (3 - len(shape))]


def exponentials(frac_bits: int) -> list[int]:
    """round(2^30 exp(-2^(b - F))) for b from 0 on (contract section 4)."""
    with localcontext() as context:
        context.prec = 60
        constants = []
        for b in range(EXPONENTIALS):
            # beyond 2^6 nothing is left of 30 bits
            power = Decimal(2) ** min(b - frac_bits, 6)
            constant = (-power).exp() * 2**30
            constants.append(int(constant.to_integral_value(ROUND_HALF_EVEN)))
        return constants


def window(entry: Entry, source: Entry) -> Fields:
    attributes = entry["attributes"]
    sizes = [*attributes["kernel"], *attributes["strides"], *attributes["pads"]]
    return {
        "window": [
            *sizes,
            int(attributes.get("ceil_mode", False)),
            *attributes.get("dilations", (1, 1)),
        ],
        "group": attributes.get("group", 1),
        "count_padding": int(attributes.get("count_include_pad", False)),
    }


def pixel(entry: Entry, source: Entry) -> Fields:
    """Of a dense layer: its input is one pixel of as many channels as it has words."""
    return {"window": [1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1]}


def over_axes(entry: Entry, source: Entry) -> Fields:
    """Of a pool over rows, columns, or both: windows, and the output as a map of them."""
    channels, *sizes = source["shape"]
    gone = [axis in entry["attributes"]["axes"] for axis in (1, 2)]
    kernel = [size if pooled else 1 for size, pooled in zip(sizes, gone)]
    made = [1 if pooled else size for size, pooled in zip(sizes, gone)]
    return {"shape": [channels, *made], "window": [*kernel, 1, 1, 0, 0, 0, 0, 0, 1, 1]}


def subsampling(entry: Entry, source: Entry) -> Fields:
    attributes = entry["attributes"]
    window = [1, 1, *attributes["strides"], 0, 0, 0, 0, 0, 1, 1]
    return {"window": window, "zeros_before": attributes["channels"][0]}


def normalisation(entry: Entry, source: Entry) -> Fields:
    attributes = entry["attributes"]
    numbers = [float(attributes[name]).hex() for name in ("alpha", "bias")]
    quarters, per_window = int(4 * attributes["beta"]), int(attributes["per_window"])
    return {"normalisation": [attributes["size"], *numbers, quarters, per_window]}


def along(entry: Entry, source: Entry) -> Fields:
    return {"axis": entry["attributes"]["axis"]}


def shares(entry: Entry, source: Entry) -> Fields:
    return {**along(entry, source), "exponentials": exponentials(source["stored"]["frac_bits"])}


def bounds(entry: Entry, source: Entry) -> Fields:
    """Which of a clip's bounds do something: those that are not beyond the format's range on their
    own side."""
    stored, (low, high) = entry["stored"], (entry["attributes"][end] for end in ("low", "high"))
    lost = int(stored["signed"])
    least, most = -lost << (stored["bits"] - 1), (1 << (stored["bits"] - lost)) - 1
    one = Fraction(2) ** stored["frac_bits"]
    has_low = low is not None and math.isfinite(low) and round(Fraction(low) * one) >= least
    has_high = high is not None and math.isfinite(high) and round(Fraction(high) * one) <= most
    return {"has_low": int(has_low), "has_high": int(has_high)}


def rearrangement(entry: Entry, source: Entry) -> Fields:
    split, order = (list(entry["attributes"][name]) for name in ("split", "axes"))
    return {"split_axes": len(split), "split": split or [1], "order": order or [0]}


def part(entry: Entry, source: Entry) -> Fields:
    attributes = entry["attributes"]
    return {"first": list(attributes["starts"]), "step": list(attributes["steps"])}


def padding(entry: Entry, source: Entry) -> Fields:
    attributes = entry["attributes"]
    return {"first": list(attributes["before"]), "padding": attributes["mode"].upper()}


def resizing(entry: Entry, source: Entry) -> Fields:
    attributes = entry["attributes"]
    names = [attributes[name].upper() for name in ("coordinates", "nearest_mode")]
    axes = []
    for axis, length in enumerate(source["shape"][1:]):
        count = attributes["size"][axis]
        scale = Fraction(count, length)
        if attributes["scales"] is not None:
            # float32 has the sizes' ratio to 22 bits, or is a scale of its own
            stated = Fraction(attributes["scales"][axis])
            if abs(stated / scale - 1) * 2**22 > 1:
                scale = stated.limit_denominator(1 << 20)
        axes.append([length, count, scale.numerator, scale.denominator, *names])
    return {"is_linear": int(attributes["mode"] == "linear"), "resizing": axes}
