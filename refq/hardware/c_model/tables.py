"""What a C model is made of: the layers of a golden set that can be computed from its arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from refq.errors import OptionError
from refq.hardware.c_model.checks import MOST_BITS, too_wide
from refq.hardware.c_model.fields import Entry
from refq.hardware.c_model.kinds import KINDS
from refq.networks import layers

VERSION = 1
MAC_ORDER = ["bias", "input channel", "kernel row", "kernel column"]
STAGES = ("accumulator", "base_sum", "residual_sum", "sum", "rounded", "code", "value")
COEFFICIENTS = ("weight", "weight_shift")
CLUSTERS = ("base", "base_shift", "residual", "residual_shift", "labels", "base_raise")
# the storage codes that the C model has, as plan.h names them, and their arrays
STORAGE = {"shift": "ENQ", "codebook": "KNQ"}
CODE_STAGES = ("shift", "codebook", "thresholds")


@dataclass(frozen=True)
class Layer:
    """A layer of the model. entry: the manifest's. given: its operands are taken from the set.
    arrays: {stage or parameter: the manifest's entry}, an array under its own stage alone. reads:
    the stage that readers take. coded_by: the layer that has the numbers of its storage code.
    rounds: codes are made from exact numbers by a shift of their own."""

    entry: Entry
    given: bool
    inputs: tuple[int, ...]
    arrays: Mapping[str, Entry]
    reads: str
    coded_by: int
    rounds: bool

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
    layers: list[Layer] = []
    for entry in listed:
        layers.append(_layer(entry, arrays[entry["name"]], layers, manifest["rounding"]))
    if all(layer.given for layer in layers):
        raise OptionError(
            "a golden set without a layer to compute",
            "layers with tensors and parameters",
            "export with images and without --stages",
        )
    images = {array["shape"][0] for array in manifest["arrays"] if array["kind"] == "tensor"}
    return Model(manifest, images.pop(), tuple(layers))


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


def _layer(
    entry: Entry, arrays: Mapping[str, Entry], before: Sequence[Layer], rounding: str
) -> Layer:
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
    of_type = KINDS.get(kind)
    if kind == "Input" or (outside and (missing or (of_type and of_type.layer.makes_sums))):
        held = {stage: arrays[stage] for stage in (reads, *CODE_STAGES) if stage in arrays}
        return Layer(entry, True, (), held, reads, len(before), False)
    if missing:
        raise OptionError(f"a golden set without {missing[0]}, which {name} reads", "it", _REMEDY)
    if of_type is None:
        raise OptionError(f"layer {name} of type {kind}", f"one of {', '.join(KINDS)}")
    inputs = tuple(numbers[source] for source in entry["inputs"])
    sources = [before[number] for number in inputs]
    layer = of_type.layer
    has_sums = layer.makes_sums or (layer.takes_sums and sources[0].stored is None)
    exact = of_type.exact(entry["attributes"])
    rounds = stored is not None and (has_sums or exact)
    of_type.check(entry, sources[0].entry)
    if "table" in of_type.needs and "table" not in arrays and rounding == "stochastic":
        raise OptionError(
            f"function {name} under stochastic rounding",
            "another rounding, for which a golden set has its table",
        )
    needed = [*_parameters(layer, arrays), *of_type.parameters(entry["attributes"])]
    _need(name, ["requantize_shift", *needed] if rounds else needed, arrays)
    coded_by = len(before)
    if stored and stored["code"]:
        if not exact and (layer.moves_codes or (layer.moves_stored and not has_sums)):
            coded_by = _coder(sources, before)
        else:
            _need(name, _code(stored["code"], arrays), arrays)
    for stage in STAGES[:4]:
        if stage in arrays and arrays[stage]["bits"] > MOST_BITS + 1:
            raise too_wide(f"{name}.{stage}", arrays[stage]["bits"])
    return Layer(entry, False, inputs, arrays, reads, coded_by, rounds)


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


def _parameters(layer: type[layers.Layer], arrays: Mapping[str, Entry]) -> list[str]:
    """What a layer with weights cannot be computed without."""
    if not layer.weighted:
        return []
    clustered = any(stage in arrays for stage in CLUSTERS)
    return [*(CLUSTERS if clustered else COEFFICIENTS), "bias", "bias_shift"]


def _code(code: Entry, arrays: Mapping[str, Entry]) -> list[str]:
    if code["kind"] == "shift":
        return ["shift"]
    # a codebook of a single value has no thresholds
    one = "codebook" in arrays and arrays["codebook"]["shape"] == [1]
    return ["codebook"] if one else ["codebook", "thresholds"]
