"""Forms of operators that exporters seldom write: each computes what ONNX says, or is refused."""

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
from refq.importers.foreign import Operator  # noqa: E402
from refq.importers.lowering.constants import computed  # noqa: E402
from tests.importers.onnx_models import model, node, saved  # noqa: E402

RNG = np.random.default_rng(17)
SHAPE = (1, 2, 6, 4)
ARRAYS: dict[str, np.ndarray] = {
    "k": RNG.normal(size=(2, 3, 3, 2)).astype(np.float32),
    "map": RNG.normal(size=(2, 6, 4)).astype(np.float32),
    "lines": RNG.uniform(1, 2, (6, 4)).astype(np.float32),
    "none": np.zeros(0, np.int64),
    "all": np.arange(4),
    "channels": np.array([1]),
    "two": np.array([1, 2]),
    "last": np.array([-1, 4]),
    "first": np.array([-9, 1]),
    "back": np.array([-1, -2]),
}


def computes(folder: Path, *nodes: Any) -> list[str]:
    """The kinds of layers of a network that computes what ONNX Runtime does."""
    arrays = {name: ARRAYS[name] for each in nodes for name in each.input if name in ARRAYS}
    path = saved(folder / "m.onnx", model(nodes, {"x": SHAPE}, arrays, 18))
    found = models.read(path)
    images = RNG.normal(size=SHAPE).astype(np.float32)
    (wanted,) = runtime.InferenceSession(str(path)).run(None, {"x": images})
    made = forward.forward(found.network, found.weights, None, images)
    np.testing.assert_allclose(made.reshape(-1), wanted.reshape(-1), rtol=1e-5, atol=1e-5)
    return [each.layer.kind for each in found.network.nodes]


@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"])
@pytest.mark.parametrize("inputs", ["x", "x none", "x all", "x channels", "x two"])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions(tmp_path: Path, kind: str, inputs: str, keep: int) -> None:
    computes(
        tmp_path, node("Relu", "x", "r"), node(kind, inputs.replace("x", "r"), "y", keepdims=keep)
    )


def test_no_axes_may_mean_no_reduction(tmp_path: Path) -> None:
    nothing = {"noop_with_empty_axes": 1}
    made = node("ReduceMax", "r none", "y", **nothing)
    assert computes(tmp_path, node("Relu", "x", "r"), made) == ["ReLU"]
    x = np.arange(6.0).reshape(2, 3)
    for given, wanted in ((nothing, x), ({}, [[15.0]])):
        operator = Operator("ReduceSum", "s", ("x", "a"), ("y",), given)
        np.testing.assert_array_equal(computed(operator, [x, ARRAYS["none"]])[0], wanted)


@pytest.mark.parametrize("batch", ["n", 3])
def test_a_reduction_of_a_batch_is_refused(tmp_path: Path, batch: Any) -> None:
    made = model([node("ReduceMean", "x", "y")], {"x": (batch, 2, 6, 4)}, {}, 18)
    with pytest.raises(WeightsError, match=r"\(ReduceMean\): it goes over the images of a batch"):
        models.read(saved(tmp_path / "m.onnx", made))


def test_slices_backwards(tmp_path: Path) -> None:
    """Channels as BGR, and rows that are read from the last on."""
    layers = computes(tmp_path, node("Slice", "x last first two back", "y"))
    assert layers.count("Concat") == 2


PLACES = [("Sub", "map x"), ("Div", "x map"), ("Div", "x lines")]
PLACES += [(kind, inputs) for kind in ("Add", "Mul") for inputs in ("x map", "map x", "x lines")]


@pytest.mark.parametrize(("kind", "inputs"), PLACES)
def test_a_number_for_each_value(tmp_path: Path, kind: str, inputs: str) -> None:
    assert "Conv" in computes(tmp_path, node(kind, inputs, "y"))


@pytest.mark.parametrize("sizes", [(14, 4), (18, 8), (20, 9)])
def test_transposed_convolutions_of_any_size(tmp_path: Path, sizes: tuple[int, int]) -> None:
    """Of fewer rows than the kernel reaches, of as many, and of more."""
    made = node("ConvTranspose", "x k", "y", strides=[3, 2], output_shape=list(sizes))
    assert computes(tmp_path, made) == ["ConvTranspose"]


def test_channels_before_blocks(tmp_path: Path) -> None:
    """SpaceToDepth has a mode since version 27 of the operators: as of DepthToSpace."""
    nodes = [node("SpaceToDepth", "x", "y", blocksize=2, mode="CRD")]
    found = models.read(saved(tmp_path / "m.onnx", model(nodes, {"x": SHAPE}, {}, 27)))
    images = RNG.normal(size=SHAPE).astype(np.float32)
    wanted = images.reshape(1, 2, 3, 2, 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(1, 8, 3, 2)
    made = forward.forward(found.network, found.weights, None, images)
    np.testing.assert_array_equal(made, wanted)


def test_a_bias_for_each_row_is_refused(tmp_path: Path) -> None:
    arrays = {"w": np.ones((5, 4), np.float32), "b": np.ones((3, 4), np.float32)}
    made = model([node("Gemm", "x w b", "y")], {"x": (3, 5)}, arrays)
    with pytest.raises(WeightsError, match=r"\(Gemm\): constants of shape \(3, 4\), which are"):
        models.read(saved(tmp_path / "m.onnx", made))
