"""What float32 does not hold of doubles is told, or refused, in every format that has doubles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refq.networks.weights import load
from tests.importers import small_weights
from tests.importers.conversions import converted, refused

NETWORK, WEIGHTS = small_weights.case()
FORMATS = (
    "torch_zip",
    "torch_legacy",
    "safetensors",
    "keras",
    "keras_stated",
    "keras_archive",
    "keras3",
    "caffe_double",
    "caffe_hdf5",
    "matconvnet_v6",
    "matconvnet_v7",
    "matconvnet_dag",
    "matconvnet_v73",
    "onnx",
)


def written(folder: Path, form: str, bias: float, weight: float = 0.5) -> Path:
    """VGG-16 in doubles; conv1_2 has these as its first values."""

    def doubles(arrays: Mapping[str, np.ndarray], value: float) -> dict[str, np.ndarray]:
        made = {name: array.astype(np.float64) for name, array in arrays.items()}
        made["conv1_2"].reshape(-1)[0] = value
        return made

    weights = replace(
        WEIGHTS, weight=doubles(WEIGHTS.weight, weight), bias=doubles(WEIGHTS.bias, bias)
    )
    name, write = small_weights.WRITERS[form]
    write(folder / name, NETWORK, weights)
    return folder / name


@pytest.mark.parametrize("form", FORMATS)
def test_doubles(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    told = refused(written(tmp_path, form, 1e39), capsys)
    assert ": values of bias beyond float32, to 1e+39; expected 3.4e+38 or less" in told
    told = refused(written(tmp_path, form, 0.0, -1e300), capsys)
    assert ": values of weight beyond float32, to 1e+300; expected" in told
    told = refused(written(tmp_path, form, np.inf), capsys)
    assert ": NaN or infinite values in bias; expected numbers" in told
    report = converted(written(tmp_path, form, 0.0, 1e-60))
    done = {row["layer"]: row["done"] for row in report["rows"]}
    assert "1 of weight below float32, 0 here" in done["conv1_2"]
    assert not any("below" in each for each in done["conv1_1"])


def test_doubles_that_float32_holds(tmp_path: Path) -> None:
    report = converted(written(tmp_path, "torch_zip", 1e-40, 3e38))
    assert not any("below" in each for row in report["rows"] for each in row["done"])
    _, got = load(tmp_path / "out.h5", "vgg16")
    assert got.bias["conv1_2"][0] == np.float32(1e-40)
