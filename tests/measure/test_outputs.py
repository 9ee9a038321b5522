"""Outputs beside float: several of them, and those that are no classifier's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.data import packed
from refq.engine.forward import outputs
from refq.errors import FormatError
from refq.evaluate import main
from refq.files import writing
from refq.measure.calibration import gather
from refq.measure.measurement import measure
from refq.measure.outputs import OutputNoise, noises
from refq.measure.ranking import Ranking
from refq.measure.streaming import Source
from refq.networks import Network, Node
from refq.networks.graph import INPUT
from refq.networks.layers import Conv, GlobalAvgPool, ReLU
from refq.networks.weights import random_weights
from refq.schemes import Options, find

RNG = np.random.default_rng(29)


def two_outputs(*names: str) -> Network:
    """A trunk with a head of maps and one of values."""
    return Network(
        "two",
        (3, 6, 8),
        (
            Node("trunk", Conv(5, (3, 3), (1, 1), (1, 1, 1, 1), 1), (INPUT,)),
            Node("relu", ReLU(), ("trunk",)),
            Node("maps", Conv(2, (1, 1), (1, 1), (0, 0, 0, 0), 1), ("relu",)),
            Node("mean", GlobalAvgPool(), ("relu",)),
            Node("values", Conv(4, (1, 1), (1, 1), (0, 0, 0, 0), 1), ("relu",)),
        ),
        outputs=names,
    )


def test_noise_by_hand() -> None:
    one = noises({}, {"a": np.array([[3.0, -4.0]])}, {"a": np.array([[3.5, -4.0]])})
    both = noises(one, {"a": np.array([[1.0, 2.0]])}, {"a": np.array([[1.0, 1.0]])})
    assert both == {"a": OutputNoise(30.0, 1.25, 1.0, 4.0)}
    assert both["a"].sqnr_db == pytest.approx(10 * np.log10(30 / 1.25))
    assert OutputNoise(3.0, 0.0).sqnr_db is None
    with pytest.raises(FormatError, match="a: values that float32 does not hold"):
        noises({}, {"a": np.array([np.inf])}, {"a": np.array([1.0])})


def test_every_output_is_measured() -> None:
    network = two_outputs("maps", "values")
    assert not network.has_classifier
    weights = random_weights(network, 3)
    images = RNG.uniform(-100, 100, (7, 3, 6, 8)).astype(np.float32)

    def batches() -> list[Any]:
        return [(images[:4], None), (images[4:], None)]

    source = Source(network, weights, batches)
    scheme, options = find("uniform"), Options(bits_act=8)
    plan = scheme.plan(network, weights, gather(scheme.wanted(network, options), source), options)
    kept: list[Any] = []
    found = measure(source, plan, kept.append)
    wanted = outputs(network, weights, None, images)
    got = outputs(network, weights, plan, images)
    assert list(found.outputs) == ["maps", "values"] and found.agreement == Ranking()
    for name, noise in found.outputs.items():
        error = got[name].astype(np.float64) - wanted[name]
        assert noise.error == np.abs(error).max() > 0
        assert noise.largest == np.abs(wanted[name]).max()
        assert noise.noise == pytest.approx(np.square(error).sum())
        assert (np.concatenate([part[name] for part in kept]) == got[name]).all()


def test_classes_may_have_a_row_and_a_column() -> None:
    scores = RNG.normal(size=(6, 9))
    classes = np.array([0, 8, 3, 3, 5, 1])
    flat = Ranking().plus(scores, classes)
    assert Ranking().plus(scores.reshape(6, 9, 1, 1), classes) == flat
    for shape, ranked in (((9, 1, 1), True), ((9,), True), ((1,), False), ((9, 2, 1), False)):
        network = Network("shaped", shape, (Node("relu", ReLU(), (INPUT,)),))
        assert network.has_classifier is ranked


def test_several_arrays_in_one_archive(tmp_path: Path) -> None:
    parts = {"file": [np.ones((2, 3))], "a/b": [np.zeros((1, 4), "f4"), np.ones((2, 4), "f4")]}
    writing.write_arrays(str(tmp_path / "out.npz"), parts)
    with np.load(tmp_path / "out.npz") as stored:
        assert sorted(stored) == ["a/b", "file"]
        assert (stored["a/b"] == np.concatenate(parts["a/b"])).all()
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_a_report_of_an_output_without_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = RNG.integers(0, 256, (3, 32, 32, 3), np.uint8)
    packed.write(tmp_path / "x.h5", images, 3, name="x")
    report = tmp_path / "report.json"
    command = ["resnet20", "--weights", "random:0", "--data", str(tmp_path / "x.h5")]
    uniform = ["--scheme", "uniform", "--frac-act", "0", "--json", str(report)]
    assert main([*command, *uniform]) == 0
    (output,) = json.loads(report.read_text())["outputs"]
    assert output["shape"] == [10] and output["largest_error"] > 0
    assert (
        f"output SQNR {output['sqnr_db']:.2f} dB, largest error {output['largest_error']:.4g} "
        f"beside values up to {output['largest_value']:.4g}"
    ) in capsys.readouterr().out.splitlines()
