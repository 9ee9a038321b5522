"""Checkpoints of training scripts: what stands beside a state dict is named, and not in the way."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.importers import small_weights, weight_files
from tests.importers.conversions import converted, refused

NETWORK, WEIGHTS = small_weights.case()
ARRAYS = small_weights.torch_arrays(WEIGHTS)


def state() -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(array.copy()) for name, array in ARRAYS.items()}


def beside() -> dict[str, Any]:
    """What training scripts save."""
    torch = pytest.importorskip("torch")
    random.seed(1)
    losses: dict[str, list[float]] = collections.defaultdict(list)
    losses["train"].append(0.5)
    return {
        "best": np.float64(0.7),
        "epoch": np.int64(3),
        "classes": {"cat", "dog"},
        "frozen": frozenset({"a"}),
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": np.random.RandomState(0).get_state(),
        "python_rng": random.getstate(),
        "device": torch.device("cpu"),
        "losses": losses,
        "counts": collections.Counter("abca"),
        "last": collections.deque([1, 2], maxlen=2),
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("run")),
        "started": datetime.datetime(2026, 1, 1),
        "took": datetime.timedelta(hours=1),
        "matrix": np.eye(3),
        "dtype": torch.float16,
        "version": torch.__version__,
        "shape": torch.Size([1, 3]),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_what_stands_beside_a_state_dict(tmp_path: Path, zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    more = beside()
    torch.save(
        {"state_dict": state(), **more}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped
    )
    report = converted(tmp_path / "w.pth", "--preprocessing", "caffe")
    assert report["sha256"] == WEIGHTS.sha256 and set(report["ignored"]) == set(more)


def test_what_is_of_others_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": state(), "model": NETWORK}, tmp_path / "w.pth")
    told = refused(tmp_path / "w.pth", capsys)
    assert "imports refq.networks.graph.Network" in told and "save model.state_dict()" in told


def test_several_state_dicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"G": state(), "D": state()}, tmp_path / "w.pth")
    told = refused(tmp_path / "w.pth", capsys)
    assert "2 state dicts: G, D; expected one, or one of the usual names; save" in told


def test_tensors_without_floats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    small = {name: each.to(torch.int8) for name, each in state().items()}
    torch.save(small, tmp_path / "w.pth")
    told = refused(tmp_path / "w.pth", capsys)
    assert "tensors of int8 alone; expected floats; save the state dict before" in told
    header = b'{"a.weight":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}'
    whole = len(header).to_bytes(8, "little") + header + bytes(2)
    (tmp_path / "w.safetensors").write_bytes(whole)
    assert "tensors of I8 alone; expected floats" in refused(tmp_path / "w.safetensors", capsys)


@pytest.mark.parametrize("layer", ["normalize.", "norm.", ""])
def test_what_prepares_images(tmp_path: Path, layer: str) -> None:
    more = {f"{layer}{part}": np.ones((1, 3, 1, 1), np.float32) for part in ("mean", "std")}
    weight_files.torch_file(tmp_path / "w.pth", {**more, **ARRAYS})
    report = converted(tmp_path / "w.pth", "--preprocessing", "caffe")
    assert report["sha256"] == WEIGHTS.sha256 and report["ignored"] == [*more]
    assert f"{layer}mean and {layer}std: the model prepares" in report["notes"][0]


def test_values_of_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weight_files.torch_file(tmp_path / "w.pth", ARRAYS)
    for given, told in (
        ("top=3", "--parameter top=3; expected true or false"),
        ("classes=true", "--parameter classes=true; expected a whole number"),
        ("width=true", "--parameter width=true; expected a number"),
    ):
        assert told in refused(tmp_path / "w.pth", capsys, "--parameter", given)
