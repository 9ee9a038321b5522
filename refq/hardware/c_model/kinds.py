"""The layer types that the C model has, each in one place: what plan.h calls it, the fields that
tell its attributes, and what steps.c cannot compute of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from refq.errors import OptionError
from refq.networks import layers

Entry = Mapping[str, Any]
Fields = dict[str, Any]

# sums and what is divided stay below 2**62, so that no step of the C model leaves 64 bits
MOST_BITS = 62
# a softmax's power has 31 bits before it is shifted by so many
MOST_SHARE_BITS = 31
# exponentials of distances 2^0 to 2^62
EXPONENTIALS = 63


def _nothing(*entries: Entry) -> Fields:
    return {}


@dataclass(frozen=True)
class Kind:
    """constant: in plan.h. layer: what refq says of the type. fields(attributes, source): of
    plan.h's struct layer, lists and numbers; check(entry, source): raises OptionError for numbers
    that could leave 64 bits, and for attributes beyond the contract. entry, source: of the layer
    and the first that it reads, as the manifest has them."""

    constant: str
    layer: type[layers.Layer]
    fields: Callable[[Entry, Entry], Fields] = _nothing
    check: Callable[[Entry, Entry], object] = _nothing


def three(shape: Sequence[int]) -> list[int]:
    """Channels, rows, columns; after a dense layer one pixel."""
    return [*shape, *[1] * (3 - len(shape))]


def too_wide(what: str, bits: int) -> OptionError:
    return OptionError(f"{what} of {bits} bits", f"at most {MOST_BITS} in the C model")


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


def _window(attributes: Entry, source: Entry) -> Fields:
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


def _whole(attributes: Entry, source: Entry) -> Fields:
    """Of what reads its whole input as one window."""
    rows, columns = three(source["shape"])[1:]
    return {"window": [rows, columns, 1, 1, 0, 0, 0, 0, 0, 1, 1]}


def _subsampling(attributes: Entry, source: Entry) -> Fields:
    window = [1, 1, *attributes["strides"], 0, 0, 0, 0, 0, 1, 1]
    return {"window": window, "zeros_before": attributes["channels"][0]}


def _normalisation(attributes: Entry, source: Entry) -> Fields:
    numbers = [float(attributes[name]).hex() for name in ("alpha", "bias")]
    quarters, per_window = int(4 * attributes["beta"]), int(attributes["per_window"])
    return {"normalisation": [attributes["size"], *numbers, quarters, per_window]}


def _shares(attributes: Entry, source: Entry) -> Fields:
    return {"exponentials": exponentials(source["stored"]["frac_bits"])}


def _check_mean(entry: Entry, source: Entry) -> None:
    cells = math.prod(entry["attributes"].get("kernel", source["shape"][1:]))
    finer = abs(entry["stored"]["frac_bits"] - source["stored"]["frac_bits"])
    bits = _read_bits(source) + cells.bit_length() + finer
    if bits > MOST_BITS:
        raise too_wide(f"the mean {entry['name']}", bits)


def _check_normalisation(entry: Entry, source: Entry) -> None:
    attributes, name = entry["attributes"], entry["name"]
    quarters = 4 * attributes["beta"]
    if quarters != int(quarters) or quarters < 0:
        raise OptionError(f"LRN {name} with beta {attributes['beta']}", "a multiple of 1/4")
    bits = 2 * _read_bits(source) + int(attributes["size"]).bit_length()
    if bits > MOST_BITS:
        raise too_wide(f"the sum of squares of {name}", bits)


def _check_shares(entry: Entry, source: Entry) -> None:
    stored = entry["stored"]
    if stored["code"] or not 0 <= stored["frac_bits"] <= MOST_SHARE_BITS:
        raise OptionError(
            f"softmax {entry['name']} in {stored['frac_bits']} fraction bits",
            f"0 to {MOST_SHARE_BITS}, and no storage code",
        )


def _read_bits(source: Entry) -> int:
    bits: int = source["stored"]["bits"] + max(source["stored"]["drops"], default=0)
    return bits


KINDS = {
    "Conv": Kind("CONV", layers.Conv, _window),
    "Dense": Kind("DENSE", layers.Dense, _whole),
    "MaxPool": Kind("MAX_POOL", layers.MaxPool, _window),
    "AvgPool": Kind("AVG_POOL", layers.AvgPool, _window, _check_mean),
    "GlobalAvgPool": Kind("AVG_POOL", layers.GlobalAvgPool, _whole, _check_mean),
    "LRN": Kind("LRN", layers.LRN, _normalisation, _check_normalisation),
    "ReLU": Kind("RELU", layers.ReLU),
    "Concat": Kind("CONCAT", layers.Concat),
    "Add": Kind("ADD", layers.Add),
    "Subsample": Kind("SUBSAMPLE", layers.Subsample, _subsampling),
    "Softmax": Kind("SOFTMAX", layers.Softmax, _shares, _check_shares),
}
