"""Whole Keras models, written by hand: a configuration, and arrays of its layers."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.importers import weight_files

Config = dict[str, Any]
Arrays = Mapping[str, Mapping[str, np.ndarray]]


def layer(kind: str, name: str, *reads: Any, **fields: Any) -> Config:
    """One that is called once on layers, or on (layer, call, output); `calls` lists several."""
    calls = fields.pop("calls", [reads] if reads else [])
    config = {"name": name, "trainable": True, "dtype": "float32", **fields}
    nodes = [[_tensor(read) for read in call] for call in calls]
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes}


def _tensor(read: Any) -> list[Any]:
    return [*(read if isinstance(read, tuple) else (read, 0, 0)), {}]


def source(name: str, *shape: int | None) -> Config:
    return layer("InputLayer", name, batch_input_shape=[None, *shape])


def model(layers: Sequence[Config], outputs: Sequence[Any], name: str = "model") -> Config:
    """A Functional model; its inputs are the InputLayers."""
    inputs = [each["name"] for each in layers if each["class_name"] == "InputLayer"]
    config = {
        "name": name,
        "layers": list(layers),
        "input_layers": [[each, 0, 0] for each in inputs],
        "output_layers": [_tensor(each)[:3] for each in outputs],
    }
    return {"class_name": "Functional", "config": config}


def row(*layers: Config) -> Config:
    """A Sequential model."""
    return {"class_name": "Sequential", "config": {"name": "row", "layers": list(layers)}}


def within(made: Config, name: str, *reads: Any, **fields: Any) -> Config:
    """A model as a layer of another."""
    outer = layer(made["class_name"], name, *reads, **fields)
    return {**outer, "config": {**made["config"], "name": name}}


def h5(path: Path, made: Config, arrays: Arrays, version: str = "2.13.1", **more: str) -> Path:
    weight_files.keras(path, arrays, whole=True)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(made)
        for name, text in {"keras_version": version, "backend": "tensorflow", **more}.items():
            file.attrs[name] = text
    return path


def archive(path: Path, made: Config, arrays: Arrays, version: str = "3.4.1") -> Path:
    """.keras, of layers that are all of the outermost model."""
    inner, seen = path.with_name("model.weights.h5"), dict[str, int]()
    with h5py.File(inner, "w") as file:
        for each in made["config"]["layers"]:
            kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", each["class_name"]).lower()
            seen[kind] = seen.get(kind, -1) + 1
            place = f"layers/{kind}_{seen[kind]}" if seen[kind] else f"layers/{kind}"
            group = file.create_group(f"{place}/vars")
            for index, array in enumerate(arrays.get(each["name"], {}).values()):
                group[str(index)] = array
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("metadata.json", json.dumps({"keras_version": version}))
        out.writestr("config.json", json.dumps(made))
        out.writestr("model.weights.h5", inner.read_bytes())
    inner.unlink()
    return path
