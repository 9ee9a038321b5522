"""The manifest of a golden set: what every file holds, to the bit (docs/golden-vectors.md)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refq.errors import OptionError
from refq.formats.codes import Codebook
from refq.hardware.files.files import sha256
from refq.hardware.golden.arrays import GoldenArray
from refq.hardware.golden.form import Form
from refq.networks.graph import INPUT, Network
from refq.plans.plan import Plan, TensorPlan

NAME = "manifest.json"
VERSION = 1
MAC_ORDER = ("bias", "input channel", "kernel row", "kernel column")


def content(
    network: Network,
    plan: Plan,
    listed: Sequence[GoldenArray],
    form: Form,
    digests: Mapping[str, str],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest, plain JSON values. Raises OptionError where two arrays' files would share a
    name.

    digests: {array name: SHA-256 of its logical codes}. about: further entries.
    """
    return {
        "refq_golden": VERSION,
        "network": network.name,
        "parameters": dict(network.parameters),
        "scheme": plan.scheme,
        "rounding": plan.rounding.value,
        "overflow": plan.overflow.value,
        "seed": plan.seed,
        "mac_order": list(MAC_ORDER),
        "format": form.name,
        "layout": form.layout.name,
        "tile": form.layout.tile,
        "packing": dataclasses.asdict(form.packing),
        **about,
        "layers": [_layer(network, plan, name) for name in network.shapes],
        "arrays": [_array(array, form, digests[array.name]) for array in listed],
        "plan": plan.to_json(),
    }


def _layer(network: Network, plan: Plan, name: str) -> dict[str, Any]:
    node, entry = network.by_name.get(name), plan.tensors.get(name)
    layer = plan.to_json()["layers"].get(name) if name in plan.layers else None
    return {
        "name": name,
        "type": type(node.layer).__name__ if node else "Input",
        "inputs": list(node.inputs) if node and name != INPUT else [],
        "attributes": dataclasses.asdict(node.layer) if node else {},
        "shape": list(network.shapes[name]),
        "accumulator": layer["accumulator"] if layer else None,
        "stored": _stored(entry) if entry else None,
    }


def _stored(entry: TensorPlan) -> dict[str, Any]:
    """A stored tensor's format and code, codebooks left to their own arrays."""
    fmt, code = entry.fixed, entry.code
    kind: dict[str, Any] | None = None
    if isinstance(code, Codebook):
        kind = {"kind": "codebook", "bits": code.bits, "nearest": code.nearest}
    elif code is not None:
        kind = {"kind": "shift", **dataclasses.asdict(code)}
    return {
        "bits": fmt.bits,
        "frac_bits": fmt.frac_bits,
        "signed": fmt.signed,
        "code": kind,
        "drops": list(entry.drops),
    }


def _array(array: GoldenArray, form: Form, digest: str) -> dict[str, Any]:
    stored = form.array(array)
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
        "file": form.file(array),
        "codes_sha256": digest,
        "also": list(array.also),
    }


def check_names(listed: Sequence[GoldenArray], form: Form) -> None:
    """Raises OptionError where two arrays' files would have one name."""
    names = [form.array(array).name for array in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(f"two arrays named {twice[0]}", "layers whose names differ", "rename one")


def files(folder: Path) -> dict[str, dict[str, Any]]:
    """{name: size and SHA-256} of all files in a folder."""
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
    }
