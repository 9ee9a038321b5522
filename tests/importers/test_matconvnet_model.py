"""Whole MatConvNet models: what their layers compute, in each of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from refq.errors import RefqError
from refq.importers import matconvnet_model
from refq.importers.foreign import Asked, Foreign
from tests.importers.weight_files import MatlabLayer, matconvnet, matconvnet73, matconvnet_dag

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import torch
from torch.nn import functional

from tests.importers import as_onnx

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 6, 9, 11)).astype(np.float32)
T = torch.from_numpy(X)
ASKED = Asked(input_size=(9, 11))


def array(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def turned(filters: np.ndarray) -> Any:
    """MATLAB's axes as torch has them."""
    return torch.from_numpy(filters.transpose(3, 2, 0, 1).copy())


W, B = array(3, 2, 3, 4), array(4, 1)
UP, UP_BIAS = array(4, 3, 2, 6), array(4, 1)
G, H = np.abs(array(6, 1)) + np.float32(0.5), array(6, 1)
MOMENTS = np.concatenate([array(6, 1), np.abs(array(6, 1)) + np.float32(0.5)], 1)
# the first layer tells how many channels the image has
SAME = MatlabLayer(
    "same",
    "bnorm",
    [np.ones((6, 1), "f"), np.zeros((6, 1), "f"), np.tile(np.array([[0, 1]], "f"), (6, 1))],
)


def fives(kind: str, arrays: Any = (), **fields: Any) -> list[MatlabLayer]:
    return [MatlabLayer("only", kind, arrays, fields)]


# pads and crops are (top, bottom, left, right)
CASES: dict[str, tuple[list[MatlabLayer], Any]] = {
    "conv": (
        fives("conv", [W, B], stride=(2, 1), pad=(1, 0, 2, 1)),
        lambda: functional.conv2d(
            functional.pad(T, (2, 1, 1, 0)), turned(W), torch.tensor(B[:, 0]), (2, 1), groups=2
        ),
    ),
    "dilated": (
        fives("conv", [W], dilate=(2, 3)),
        lambda: functional.conv2d(T, turned(W), None, 1, 0, (2, 3), 2),
    ),
    "convt": (
        fives("convt", [UP, UP_BIAS], upsample=(2, 3), crop=(1, 0, 2, 1), numGroups=2),
        lambda: functional.conv_transpose2d(
            T, turned(UP), torch.tensor(UP_BIAS[:, 0]), (2, 3), 0, 0, 2
        )[:, :, 1:, 2:-1],
    ),
    "max": (
        fives("pool", pool=(3, 2), stride=2, pad=(0, 1, 1, 0), method="max"),
        lambda: functional.max_pool2d(functional.pad(T, (1, 0, 0, 1), value=-np.inf), (3, 2), 2),
    ),
    "mean of real cells": (
        fives("pool", pool=3, stride=2, pad=1, method="avg"),
        lambda: functional.avg_pool2d(T, 3, 2, 1, count_include_pad=False),
    ),
    "relu": (fives("relu"), lambda: functional.relu(T)),
    "leak": (fives("relu", leak=0.1), lambda: functional.leaky_relu(T, 0.1)),
    "sigmoid": (fives("sigmoid"), lambda: torch.sigmoid(T)),
    "normalize": (fives("normalize", param=(3, 2, 0.1, 0.75)), lambda: _lrn(3, 2, 0.1, 0.75)),
    "bnorm": (
        fives("bnorm", [G, H, MOMENTS]),
        lambda: (
            (X - MOMENTS[:, 0, None, None]) / MOMENTS[:, 1, None, None] * G[:, :, None]
            + H[:, :, None]
        ),
    ),
    "softmax": (fives("softmax"), lambda: torch.softmax(T, 1)),
    "dropout and a loss": (
        [
            *fives("relu"),
            MatlabLayer("d", "dropout", (), {"rate": 0.5}),
            MatlabLayer("l", "softmaxloss"),
        ],
        lambda: functional.relu(T),
    ),
    "flatten": (fives("flatten"), lambda: X.transpose(0, 1, 3, 2).reshape(2, -1, 1, 1)),
}


def _lrn(size: int, kappa: float, alpha: float, beta: float) -> np.ndarray:
    """vl_nnnormalize, channel by channel."""
    out = np.empty_like(X)
    for channel in range(6):
        group = X[:, max(0, channel - (size - 1) // 2) : channel + size // 2 + 1]
        out[:, channel] = X[:, channel] / (kappa + alpha * (group**2).sum(1)) ** beta
    return out


def agree(foreign: Foreign, wanted: Any) -> None:
    (made,) = as_onnx.run(foreign, [X])
    assert made.shape == tuple(wanted.shape)
    np.testing.assert_allclose(made, np.asarray(wanted), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("write", [matconvnet, matconvnet73, matconvnet_dag])
def test_a_layer(tmp_path: Path, write: Any, case: str) -> None:
    layers, wanted = CASES[case]
    write(tmp_path / "net.mat", [SAME, *layers])
    agree(matconvnet_model.read(tmp_path / "net.mat", ASKED), wanted())


def dag(
    path: Path, reads: dict[str, list[str]], layers: dict[str, tuple[str, Any, dict[str, Any]]]
) -> Foreign:
    listed = [
        MatlabLayer(name, kind, arrays, said) for name, (kind, arrays, said) in layers.items()
    ]
    matconvnet_dag(path / "dag.mat", [SAME, *listed], {"same": ["data"], **reads})
    return matconvnet_model.read(path / "dag.mat", ASKED)


FACTOR, OFFSET = array(1, 1, 6), array(9, 11)


def test_a_graph(tmp_path: Path) -> None:
    """Layers out of order, as DagNN may keep them."""
    reads = {
        "scaled": ["sum"],
        "sum": ["a", "b", "same"],
        "a": ["same"],
        "b": ["same"],
        "both": ["scaled", "a"],
    }
    foreign = dag(
        tmp_path,
        reads,
        {
            "scaled": ("Scale", [FACTOR, OFFSET], {"hasBias": 1}),
            "sum": ("add", (), {}),
            "a": ("relu", (), {}),
            "b": ("sigmoid", (), {}),
            "both": ("concat", (), {"dim": 3}),
        },
    )
    a = np.maximum(X, 0)
    scaled = (a + 1 / (1 + np.exp(-X)) + X) * FACTOR[0, 0][:, None, None] + OFFSET
    assert foreign.outputs == ("both",)
    agree(foreign, np.concatenate([scaled, a], 1))


def test_a_crop(tmp_path: Path) -> None:
    """FCN's: from the top and left as much as is stated."""
    foreign = dag(
        tmp_path,
        {"p": ["same"], "c": ["same", "p"], "s": ["c", "p"]},
        {
            "p": ("pool", (), {"poolSize": 4, "stride": 1}),
            "c": ("Crop", (), {"crop": (1, 2)}),
            "s": ("add", (), {}),
        },
    )
    pooled = functional.max_pool2d(T, 4, 1).numpy()
    agree(foreign, pooled + X[:, :, 1:7, 2:10])


def test_how_images_are_made(tmp_path: Path) -> None:
    matconvnet(tmp_path / "net.mat", [MatlabLayer("c", "conv", [array(3, 3, 3, 4)])])
    foreign = matconvnet_model.read(tmp_path / "net.mat", Asked(input_size=(9, 11)))
    assert foreign.preprocessing == {
        "crop": (9, 11),
        "shorter": (9, 256),
        "channels": "RGB",
        "mean": (123.5, 116.25, 103.0),
        "scale": 1.0,
    }
    assert foreign.inputs == {"x0": (None, 3, 9, 11)}


def test_a_size_that_meta_states(tmp_path: Path) -> None:
    matconvnet(tmp_path / "net.mat", [MatlabLayer("c", "conv", [array(3, 3, 1, 4)])])
    saved = scipy.io.loadmat(tmp_path / "net.mat")
    meta = {"inputSize": np.array([[28.0, 20.0, 1.0]])}
    scipy.io.savemat(tmp_path / "net.mat", {"layers": saved["layers"], "meta": meta})
    foreign = matconvnet_model.read(tmp_path / "net.mat", Asked())
    assert foreign.inputs == {"x0": (None, 1, 28, 20)} and foreign.preprocessing is None


BEYOND: dict[str, tuple[list[MatlabLayer], str]] = {
    "a custom layer": (fives("custom"), "custom"),
    "spatial": (fives("spnorm", param=(3, 3, 1, 1)), "spnorm"),
    "a grid": (fives("BilinearSampler"), "BilinearSampler"),
    "by each batch": (fives("bnorm", [G, H]), "bnorm by each batch"),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_onnx_does_not_say(tmp_path: Path, case: str) -> None:
    layers, told = BEYOND[case]
    matconvnet(tmp_path / "net.mat", [SAME, *layers])
    last = matconvnet_model.read(tmp_path / "net.mat", ASKED).operators[-1]
    assert (last.kind, last.domain, last.name) == (told, "matconvnet", "only")


REFUSED: dict[str, tuple[list[MatlabLayer], str]] = {
    "channels": (fives("conv", [array(3, 3, 4, 2)]), "only: filters (3, 3, 4, 2) over 6 channels"),
    "an unknown field": (fives("relu", spin=3), "only: spin of a relu layer"),
    "a pad as large": (fives("pool", pool=2, pad=2, method="max"), "only: a pool (2, 2)"),
    "no stride": (fives("conv", [W], stride=0), "only: kernel, strides (3, 2, 0, 0"),
    "a large kernel": (fives("conv", [array(12, 3, 6, 2)]), "only: a kernel (12, 3)"),
    "biases": (fives("conv", [W, array(3, 1)]), "only: 3 biases; expected 4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    layers, told = REFUSED[case]
    matconvnet(tmp_path / "net.mat", [SAME, *layers])
    with pytest.raises(RefqError) as error:
        matconvnet_model.read(tmp_path / "net.mat", ASKED)
    assert told in str(error.value)


def test_no_size(tmp_path: Path) -> None:
    matconvnet73(tmp_path / "net.mat", [SAME])
    with pytest.raises(RefqError, match="--input-size"):
        matconvnet_model.read(tmp_path / "net.mat", Asked())


def test_a_circle(tmp_path: Path) -> None:
    with pytest.raises(RefqError, match="by way of others"):
        dag(
            tmp_path,
            {"a": ["b"], "b": ["a", "same"]},
            {"a": ("relu", (), {}), "b": ("add", (), {})},
        )
