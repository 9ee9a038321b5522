"""Golden sets: what is in them determines itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import oracle
from refq.formats.fixed import Accumulator, FixedPointFormat, Overflow, Rounding
from refq.hardware.files import file_format, file_formats
from refq.hardware.files.layouts import LAYOUTS, TILED
from tests.hardware.exported_sets import exported, read


def fractions(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        name: entry["frac_bits"]
        for entry in manifest["arrays"]
        for name in (entry["name"], *entry["also"])
    }


def across(numbers: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Numbers of kernels or filters, to meet coefficients."""
    numbers = np.asarray(numbers)
    return numbers.reshape(*numbers.shape, *(1,) * (like.ndim - numbers.ndim))


def check_layer(layer: dict[str, Any], manifest: dict[str, Any], codes: dict[str, Any]) -> None:
    """A weighted layer's sums, from what the set says alone, in the oracle's arithmetic."""
    name, attributes = layer["name"], layer["attributes"]
    x, bias = codes[f"{name}.operand"], codes[f"{name}.bias"] << codes[f"{name}.bias_shift"]
    declared, how = layer["accumulator"], Accumulator()
    if declared["bits"]:
        places = declared["frac_bits"]
        how = Accumulator(
            declared["bits"],
            Overflow(declared["overflow"]),
            declared["every_mac"],
            tuple(places) if isinstance(places, list) else places,
            Rounding(declared["rounding"]),
        )
    drop = codes.get(f"{name}.accumulator_drop", np.zeros(1, np.int64))
    drop = np.broadcast_to(drop, bias.shape)

    def sums(weight: np.ndarray, bias: np.ndarray | None, how: Accumulator) -> np.ndarray:
        if layer["type"] == "Dense":
            return oracle.dense_integer(x, weight.reshape(len(weight), -1), bias, how, drop)[0]
        own = {key: tuple(attributes[key]) for key in ("strides", "pads", "dilations")}
        return oracle.conv_integer(
            x, weight, bias, **own, group=attributes["group"], accumulator=how, drop=drop
        )[0]

    weight = codes[f"{name}.weight"]
    weight = weight << across(codes[f"{name}.weight_shift"], weight)
    np.testing.assert_array_equal(codes[f"{name}.sum"], sums(weight, bias, how), err_msg=name)
    if f"{name}.accumulator" in codes:
        np.testing.assert_array_equal(
            codes[f"{name}.accumulator"], sums(weight, None, Accumulator()), err_msg=name
        )


def check_stored(layer: dict[str, Any], manifest: dict[str, Any], codes: dict[str, Any]) -> None:
    """Rounding and storage of sums, from what the set says alone."""
    name, stored = layer["name"], layer["stored"]
    if stored is None:
        return
    rounded = codes.get(f"{name}.rounded")
    shift = codes.get(f"{name}.requantize_shift")
    if shift is not None:
        assert rounded is not None
        source = layer["inputs"][0] if layer["type"] == "ReLU" else name
        sums = codes[f"{source}.sum"]
        if layer["type"] == "ReLU":
            sums = np.maximum(sums, 0)
        fmt = FixedPointFormat(stored["bits"], 0, stored["signed"])
        for c in range(sums.shape[1]):
            own = int(np.broadcast_to(shift, sums.shape[1])[c])
            wanted, _ = oracle.requantize(
                sums[:, c], own, fmt, Rounding(manifest["rounding"]), Overflow(manifest["overflow"])
            )
            np.testing.assert_array_equal(rounded[:, c], wanted, err_msg=name)
    code = stored["code"]
    if code is None:
        np.testing.assert_array_equal(codes[f"{name}.code"], codes[f"{name}.value"])
        return
    index, value = codes[f"{name}.code"], codes[f"{name}.value"]
    made = value if rounded is None else rounded
    maker = name
    if rounded is None:
        # a layer that moves codes has the tables of the one that made them
        while f"{maker}.shift" not in codes and f"{maker}.codebook" not in codes:
            maker = next(each["inputs"][0] for each in manifest["layers"] if each["name"] == maker)
    if code["kind"] == "shift":
        drop = int(codes[f"{maker}.shift"][0])
        assert drop == code["drop"]
        wanted = oracle.shift_encode(made, code["bits"], drop, code["nearest"])
        again = oracle.shift_decode(index, drop)
    else:
        wanted = oracle.codebook_encode(made, codes[f"{maker}.thresholds"])
        again = oracle.codebook_decode(index, codes[f"{maker}.codebook"])
    np.testing.assert_array_equal(index, wanted, err_msg=name)
    np.testing.assert_array_equal(value, again, err_msg=name)


CASES = {
    "enq": ("squeezenet1_1", "--scheme", "enq", "--bits-act", "4"),
    "knq floor": ("alexnet", "--scheme", "knq", "--bits-act", "3", "--assign", "floor"),
    "wrap": (
        "squeezenet1_1",
        "--scheme",
        "uniform",
        "--bits-act",
        "6",
        "--frac-act",
        "2",
        "--overflow",
        "wrap",
        "--rounding",
        "ties-away",
    ),
    "filters and maps": (
        "squeezenet1_1",
        "--scheme",
        "hybrid",
        "--granularity",
        "2D",
        "--data-granularity",
        "map",
        "--rounding",
        "to-zero",
    ),
    "accumulators by kernel": (
        "squeezenet1_1",
        "--scheme",
        "hybrid",
        "--bits-acc",
        "16",
        "--acc-frac",
        "kernel",
        "--acc-rounding",
        "ties-pos",
    ),
    "every MAC": (
        "squeezenet1_1",
        "--scheme",
        "hybrid",
        "--granularity",
        "4D",
        "--bits-acc",
        "13",
        "--acc-every-mac",
        "--acc-overflow",
        "sat-sym",
    ),
    "wrapping sums": (
        "squeezenet1_1",
        "--scheme",
        "energy",
        "--bits-acc",
        "12",
        "--acc-overflow",
        "wrap",
        "--low-share",
        "40",
    ),
}


def limited(manifest: dict[str, Any], codes: dict[str, Any]) -> bool:
    """Whether any sum of a convolution is another than an exact accumulator's."""
    for layer in manifest["layers"]:
        if layer["type"] == "Conv":
            name = layer["name"]
            weight = codes[f"{name}.weight"]
            weight = weight << across(codes[f"{name}.weight_shift"], weight)
            own: Any = {
                key: tuple(layer["attributes"][key]) for key in ("strides", "pads", "dilations")
            }
            bias = codes[f"{name}.bias"] << codes[f"{name}.bias_shift"]
            exact, _ = oracle.conv_integer(codes[f"{name}.operand"], weight, bias, **own)
            drop = codes.get(f"{name}.accumulator_drop", np.zeros(1, np.int64))
            if (np.abs((exact >> drop.reshape(-1, 1, 1)) - codes[f"{name}.sum"]) > 1).any():
                return True
    return False


@pytest.mark.parametrize("case", CASES)
def test_a_set_determines_itself(case: str, tmp_path: Path) -> None:
    # a given F asks for no calibration
    few = () if "--frac-act" in CASES[case] else ("--calibrate", "40")
    arguments = (*CASES[case], *few, "--skip", "3")
    manifest = exported(tmp_path / "set", *arguments, "--format", "raw")
    codes = read(tmp_path / "set", manifest)
    for layer in manifest["layers"]:
        if layer["accumulator"] is not None:
            check_layer(layer, manifest, codes)
        check_stored(layer, manifest, codes)
    if "--acc-frac" in CASES[case]:
        assert "conv1.accumulator_drop" in codes
    elif "--bits-acc" in CASES[case]:
        assert limited(manifest, codes), "no sum met its accumulator's limits"
    for entry in manifest["arrays"]:
        found, half = codes[entry["name"]], 1 << (entry["bits"] - 1)
        low, high = (-half, half - 1) if entry["signed"] else (0, 2 * half - 1)
        assert low <= found.min() and found.max() <= high, entry["name"]


def test_clustered_sums_are_those_of_their_parts(tmp_path: Path) -> None:
    manifest = exported(
        tmp_path / "set",
        "squeezenet1_1",
        "--scheme",
        "clustered",
        "--granularity",
        "2D",
        "--calibrate",
        "40",
        "--format",
        "raw",
        "--layers",
        "conv1:fire2/expand3x3",
    )
    codes = read(tmp_path / "set", manifest)
    name = "fire2/expand3x3"
    layer = next(each for each in manifest["layers"] if each["name"] == name)
    attributes: Any = {
        key: tuple(layer["attributes"][key]) for key in ("strides", "pads", "dilations")
    }
    x = codes[f"{name}.operand"]

    def sums(stage: str, bias: np.ndarray | None) -> np.ndarray:
        weight = codes[f"{name}.{stage}"]
        weight = weight << across(codes[f"{name}.{stage}_shift"], weight)
        return oracle.conv_integer(x, weight, bias, **attributes)[0]

    base = sums("base", None)
    residual = sums("residual", codes[f"{name}.bias"] << codes[f"{name}.bias_shift"])
    np.testing.assert_array_equal(codes[f"{name}.base_sum"], base)
    np.testing.assert_array_equal(codes[f"{name}.residual_sum"], residual)
    raised = np.broadcast_to(codes[f"{name}.base_raise"], residual.shape[1])[:, None, None]
    both = residual + (base[:, codes[f"{name}.labels"]] << raised)
    np.testing.assert_array_equal(codes[f"{name}.sum"], both)


@pytest.mark.parametrize("form", file_formats())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_format_and_layout_reads_back(form: str, layout: str, tmp_path: Path) -> None:
    manifest = exported(
        tmp_path / "set",
        "squeezenet1_1",
        "--scheme",
        "knq",
        "--calibrate",
        "9",
        "--images",
        "2",
        "--layers",
        "data:fire2/squeeze1x1,pool10",
        "--format",
        form,
        "--layout",
        layout,
        *(("--tile", "5") if layout == TILED else ()),
        *(("--lanes", "3") if file_format(form).TEXT else ()),
    )
    codes = read(tmp_path / "set", manifest)
    shapes = {each["name"]: each["shape"] for each in manifest["layers"]}
    assert codes["conv1.sum"].shape == (2, *shapes["conv1"])
    assert codes["pool10.code"].shape == (2, 62)
    assert {path.name for path in (tmp_path / "set").iterdir()} == {
        "manifest.json",
        *manifest["files"],
    }


def test_a_cut_has_what_it_reads_and_no_more(tmp_path: Path) -> None:
    manifest = exported(
        tmp_path / "set",
        "vgg16",
        "--scheme",
        "enq",
        "--calibrate",
        "9",
        "--layers",
        "conv2_1:pool2",
    )
    names = [each["name"] for each in manifest["arrays"] if each["kind"] == "tensor"]
    assert names == [
        "pool1.code",
        "pool1.value",
        "conv2_1.accumulator",
        "conv2_1.sum",
        "relu2_1.rounded",
        "relu2_1.code",
        "relu2_1.value",
        "conv2_2.accumulator",
        "conv2_2.sum",
        "relu2_2.rounded",
        "relu2_2.code",
        "relu2_2.value",
        "pool2.code",
        "pool2.value",
    ]
    alone = exported(
        tmp_path / "alone",
        "vgg16",
        "--scheme",
        "enq",
        "--calibrate",
        "9",
        "--layers",
        "conv2_1",
        "--stages",
        "sum,code,weight",
    )
    assert [each["name"] for each in alone["arrays"]] == [
        "pool1.code",
        "conv2_1.weight",
        "conv2_1.sum",
        "relu2_1.code",
    ]
    sums = {each["name"]: each["codes_sha256"] for each in manifest["arrays"]}
    assert all(each["codes_sha256"] == sums[each["name"]] for each in alone["arrays"])


@pytest.mark.parametrize("stage", ["sum", "accumulator"])
def test_a_cut_may_end_before_a_relu(stage: str, tmp_path: Path) -> None:
    manifest = exported(
        tmp_path / "set",
        "alexnet",
        "--scheme",
        "uniform",
        "--calibrate",
        "5",
        "--layers",
        "conv2",
        "--stages",
        stage,
    )
    assert [each["name"] for each in manifest["arrays"]] == [f"conv2.{stage}"]
