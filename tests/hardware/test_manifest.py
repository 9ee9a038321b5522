"""Manifests of golden sets: read as they are written, or refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from refq import kernels, verify
from refq.engine.forward import quantize_weights
from refq.hardware.golden import manifest
from refq.hardware.golden.span import span
from refq.hardware.golden.writing import Subject
from tests.hardware.exported_sets import exported
from tests.small_networks import crossing, planned, uneven


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("arrays", 3, "stored_shape"), [8], r"stored_shape \(8,\) of conv1.bias_shift"),
        (("arrays", 4, "frac_bits"), [1, 2], "ValueError"),
        (("arrays", 4, "frac_bits"), "nine", "frac_bits 'nine', not whole numbers"),
        (("arrays", 4, "bits"), 64, "64 is no whole number from 1 to 63"),
        (("arrays", 4, "also"), [1], "1 is no text"),
        (("files", "fc.sum.mem"), {}, "KeyError 'bytes'"),
        (
            ("layers", 2, "stored"),
            {"bits": 7},
            r"layer relu1: stored {'bits': 7}; expected what its plan says",
        ),
        (("layers", 1, "accumulator", "bits"), 70, "layer conv1: accumulator .* its plan says"),
        (("layers", 2, "inputs"), [], "layer relu1 without inputs"),
        (("layers", 3, "shape"), [4, 8, 7], r"conv2.accumulator of shape \(2, 3, 8, 7\)"),
        (("overflow",), "wrap", "overflow 'wrap'; expected 'sat', as in its plan"),
        (("mac_order",), ["bias"], r"mac_order \['bias'\]"),
        (("plan",), {}, "plan version None"),
        (("plan", "arithmetic"), "float", "a plan of float arithmetic"),
        (("plan", "tensors", "relu1", "format"), {"bits": 7}, "frac_bits"),
        (("plan", "tensors", "data", "drops"), [1, 0], "2 formats of feature maps in data"),
        (("plan", "layers", "conv1", "weight"), None, "conv1 in float32 in a plan of integers"),
        (("plan", "layers", "conv1", "accumulator", "bits"), 70, "70 bits; expected 2 to 62 bits"),
        (("plan", "layers", "conv1", "accumulator", "bits"), [9, 9], "2 accumulators in conv1"),
        (("arrays", 4, "file"), "../conv1.sum.mem", "file '../conv1.sum.mem' of conv1"),
        (("arrays", 4, "name"), "conv2.sum", "'conv2.sum' as tensor conv1"),
        (("arrays", 4, "layer"), "conv9", "conv9"),
        (("tile",), 0, "tiles of 0 channels"),
        (("packing", "lanes"), 9999, "9999 lanes"),
    ],
)
def test_manifest_that_makes_no_sense(
    golden: Path,
    tmp_path: Path,
    place: tuple[Any, ...],
    value: Any,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = json.loads((golden / "manifest.json").read_text())
    part = stored
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(stored))
    assert verify.main([str(tmp_path), str(golden)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(said, err), err


@pytest.mark.parametrize(
    "arguments",
    [
        ("squeezenet1_1", "--scheme", "hybrid", "--granularity", "2D", "--data-granularity", "map"),
        ("alexnet", "--scheme", "clustered", "--bits-acc", "24", "--format", "hdf5"),
        ("vgg16", "--scheme", "knq", "--format", "hex", "--lanes", "4", "--layout", "tiled"),
    ],
    ids=lambda arguments: arguments[2],
)
def test_a_manifest_is_read_as_it_was_written(arguments: tuple[str, ...], tmp_path: Path) -> None:
    few = ("--calibrate", "9", "--layers", "conv1" if arguments[0] != "vgg16" else "conv1_2")
    stored = exported(tmp_path / "set", *arguments, *few)
    again = manifest.load(tmp_path / "set")
    assert again.to_json() == stored
    (tmp_path / "again").mkdir()
    manifest.save(tmp_path / "again", again)
    names = [tmp_path / folder / manifest.NAME for folder in ("set", "again")]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_listing_a_set_quantizes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = crossing()
    weights = uneven(network, 3)
    plan = planned(network, weights, "clustered", granularity="2D", clusters={"stem": 4, "two": 0})
    coded = quantize_weights(network, weights, plan)
    subject = Subject(network, weights, coded, plan, span(network, None), None, 2, 0)
    for operation in ("quantize", "quantize_grid"):
        monkeypatch.setattr(kernels, operation, None)
    names = {array.name for array in subject.listed}
    assert {"stem.base", "stem.residual", "two.weight", "left.bias", "sum.sum"} <= names
