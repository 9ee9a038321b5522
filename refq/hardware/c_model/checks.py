"""What the C model refuses of a layer before it writes anything: numbers that could leave 64 bits,
and what it has no way to compute."""

from __future__ import annotations

import math

from refq.errors import OptionError
from refq.hardware.c_model.fields import Entry

# sums and what is divided stay below 2**62, so that no step of the C model leaves 64 bits
MOST_BITS = 62
# a softmax's power has 31 bits before it is shifted by so many
MOST_SHARE_BITS = 31
# plan.h's, less the one of images
MOST_AXES = 11
# a function's table in a golden set has no more codes than this many bits make
MOST_TABLE_BITS = 16
# of a resize between two rows, then between two columns
WEIGHT_BITS = 24


def too_wide(what: str, bits: int) -> OptionError:
    return OptionError(f"{what} of {bits} bits", f"at most {MOST_BITS} in the C model")


def axes(entry: Entry, source: Entry) -> None:
    _few_axes(entry["name"], len(entry["shape"]))


def rearrangement(entry: Entry, source: Entry) -> None:
    axes(entry, source)
    _few_axes(entry["name"], len(entry["attributes"]["split"]))


def mean(entry: Entry, source: Entry) -> None:
    cells = math.prod(entry["attributes"].get("kernel", source["shape"][1:]))
    finer = abs(entry["stored"]["frac_bits"] - source["stored"]["frac_bits"])
    bits = read_bits(source) + cells.bit_length() + finer
    if bits > MOST_BITS:
        raise too_wide(f"the mean {entry['name']}", bits)


def normalisation(entry: Entry, source: Entry) -> None:
    attributes, name = entry["attributes"], entry["name"]
    quarters = 4 * attributes["beta"]
    if quarters != int(quarters) or quarters < 0:
        raise OptionError(f"LRN {name} with beta {attributes['beta']}", "a multiple of 1/4")
    bits = 2 * read_bits(source) + int(attributes["size"]).bit_length()
    if bits > MOST_BITS:
        raise too_wide(f"the sum of squares of {name}", bits)


def shares(entry: Entry, source: Entry) -> None:
    axes(entry, source)
    frac_bits = entry["stored"]["frac_bits"]
    if not 0 <= frac_bits <= MOST_SHARE_BITS:
        raise OptionError(
            f"softmax {entry['name']} in {frac_bits} fraction bits", f"0 to {MOST_SHARE_BITS}"
        )


def function(entry: Entry, source: Entry) -> None:
    axes(entry, source)
    bits = read_bits(source)
    if bits > MOST_TABLE_BITS:
        raise OptionError(
            f"function {entry['name']} of codes of {bits} bits",
            f"at most {MOST_TABLE_BITS}, for which a golden set has its table",
            "export with a narrower --bits-act",
        )


def resizing(entry: Entry, source: Entry) -> None:
    bits = read_bits(source) + WEIGHT_BITS
    if entry["attributes"]["mode"] == "linear" and bits > MOST_BITS:
        raise too_wide(f"the sums of {entry['name']}", bits)


def read_bits(source: Entry) -> int:
    """Bits of the codes that are read of a layer, at its full fraction bits."""
    bits: int = source["stored"]["bits"] + max(source["stored"]["drops"], default=0)
    return bits


def _few_axes(name: str, count: int) -> None:
    if count > MOST_AXES:
        raise OptionError(f"layer {name} of {count} axes", f"at most {MOST_AXES} in the C model")
