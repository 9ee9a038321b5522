"""The manifest of a golden set, written and read here alone: what every file holds, to the bit
(docs/golden-vectors.md)."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refq.errors import DataError, OptionError, RefqError
from refq.files import json_
from refq.hardware.files.files import sha256, within
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing
from refq.hardware.golden.arrays import PARAMETER, TENSOR, GoldenArray
from refq.hardware.golden.form import Form
from refq.networks.graph import INPUT, Network
from refq.plans import plan as plans
from refq.plans.check import check_integers
from refq.plans.plan import Plan, TensorPlan

NAME = "manifest.json"
VERSION = 1
MAC_ORDER = ("bias", "input channel", "kernel row", "kernel column")
IMAGE = "Input"  # the type of the image, which is no layer
WRITTEN = "what refq.export writes"
# of what was exported; told for people, asked by nobody
ABOUT = ("weights", "images", "versions")
# one image of the largest layers has some 10**7 words; nothing sound comes near
MOST_WORDS = 1 << 40


@dataclass(frozen=True)
class Layer:
    """A layer of the network, or the image. attributes: by ONNX's names. shape: of its output for
    one image."""

    name: str
    type: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class File:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """layers: all of the network, in order, by name. arrays: in order of computation. digests:
    SHA-256 of each array's logical codes, by its name. files: by name. about: of weights, images
    and versions."""

    plan: Plan
    form: Form
    layers: Mapping[str, Layer]
    arrays: tuple[GoldenArray, ...]
    digests: Mapping[str, str]
    files: Mapping[str, File]
    about: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, which from_json reads."""
        plan = self.plan.to_json()
        return {
            "refq_golden": VERSION,
            **{key: plan[key] for key in OF_PLAN},
            "mac_order": list(MAC_ORDER),
            "format": self.form.format,
            "layout": self.form.layout.name,
            "tile": self.form.layout.tile,
            "packing": dataclasses.asdict(self.form.packing),
            **self.about,
            "layers": [self._layer(layer, plan["layers"]) for layer in self.layers.values()],
            "arrays": [self._array(array) for array in self.arrays],
            "plan": plan,
            "files": {name: dataclasses.asdict(file) for name, file in self.files.items()},
        }

    def _layer(self, layer: Layer, planned: Mapping[str, Any]) -> dict[str, Any]:
        kept = self.plan.tensors.get(layer.name)
        return {
            **dataclasses.asdict(layer),
            "inputs": list(layer.inputs),
            "shape": list(layer.shape),
            "accumulator": planned[layer.name]["accumulator"] if layer.name in planned else None,
            "stored": _stored(kept) if kept else None,
        }

    def _array(self, array: GoldenArray) -> dict[str, Any]:
        stored = self.form.stored(array)
        return {
            "name": array.name,
            "layer": array.layer,
            "stage": array.stage,
            "kind": array.kind,
            "shape": list(array.shape),
            "stored_shape": list(stored.shape),
            "stored_axes": list(stored.axes),
            "bits": array.bits,
            "signed": array.signed,
            "frac_bits": array.frac_bits,
            "format": array.format,
            "file": self.form.file(array),
            "codes_sha256": self.digests[array.name],
            "also": list(array.also),
        }


# what is told beside the plan, and is the plan's
OF_PLAN = ("network", "parameters", "scheme", "rounding", "overflow", "seed")
OF_LAYERS = ("accumulator", "stored")


def layers_of(network: Network) -> dict[str, Layer]:
    """The image and all nodes of a network, by name."""
    shapes = network.shapes
    nodes = {
        node.name: Layer(
            node.name, node.layer.kind, node.inputs, node.layer.attributes, shapes[node.name]
        )
        for node in network.nodes
    }
    return {INPUT: Layer(INPUT, IMAGE, (), {}, shapes[INPUT]), **nodes}


def files_of(folder: Path) -> dict[str, File]:
    """All files in a folder, by name."""
    return {path.name: File(path.stat().st_size, sha256(path)) for path in sorted(folder.iterdir())}


def _stored(kept: TensorPlan) -> dict[str, Any]:
    """A stored tensor's format and code, codebooks left to their own arrays."""
    code = kept.code.described() if kept.code else None
    return {**dataclasses.asdict(kept.fixed), "code": code, "drops": list(kept.drops)}


def check_names(arrays: Sequence[GoldenArray], form: Form) -> None:
    """Raises OptionError where two arrays' files would have one name."""
    names = [form.stored(array).name for array in arrays]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(f"two arrays named {twice[0]}", "layers whose names differ", "rename one")


def save(folder: Path, manifest: Manifest) -> None:
    text = json.dumps(manifest.to_json(), indent=1, allow_nan=False)
    (folder / NAME).write_text(text + "\n")


def load(folder: Path) -> Manifest:
    """A folder's manifest. Raises DataError where there is none, or one that makes no sense."""
    stored = read(folder)
    try:
        return from_json(stored)
    except RefqError as error:
        raise DataError(f"{folder / NAME}: {error}") from None


def read(folder: Path) -> dict[str, Any]:
    """A manifest's JSON, not looked into. Raises DataError where there is none."""
    return json_.load(within(folder, NAME), "manifest", DataError, WRITTEN)


# what reading plain values of a wrong kind raises
WRONG_KIND = (LookupError, TypeError, ValueError, AttributeError, OverflowError)


def from_json(stored: Mapping[str, Any]) -> Manifest:
    """The inverse of Manifest.to_json. Raises RefqError for anything else, and where what is told
    beside the plan is not the plan's."""
    if stored.get("refq_golden") != VERSION:
        raise DataError(f"refq_golden {stored.get('refq_golden')!r}", f"{VERSION}, a golden set")
    try:
        plan = plans.from_json(stored["plan"])
        layers = {each["name"]: _layer_of(each) for each in stored["layers"]}
        form = _form(stored)
        listed = [_array_of(each, form) for each in stored["arrays"]]
        manifest = Manifest(
            plan,
            form,
            layers,
            tuple(listed),
            {each["name"]: _text(each["codes_sha256"]) for each in stored["arrays"]},
            {name: _file(each) for name, each in stored["files"].items()},
            {key: stored[key] for key in ABOUT if key in stored},
        )
        _check(manifest, stored)
    except WRONG_KIND as error:
        raise DataError(f"{type(error).__name__} {error}", WRITTEN) from None
    return manifest


def form_of_device(folder: Path, golden: Form) -> tuple[Form | None, Layout]:
    """What a device's manifest, if it has one, says of its files by the golden manifest's keys:
    (its form, where it tells the packing; its layout). What it leaves out is the golden set's."""
    if not (folder / NAME).is_file():
        return None, golden.layout
    stored = read(folder)
    whole = {"format": golden.format, "layout": golden.layout.name, "tile": golden.layout.tile}
    try:
        form = _form({**whole, "packing": dataclasses.asdict(golden.packing), **stored})
        form.module  # noqa: B018 - a format that is not known fails here
    except WRONG_KIND as error:
        told = f"{folder / NAME}: {type(error).__name__} {error}"
        raise DataError(told, "format, packing") from None
    except RefqError as error:
        raise DataError(f"{folder / NAME}: {error}") from None
    return form if "packing" in stored else None, form.layout


def _form(stored: Mapping[str, Any]) -> Form:
    packing = stored["packing"]
    lanes, tile = (_whole(each, 0, MOST_WORDS) for each in (packing["lanes"], stored["tile"]))
    return Form(
        _text(stored["format"]),
        Layout(stored["layout"], tile),
        Packing(lanes, packing["lane_order"], packing["byte_order"]),
    )


def _layer_of(stored: Mapping[str, Any]) -> Layer:
    name, kind = _text(stored["name"]), _text(stored["type"])
    inputs = tuple(map(_text, stored["inputs"]))
    if not inputs and kind != IMAGE:
        raise ValueError(f"layer {name} without inputs")
    return Layer(name, kind, inputs, dict(stored["attributes"]), _sizes(stored["shape"]))


def _array_of(stored: Mapping[str, Any], form: Form) -> GoldenArray:
    frac_bits = stored["frac_bits"]
    if frac_bits is not None and np.array(frac_bits).dtype.kind != "i":
        raise TypeError(f"frac_bits {frac_bits!r}, not whole numbers")
    array = GoldenArray(
        _text(stored["layer"]),
        _text(stored["stage"]),
        _text(stored["kind"]),
        _sizes(stored["shape"]),
        _whole(stored["bits"], 1, 63),
        _flag(stored["signed"]),
        frac_bits,
        tuple(map(_text, stored["also"])),
    )
    if array.kind not in (TENSOR, PARAMETER) or array.name != stored["name"]:
        raise ValueError(f"{stored['name']!r} as {array.kind} {array.name}")
    for name in array.names:
        # layers' slashes may be folders of a device's, within its own
        if not name.isprintable() or {"", ".", ".."} & set(re.split(r"[/\\]", name)):
            raise ValueError(f"{name!r} as the name of an array")
    lies, name = _sizes(stored["stored_shape"]), array.name
    if form.layout.stored_shape(array.shape) != lies or math.prod(lies) > MOST_WORDS:
        raise ValueError(f"stored_shape {lies} of {name}, {array.shape} in {form.layout}")
    if stored["file"] != form.file(array):
        raise ValueError(f"file {stored['file']!r} of {name}, not {form.file(array)}")
    array.fractions  # noqa: B018 - fraction bits that do not fit the shape fail here
    return array


def _file(stored: Mapping[str, Any]) -> File:
    return File(_whole(stored["bytes"], 0, 1 << 62), _text(stored["sha256"]))


def _check(manifest: Manifest, stored: Mapping[str, Any]) -> None:
    """Raises DataError where the parts do not fit together."""
    plan, layers = manifest.plan, manifest.layers
    if plan.arithmetic != plans.INTEGER:
        raise DataError(f"a plan of {plan.arithmetic} arithmetic", WRITTEN)
    check_integers(plan)
    for name, kept in plan.tensors.items():
        if len(kept.drops) not in (0, layers[name].shape[0]):
            told = f"a plan with {len(kept.drops)} formats of feature maps in {name}"
            raise DataError(told, f"{layers[name].shape[0]}")
    for name, planned in plan.layers.items():
        bits = planned.accumulator.bits
        if isinstance(bits, tuple) and len(bits) != layers[name].shape[0]:
            told = f"a plan with {len(bits)} accumulators in {name}"
            raise DataError(told, f"{layers[name].shape[0]}")
    for array in manifest.arrays:
        shape = layers[array.layer].shape
        # a base's sums are of fewer maps
        if array.kind == TENSOR and array.stage != "base_sum" and array.shape[1:] != shape:
            raise DataError(f"{array.name} of shape {array.shape}", f"{shape} of each image")
    written = manifest.to_json()
    for key in (*OF_PLAN, "mac_order"):
        if stored[key] != written[key]:
            raise DataError(f"{key} {stored[key]!r}", f"{written[key]!r}, as in its plan")
    for told, wanted in zip(stored["layers"], written["layers"], strict=True):
        for key in OF_LAYERS:
            if told[key] != wanted[key]:
                raise DataError(f"layer {told['name']}: {key} {told[key]}", "what its plan says")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _whole(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{value!r} is no whole number from {least} to {most}")
    return value


def _sizes(stored: Any) -> tuple[int, ...]:
    return tuple(_whole(each, 0, MOST_WORDS) for each in stored)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value
