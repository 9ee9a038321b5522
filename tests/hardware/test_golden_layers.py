"""A golden set of a network with each layer type: written, checked by the oracle, verified, and a
device that has one word of the layer's wrong told so."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from refq.engine.forward import quantize_weights
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing
from refq.hardware.golden import reading
from refq.hardware.golden.form import Form
from refq.hardware.golden.reading import GoldenSet
from refq.hardware.golden.writing import Subject, write
from refq.networks import Node
from refq.networks.layers import Clip, Dense, Function, Layer, PReLU, Shape
from refq.networks.weights import random_weights
from tests.hardware.verifying import first_wrong, run, texts
from tests.layer_cases import LAYERS, network_of
from tests.small_networks import pixels, planned


def golden_of(layer: Layer, shapes: list[Shape], folder: Path) -> GoldenSet:
    network = network_of(layer, shapes, Node("end", Dense(3), ("made",)))
    weights, images = random_weights(network, 1), pixels(network, 1, 3)
    plan = planned(network, weights, "uniform")
    coded = quantize_weights(network, weights, plan)
    subject = Subject(network, weights, coded, plan, tuple(network.shapes), None, 1, 0)
    folder.mkdir()
    write(folder, subject, Form("raw", Layout(), Packing()), [images], {})
    return reading.load(folder)


@pytest.mark.parametrize(("layer", "shapes"), LAYERS, ids=str)
def test_every_layer(layer: Layer, shapes: list[Shape], tmp_path: Path) -> None:
    golden = golden_of(layer, shapes, tmp_path / "golden")
    arrays = {array.name: array for array in golden.manifest.arrays}
    # a set that is a device's own
    device = tmp_path / "device"
    shutil.copytree(tmp_path / "golden", device)
    assert run(tmp_path / "golden", device)[0] == 0
    names = [name for name in ("made.sum", "made.rounded", "made.value") if name in arrays]
    paths = [path for name in names for path in device.glob(f"{name}*")]
    path = paths[0] if paths else next(device.glob("made.code*"))
    words = bytearray(path.read_bytes())
    words[0] ^= 1
    path.write_bytes(words)
    status, result = run(tmp_path / "golden", device)
    assert status == 1 and first_wrong(result)["name"].startswith("made.")


def test_slopes_bounds_and_tables_are_what_is_computed_with(tmp_path: Path) -> None:
    shapes: list[Shape] = [(3, 4, 5)]
    for number, layer in enumerate(
        (PReLU((0.25, -0.5, 1.75)), Clip(-5.0, 40.0), Function(("sigmoid", ("mul", "x", 0.02))))
    ):
        golden = golden_of(layer, shapes, tmp_path / str(number))
        arrays = {array.name: array for array in golden.manifest.arrays}
        made = golden.read(arrays["made.code"])
        stage = "in0.code" if "in0.code" in arrays else "in0.sum"
        x = golden.read(arrays[stage])
        if isinstance(layer, Function):
            table = golden.read(arrays["made.table"])
            np.testing.assert_array_equal(made, table[x + (1 << (arrays["in0.code"].bits - 1))])
            continue
        shift = int(golden.read(arrays["made.requantize_shift"])[0])
        if isinstance(layer, PReLU):
            slopes = golden.read(arrays["made.slope"]).reshape(1, -1, 1, 1)
            x = np.where(x >= 0, x << layer.slope_format.frac_bits, x * slopes)
            bits = arrays["made.code"].bits
            bounds = [-(1 << (bits - 1)), (1 << (bits - 1)) - 1]
        else:
            bounds = [int(end) for end in golden.read(arrays["made.bounds"])]
        rounded = np.rint(x * 2.0**-shift).astype(np.int64)
        np.testing.assert_array_equal(made, np.clip(rounded, bounds[0], bounds[1]))


def test_faults_of_a_clip_are_named(tmp_path: Path) -> None:
    golden = golden_of(Clip(-5.0, 40.0), [(3, 4, 5)], tmp_path / "golden")
    arrays = {array.name: array for array in golden.manifest.arrays}
    low, high = (int(end) for end in golden.read(arrays["made.bounds"]))
    sums = golden.read(arrays["in0.sum"])
    shift = int(golden.read(arrays["made.requantize_shift"])[0])
    rounded = np.rint(sums * 2.0**-shift).astype(np.int64)
    made, bits = golden.read(arrays["made.code"]), arrays["made.code"].bits
    np.testing.assert_array_equal(made, np.clip(rounded, low, high))
    assert (rounded > high).any() and (rounded < low).any() and shift > 0
    least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    faults = {
        "clip: its upper bound is missing": np.clip(rounded, low, most),
        "clip: its lower bound is missing": np.clip(rounded, least, high),
        "clip: missing, sums beyond both bounds went on": np.clip(rounded, least, most),
        "rounding rule: to-neg": np.clip(sums >> shift, low, high),
    }
    assert_named(tmp_path, faults)


def test_faults_of_a_table_are_named(tmp_path: Path) -> None:
    layer = Function(("mul", "x", ("sigmoid", ("mul", "x", 0.02))))
    golden = golden_of(layer, [(3, 4, 5)], tmp_path / "golden")
    arrays = {array.name: array for array in golden.manifest.arrays}
    table, x = golden.read(arrays["made.table"]), golden.read(arrays["in0.code"])
    half = len(table) // 2
    np.testing.assert_array_equal(golden.read(arrays["made.code"]), table[x + half])
    faults = {
        "table: the entry of the code above is read": table[x + half + 1],
        "table: the entry of the code below is read": table[x + half - 1],
        "table: its index takes codes as unsigned": table[x % len(table)],
        "function: missing, its operand went on": x,
    }
    assert_named(tmp_path, faults)


def assert_named(folder: Path, faults: dict[str, np.ndarray]) -> None:
    """Codes of `made` that a device has instead, by what has to be told of them."""
    for number, (told, codes) in enumerate(faults.items()):
        device = folder / str(number)
        shutil.copytree(folder / "golden", device)
        width = (device / "made.code.bin").stat().st_size // codes.size
        (device / "made.code.bin").write_bytes(codes.astype(f"<i{width}").tobytes())
        status, result = run(folder / "golden", device)
        assert status == 1
        assert any(text.startswith(told) for text in texts(first_wrong(result))), told


def test_functions_of_vectors(tmp_path: Path) -> None:
    """What a dense layer makes has no rows and columns."""
    function = Function(("sigmoid", ("mul", "x", 0.02)))
    nodes = (Node("v", function, ("made",)), Node("end", Dense(3), ("v",)))
    network = network_of(Dense(7), [(3, 4, 5)], *nodes)
    weights, images = random_weights(network, 1), pixels(network, 1, 3)
    plan = planned(network, weights, "uniform")
    coded = quantize_weights(network, weights, plan)
    subject = Subject(network, weights, coded, plan, tuple(network.shapes), None, 1, 0)
    write(tmp_path, subject, Form("raw", Layout(), Packing()), [images], {})
    golden = reading.load(tmp_path)
    assert "v.table" in {array.name for array in golden.manifest.arrays}
