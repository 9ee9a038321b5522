"""Golden sets as refq.export writes them, read with nothing but their manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from refq import export
from refq.hardware.files import file_format
from refq.hardware.files.array import Array
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing


def exported(out: Path, *arguments: str) -> dict[str, Any]:
    assert export.main([*arguments, "--out", str(out)]) == 0
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def stored_as(manifest: dict[str, Any], entry: dict[str, Any]) -> Array:
    stem = Path(entry["name"].replace("/", "_")).name
    return Array(
        stem,
        tuple(entry["stored_shape"]),
        tuple(entry["stored_axes"]),
        entry["bits"],
        entry["signed"],
        entry["format"],
    )


def read(out: Path, manifest: dict[str, Any]) -> dict[str, np.ndarray]:
    """{array name, or another of its names: logical codes}."""
    module, found = file_format(manifest["format"]), {}
    for entry in manifest["arrays"]:
        array = stored_as(manifest, entry)
        words = module.read(out / entry["file"], array, Packing(**manifest["packing"]))
        assert words.codes.size == array.words and not words.unknown.size
        layout = Layout(manifest["layout"], manifest["tile"])
        codes = layout.restored(words.codes, tuple(entry["shape"]))
        digest = hashlib.sha256(np.ascontiguousarray(codes, "<i8").tobytes()).hexdigest()
        assert digest == entry["codes_sha256"], entry["name"]
        for name in (entry["name"], *entry["also"]):
            found[name] = codes
    return found
