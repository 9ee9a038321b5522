"""One layer of each kind in every format of files: written, and read back with nothing but its
manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from refq.engine.forward import quantize_weights
from refq.hardware.files import file_formats
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing
from refq.hardware.golden.form import Form
from refq.hardware.golden.writing import Subject, write
from refq.networks import Node
from refq.networks.layers import Dense, Layer, Shape
from refq.networks.weights import random_weights
from tests.hardware.exported_sets import read
from tests.layer_cases import LAYERS, network_of
from tests.small_networks import pixels, planned

# the last case of each kind
KINDS = {layer.kind: (layer, shapes) for layer, shapes in LAYERS}


@pytest.mark.parametrize(("layer", "shapes"), KINDS.values(), ids=KINDS)
def test_every_format(layer: Layer, shapes: list[Shape], tmp_path: Path) -> None:
    network = network_of(layer, shapes, Node("end", Dense(3), ("made",)))
    weights, images = random_weights(network, 1), pixels(network, 1, 3)
    plan = planned(network, weights, "uniform")
    coded = quantize_weights(network, weights, plan)
    subject = Subject(network, weights, coded, plan, ("made",), None, 1, 0)
    found = {}
    for name in file_formats():
        folder = tmp_path / name
        folder.mkdir()
        write(folder, subject, Form(name, Layout(), Packing()), [images], {})
        arrays = read(folder, json.loads((folder / "manifest.json").read_text()))
        found[name] = {array: codes.tolist() for array, codes in arrays.items()}
    assert "made.code" in found["raw"]
    assert all(arrays == found["raw"] for arrays in found.values())
