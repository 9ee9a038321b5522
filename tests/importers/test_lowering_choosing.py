"""Comparisons, Where and If become functions of one tensor, or the branch that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from refq.engine import forward  # noqa: E402
from refq.errors import WeightsError  # noqa: E402
from refq.importers import models  # noqa: E402
from refq.importers.foreign import Model  # noqa: E402
from tests.importers.onnx_models import IMAGE, branches, model, node, saved  # noqa: E402

BOOL, FLOAT = onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT
WEIGHT = {"w": np.random.default_rng(3).normal(size=(2, 3, 1, 1)).astype(np.float32)}
NUMBERS = {"k": np.full(1, 0.25, np.float32), "zero": np.array(0, np.float32)}
CONV = node("Conv", "x w", "c")


def lowered(folder: Path, nodes: list[Any]) -> tuple[Path, Model]:
    path = saved(folder / "m.onnx", model([CONV, *nodes], IMAGE, WEIGHT | NUMBERS))
    return path, models.read(path)


def check(folder: Path, nodes: list[Any], layers: list[str]) -> None:
    """The model's layers, and that it computes what ONNX Runtime does."""
    path, found = lowered(folder, nodes)
    assert [each.layer.kind for each in found.network.nodes] == layers
    images = np.random.default_rng(4).normal(size=IMAGE["x"]).astype(np.float32)
    images[..., 0] = 0  # what is compared with 0 is 0 there
    (wanted,) = runtime.InferenceSession(str(path)).run(None, {"x": images})
    made = forward.forward(found.network, found.weights, None, images)
    assert np.allclose(made, wanted, atol=1e-6)


KINDS = ["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inputs", ["c zero", "k c"])
def test_comparisons(tmp_path: Path, kind: str, inputs: str) -> None:
    nodes = [node(kind, inputs, "b"), node("Cast", "b", "y", to=FLOAT)]
    check(tmp_path, nodes, ["Conv", "Function"])


@pytest.mark.parametrize("kind", ["And", "Or", "Xor"])
def test_several_conditions(tmp_path: Path, kind: str) -> None:
    nodes = [
        node("Greater", "c k", "a"),
        node("Less", "c zero", "b"),
        node("Not", "b", "n"),
        node(kind, "a n", "d"),
        node("Cast", "d", "y", to=FLOAT),
    ]
    check(tmp_path, nodes, ["Conv", "Function"])


def test_where(tmp_path: Path) -> None:
    nodes = [
        node("Abs", "c", "a"),
        node("Greater", "a k", "g"),
        node("Cast", "g", "b", to=BOOL),
        node("Exp", "c", "e"),
        node("Where", "b e zero", "y"),
    ]
    check(tmp_path, nodes, ["Conv", "Function"])


@pytest.mark.parametrize("kind, last", [("Max", "Add"), ("Min", "Sub")])
def test_the_larger_of_two_tensors(tmp_path: Path, kind: str, last: str) -> None:
    nodes = [node("MaxPool", "c", "p", kernel_shape=[1, 1]), node("Neg", "p", "n")]
    nodes.append(node(kind, "c n", "y"))
    check(tmp_path, nodes, ["Conv", "MaxPool", "Function", "Sub", "ReLU", last])


def test_a_choice_between_tensors(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "d"),
        node("MaxPool", "d", "p", kernel_shape=[1, 1]),
        node("Greater", "c p", "y"),
        node("Cast", "y", "z", to=FLOAT),
        node("Conv", "z v", "y2"),
    ]
    path = saved(
        tmp_path / "m.onnx",
        model(
            [CONV, *nodes], IMAGE, WEIGHT | {"v": np.ones((1, 2, 1, 1), np.float32)}, output="y2"
        ),
    )
    with pytest.raises(WeightsError, match=r"'Greater_y' \(Greater\): it has 2 tensors"):
        models.read(path)


@pytest.mark.parametrize("size, layer", [(60, "ReLU"), (61, "Function")])
def test_a_condition_of_shapes(tmp_path: Path, size: int, layer: str) -> None:
    """60 values in an image: then what is above 0, else -x."""
    nodes = [
        node("Size", "x", "n"),
        node("Constant", "", "m", value_int=size),
        node("Equal", "n m", "t"),
        node("If", "t", "y", **branches()),
    ]
    check(tmp_path, nodes, [layer])


def test_a_condition_of_values(tmp_path: Path) -> None:
    nodes = [node("Greater", "c k", "t"), node("If", "t", "y", **branches())]
    (told,) = lowered(tmp_path, nodes)[1].notes
    assert told == "cut off before output y: node 'If_y' (If): its input 0 is computed"
