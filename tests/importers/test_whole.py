"""refq.convert on a whole model: what is stored with its network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from refq.data import presets
from refq.errors import WeightsError
from refq.importers.preparing import RULES
from refq.networks import weights
from tests.importers import onnx_models
from tests.importers.conversions import converted, refused


@pytest.mark.parametrize("name", ["keras", "keras-caffe", "unit"])
def test_preprocessing_is_that_of_an_evaluation(name: str, tmp_path: Path) -> None:
    path = onnx_models.saved(tmp_path / "m.onnx", onnx_models.convolution())
    converted(path, "--preprocessing", name)
    network, stored = weights.load(tmp_path / "out.h5", None)
    rule = presets.named(name, (3, 6, 5))
    assert presets.for_network(stored.metadata, network.input_shape) == rule


def test_preprocessing_that_nobody_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = onnx_models.saved(tmp_path / "m.onnx", onnx_models.convolution())
    assert "unknown preprocessing 'vgg'" in refused(
        path, capsys, "--preprocessing", "vgg", whole=True
    )


def test_rules_of_one_name_are_one_rule() -> None:
    for name, rule in RULES.items():
        preset = presets.PRESETS[name]
        assert preset.channels == rule.channels
        assert np.allclose(preset.mean, rule.mean, rtol=0, atol=1e-4), name
        assert np.allclose(preset.scale, 1 / np.asarray(rule.deviation)), name


def test_a_network_of_refqs_own_is_not_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = onnx_models.saved(tmp_path / "m.onnx", onnx_models.convolution())
    converted(path)
    (tmp_path / "out.h5").rename(tmp_path / "own.h5")
    capsys.readouterr()
    wanted = r"weights of m; expected vgg16; evaluate .*own\.h5 instead"
    with pytest.raises(WeightsError, match=wanted):
        weights.load(tmp_path / "own.h5", "vgg16")
    assert "refq's own network; commands take it" in refused(
        tmp_path / "own.h5", capsys, whole=True
    )
