"""A report says where formats do not hold a network's numbers: text, JSON and page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import evaluate, export, networks
from refq.formats.fixed import FixedPointFormat
from refq.networks import Network, Node
from refq.networks.layers import Conv
from refq.networks.weights import Weights, random_weights, save
from refq.plans.plan import INTEGER, Clustered, LayerPlan, Plan, TensorPlan
from refq.results.layers import layer_table
from refq.results.sections import load
from refq.results.warnings import warnings

NETWORK = networks.build("resnet20")
GIVEN = ("--data", "random:2")
Change = Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], object]


def changed(path: Path, change: Change) -> str:
    """A weight file with random weights that were changed."""
    made = random_weights(NETWORK, 0)
    weight = {name: array.copy() for name, array in made.weight.items()}
    bias = {name: array.copy() for name, array in made.bias.items()}
    change(weight, bias)
    save(path, NETWORK, Weights(weight, bias, made.metadata))
    return str(path)


def test_an_edited_plan_saturates_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4-bit weights with 14 fraction bits end at 0.0004."""
    path, result = str(tmp_path / "plan.json"), str(tmp_path / "result.json")
    weights = ["--weights", "random:0", *GIVEN]
    assert evaluate.main(["resnet20", "--scheme", "uniform", *weights, "--save-plan", path]) == 0
    out = capsys.readouterr().out
    assert "w. sat %" in out and "WARNING" not in out
    stored = json.loads(Path(path).read_text())
    stored["layers"]["res2_1_conv1"]["weight"] = {"bits": 4, "frac_bits": 14, "signed": True}
    stored["layers"]["fc"]["bias"] = {"bits": 4, "frac_bits": 14, "signed": True}
    Path(path).write_text(json.dumps(stored))
    assert evaluate.main(["resnet20", "--plan", path, *weights, "--json", result]) == 0
    out = capsys.readouterr().out
    content = json.loads(Path(result).read_text())
    (line,) = [each for each in content["warnings"] if each.startswith("weights saturate")]
    assert line.startswith("weights saturate: res2_1_conv1 99.")
    assert f"WARNING: {line}" in out
    (row,) = [each for each in content["layers"] if each["name"] == "res2_1_conv1"]
    assert row["weight_saturated_percent"] > 99 and row["bias_saturated_percent"] == 0
    assert row["empty_kernels"] == 0
    (section,) = load(result).sections
    assert line in section.facts["warnings"]
    assert "weights saturated, %" in _headings(section)


def _headings(section: Any) -> list[str]:
    return [column.long for table in section.tables for column in table.columns]


def test_results_from_before_have_no_such_columns() -> None:
    row = dict.fromkeys(column.key for column in layer_table([]).columns)
    old = {key: value for key, value in row.items() if "empty" not in key}
    assert layer_table([old]).cells == layer_table([row]).cells


def filled(kind: str, layer: str, value: float) -> Change:
    """All weights or biases of a layer are this number."""
    return lambda weight, bias: {"w": weight, "b": bias}[kind][layer].fill(value)


def scaled(factor: float) -> Change:
    """All weights of the network are so many times as large."""
    return lambda weight, bias: [np.multiply(w, factor, out=w) for w in weight.values()]


def outlier(weight: dict[str, np.ndarray], bias: dict[str, np.ndarray]) -> None:
    weight["fc"][0, 0] = 1e6


INNER = "res1_2_conv1"
NOT_HELD = "values that float32 does not hold"


@pytest.mark.parametrize(
    ("change", "scheme", "told"),
    [
        (filled("w", INNER, 1e-40), "enq", f"no weight left but 0: {INNER} 16 of 16"),
        (filled("w", INNER, 1e30), "uniform", f"weights saturate: {INNER} 100.0 %"),
        (filled("b", INNER, 1e20), "uniform", f"biases saturate: {INNER} 100.0 %"),
        (filled("b", "fc", 1e20), "hybrid", "biases lie beyond the accumulator: fc 10 of 10"),
        (filled("b", "fc", 1e-40), "hybrid", "all biases become 0: fc 10 of 10"),
        (filled("w", "conv1", 0), "enq", "all stored inputs are 0: res1_1_conv1, "),
        (outlier, "clnq", "no weight left but 0: fc 9 of 10"),
    ],
)
def test_extreme_weights_work_and_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change, scheme: str, told: str
) -> None:
    file = changed(tmp_path / "w.h5", change)
    assert evaluate.main(["resnet20", "--scheme", scheme, "--weights", file, *GIVEN]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "scheme", "told"),
    [
        (filled("b", "fc", 1e20), "uniform", "the biases of fc, which reach 1e+20"),
        (scaled(1e-40), "hybrid --acc-frac range", "the weights of conv1, which reach "),
        (filled("w", "fc", 3e38), "tensorflow", "the weights of fc, which reach 3e+38"),
        (filled("b", "fc", 1e30), "ristretto --numbers minifloat", "biases of fc, which reach 1e"),
        (filled("b", INNER, 1e20), "hybrid --data-granularity map", f"biases of {INNER}, which"),
        (filled("w", INNER, 3e38), "ristretto", f"{INNER}_relu: {NOT_HELD}"),
        (scaled(1e6), "uniform --frac-act 2", NOT_HELD),
        (scaled(1e6), "float", NOT_HELD),
    ],
)
def test_extreme_weights_are_refused_by_their_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change, scheme: str, told: str
) -> None:
    file = changed(tmp_path / "w.h5", change)
    given = ["resnet20", "--weights", file, *GIVEN, "--scheme", *scheme.split()]
    assert evaluate.main(given) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_an_export_tells_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = changed(tmp_path / "w.h5", lambda w, b: b["fc"].fill(1e20))
    given = ["resnet20", "--weights", file, *GIVEN, "--scheme", "hybrid", "--images", "1"]
    assert export.main([*given, "--layers", "fc", "--out", str(tmp_path / "golden")]) == 0
    assert "WARNING: biases saturate: fc 100.0 %" in capsys.readouterr().out


def test_clustered_kernels_that_save_nothing() -> None:
    """A depthwise layer's base kernels are its kernels."""
    nodes = (
        Node("deep", Conv(6, (3, 3), group=6), ("data",)),
        Node("wide", Conv(16, (1, 1)), ("deep",)),
    )
    network = Network("small", (6, 8, 8), nodes)
    wide, narrow = FixedPointFormat(8, 4), FixedPointFormat(4, 4)
    layers = {
        "deep": LayerPlan(Clustered(wide, narrow, tuple(range(6))), wide),
        "wide": LayerPlan(Clustered(wide, narrow, (0, 1) * 8), wide),
    }
    plan = Plan("small", {}, "clustered", {"data": TensorPlan(wide)}, layers, arithmetic=INTEGER)
    assert warnings(network, plan, {}) == ["base kernels save nothing: deep 6 for 6 kernels"]
    # more than half of the kernels is too many, too
    layers["wide"] = LayerPlan(Clustered(wide, narrow, (*range(8), *range(8))), wide)
    told = warnings(network, plan, {})
    assert told == ["base kernels save nothing: deep 6 for 6 kernels, wide 8 for 16 kernels"]
