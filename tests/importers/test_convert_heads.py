"""Heads that are not the network's: which one is meant has to be said, and sizes have to fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.importers import small_weights, weight_files
from tests.importers.conversions import converted, refused

NETWORK, WEIGHTS = small_weights.case()
ARRAYS = small_weights.torch_arrays(WEIGHTS)
HEAD = {name: array for name, array in ARRAYS.items() if name.startswith("classifier")}


def test_two_heads_of_the_same_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {name.replace("classifier", "aux"): array for name, array in HEAD.items()}
    weight_files.torch_file(tmp_path / "w.pth", {**ARRAYS, **other})
    told = refused(tmp_path / "w.pth", capsys)
    assert "aux.0, aux.3, aux.6 (of another head: give --head)" in told
    report = converted(tmp_path / "w.pth", "--head", "classifier", "--preprocessing", "caffe")
    assert report["sha256"] == WEIGHTS.sha256


SIZES = {
    "not square": ("classifier.0.weight", (7, 16 * 3)),
    "another input": ("classifier.6.weight", (5, 17)),
}


@pytest.mark.parametrize("case", SIZES)
def test_heads_of_other_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    name, shape = SIZES[case]
    weight_files.torch_file(tmp_path / "w.pth", {**ARRAYS, name: np.ones(shape, np.float32)})
    told = refused(tmp_path / "w.pth", capsys)
    layer = name.removesuffix(".weight")
    assert "vgg16: a classifier whose sizes are not its own: " in told
    assert f"{layer} {shape}" in told
