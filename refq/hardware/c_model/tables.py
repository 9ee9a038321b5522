"""What a C model is made of: the layers of a golden set that can be computed from its arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refq.errors import OptionError

Entry = Mapping[str, Any]

VERSION = 1
MAC_ORDER = ["bias", "input channel", "kernel row", "kernel column"]
STAGES = ("accumulator", "base_sum", "residual_sum", "sum", "rounded", "code", "value")
COEFFICIENTS = ("weight", "weight_shift")
CLUSTERS = ("base", "base_shift", "residual", "residual_shift", "labels", "base_raise")
# the storage codes that the C model has, as plan.h names them, and their arrays
STORAGE = {"shift": "ENQ", "codebook": "KNQ"}
CODE_STAGES = ("shift", "codebook", "thresholds")
WEIGHTED = ("Conv", "Dense")
WIDE = (*WEIGHTED, "Add")
KINDS = {
    "Conv": "CONV",
    "Dense": "DENSE",
    "MaxPool": "MAX_POOL",
    "AvgPool": "AVG_POOL",
    "GlobalAvgPool": "AVG_POOL",
    "LRN": "LRN",
    "ReLU": "RELU",
    "Concat": "CONCAT",
    "Add": "ADD",
    "Subsample": "SUBSAMPLE",
    "Softmax": "SOFTMAX",
}
# sums and what is divided stay below 2**62, so that no step of the C model leaves 64 bits
MOST_BITS = 62
# a softmax's power has 31 bits before it is shifted by so many
MOST_SHARE_BITS = 31


@dataclass(frozen=True)
class Layer:
    """A layer of the model. entry: the manifest's. given: its operands are taken from the set.
    arrays: {stage or parameter: the manifest's entry}, an array under its own stage alone. reads:
    the stage that readers take. coded_by: the layer that has the numbers of its storage code.
    rounds_sums: codes are made from sums by a shift of their own."""

    entry: Entry
    given: bool
    inputs: tuple[int, ...]
    arrays: Mapping[str, Entry]
    reads: str
    coded_by: int
    rounds_sums: bool

    @property
    def name(self) -> str:
        found: str = self.entry["name"]
        return found

    @property
    def stored(self) -> Entry | None:
        found: Entry | None = self.entry["stored"]
        return found


@dataclass(frozen=True)
class Model:
    """Everything that layers.c says."""

    manifest: Entry
    images: int
    layers: tuple[Layer, ...]


def model(manifest: Entry) -> Model:
    """The layers of a golden set, in order. Raises OptionError for what the C model cannot do."""
    _check_form(manifest)
    arrays: dict[str, dict[str, Entry]] = {}
    for array in manifest["arrays"]:
        arrays.setdefault(array["layer"], {})[array["stage"]] = array
    listed = [entry for entry in manifest["layers"] if entry["name"] in arrays]
    found: list[Layer] = []
    for entry in listed:
        found.append(_layer(entry, arrays[entry["name"]], found))
    if all(layer.given for layer in found):
        raise OptionError(
            "a golden set without a layer to compute",
            "layers with tensors and parameters",
            "export with images and without --stages",
        )
    images = {array["shape"][0] for array in manifest["arrays"] if array["kind"] == "tensor"}
    return Model(manifest, images.pop(), tuple(found))


def _check_form(manifest: Entry) -> None:
    remedy = "export with --format raw"
    if manifest["refq_golden"] != VERSION:
        raise OptionError(f"a golden set of version {manifest['refq_golden']}", f"{VERSION}")
    if manifest["mac_order"] != MAC_ORDER:
        raise OptionError(f"MACs in the order {manifest['mac_order']}", f"{MAC_ORDER}")
    form = (manifest["format"], manifest["layout"], manifest["packing"]["byte_order"])
    if form != ("raw", "NCHW", "little"):
        raise OptionError(
            f"vectors in {form[0]}, {form[1]}, {form[2]}-endian", "raw, NCHW, little-endian", remedy
        )


def _layer(entry: Entry, arrays: Mapping[str, Entry], before: Sequence[Layer]) -> Layer:
    name, kind, stored = entry["name"], entry["type"], entry["stored"]
    if stored and stored["code"] and stored["code"]["kind"] not in STORAGE:
        kinds = ", ".join(STORAGE)
        raise OptionError(f"layer {name} stored by a {stored['code']['kind']}", f"one of {kinds}")
    numbers = {layer.name: number for number, layer in enumerate(before)}
    reads = "sum" if stored is None else "value" if stored["code"] else "code"
    _need(name, [reads], arrays)
    # of layers that it does not cover a set holds what others read and how it is stored, no more
    outside = set(arrays) <= {reads, "code", "value", *CODE_STAGES}
    missing = [source for source in entry["inputs"] if source not in numbers]
    if kind == "Input" or (outside and (missing or kind in WIDE)):
        held = {stage: arrays[stage] for stage in (reads, *CODE_STAGES) if stage in arrays}
        return Layer(entry, True, (), held, reads, len(before), False)
    if missing:
        raise OptionError(f"a golden set without {missing[0]}, which {name} reads", "it", _REMEDY)
    if kind not in KINDS:
        raise OptionError(f"layer {name} of type {kind}", f"one of {', '.join(KINDS)}")
    inputs = tuple(numbers[source] for source in entry["inputs"])
    sources = [before[number] for number in inputs]
    makes_sums = kind in WIDE or (kind == "ReLU" and sources[0].stored is None)
    rounds_sums = stored is not None and makes_sums
    _need(name, _parameters(entry, arrays, rounds_sums), arrays)
    coded_by = len(before)
    if stored and stored["code"]:
        if kind in ("MaxPool", "Concat", "Subsample") or (kind == "ReLU" and not makes_sums):
            coded_by = _coder(sources, before)
        else:
            _need(name, _code(stored["code"], arrays), arrays)
    _check_widths(entry, sources, arrays)
    return Layer(entry, False, inputs, arrays, reads, coded_by, rounds_sums)


def _coder(sources: Sequence[Layer], before: Sequence[Layer]) -> int:
    """The layer that has the numbers of the storage code of what only moves codes: any of those
    whose codes are moved, as they have one format. Raises OptionError where the set has none."""
    for source in sources:
        coder = before[source.coded_by]
        if any(stage in coder.arrays for stage in CODE_STAGES):
            return source.coded_by
    name = before[sources[0].coded_by].name
    raise OptionError(f"a golden set without the storage code of {name}", "it", _REMEDY)


_REMEDY = "export without --stages, from the layers on that these read"


def _need(layer: str, stages: Sequence[str], arrays: Mapping[str, Entry]) -> None:
    """Raises OptionError for the first stage that is not there."""
    for stage in stages:
        if stage not in arrays:
            raise OptionError(f"a golden set without {layer}.{stage}", "it", _REMEDY)


def _parameters(entry: Entry, arrays: Mapping[str, Entry], rounds_sums: bool) -> list[str]:
    """What a layer cannot be computed without."""
    needed = ["requantize_shift"] if rounds_sums else []
    if entry["type"] in WEIGHTED:
        clustered = any(stage in arrays for stage in CLUSTERS)
        needed += [*(CLUSTERS if clustered else COEFFICIENTS), "bias", "bias_shift"]
    if entry["type"] == "Add":
        needed.append("operand_shift")
    return needed


def _code(code: Entry, arrays: Mapping[str, Entry]) -> list[str]:
    if code["kind"] == "shift":
        return ["shift"]
    # a codebook of a single value has no thresholds
    one = "codebook" in arrays and arrays["codebook"]["shape"] == [1]
    return ["codebook"] if one else ["codebook", "thresholds"]


def _check_widths(entry: Entry, sources: Sequence[Layer], arrays: Mapping[str, Entry]) -> None:
    """Raises OptionError where numbers could leave 64 bits, or a layer's attributes are beyond the
    contract."""
    name, kind, stored = entry["name"], entry["type"], entry["stored"]
    for stage in STAGES[:4]:
        if stage in arrays and arrays[stage]["bits"] > MOST_BITS + 1:
            _too_wide(f"{name}.{stage}", arrays[stage]["bits"])
    if kind in ("AvgPool", "GlobalAvgPool", "LRN", "Softmax"):
        read = sources[0].stored
        assert read is not None
        assert stored is not None
        bits = read["bits"] + max(read["drops"], default=0)
        finer = stored["frac_bits"] - read["frac_bits"]
        if kind == "LRN":
            _check_normalisation(name, entry["attributes"], bits)
        elif kind == "Softmax":
            if stored["code"] or not 0 <= stored["frac_bits"] <= MOST_SHARE_BITS:
                raise OptionError(
                    f"softmax {name} in {stored['frac_bits']} fraction bits",
                    f"0 to {MOST_SHARE_BITS}, and no storage code",
                )
        else:
            cells = math.prod(entry["attributes"].get("kernel", sources[0].entry["shape"][1:]))
            if bits + cells.bit_length() + abs(finer) > MOST_BITS:
                _too_wide(f"the mean {name}", bits + cells.bit_length() + abs(finer))


def _check_normalisation(name: str, attributes: Entry, bits: int) -> None:
    quarters = 4 * attributes["beta"]
    if quarters != int(quarters) or quarters < 0:
        raise OptionError(f"LRN {name} with beta {attributes['beta']}", "a multiple of 1/4")
    wide = 2 * bits + int(attributes["size"]).bit_length()
    if wide > MOST_BITS:
        _too_wide(f"the sum of squares of {name}", wide)


def _too_wide(what: str, bits: int) -> None:
    raise OptionError(f"{what} of {bits} bits", f"at most {MOST_BITS} in the C model")
