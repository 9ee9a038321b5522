"""What lowering does at the ends: fixed batches, layers that it lacks, and models of nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from refq.engine import forward  # noqa: E402
from refq.errors import WeightsError  # noqa: E402
from refq.importers import models  # noqa: E402
from tests.importers.onnx_models import IMAGE, model, node, saved  # noqa: E402

RNG = np.random.default_rng(8)
ARRAYS = {
    "w": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "l": RNG.normal(size=(24, 2)).astype(np.float32),
    "shape": np.array([5, -1]),
    "axes": np.array([2, 3]),
}
CONV = node("Conv", "x w", "c")


def test_a_batch_that_the_file_fixes(tmp_path: Path) -> None:
    nodes = [CONV, node("Reshape", "c shape", "r"), node("MatMul", "r l", "y")]
    path = saved(tmp_path / "m.onnx", model(nodes, {"x": (5, 3, 4, 5)}, ARRAYS))
    found = models.read(path)
    images = RNG.normal(size=(5, 3, 4, 5)).astype(np.float32)
    (wanted,) = runtime.InferenceSession(str(path)).run(None, {"x": images})
    assert np.allclose(
        forward.forward(found.network, found.weights, None, images), wanted, atol=1e-5
    )


def test_sums_are_means_and_a_factor(tmp_path: Path) -> None:
    nodes = [CONV, node("ReduceSum", "c axes", "y", keepdims=1)]
    path = saved(tmp_path / "m.onnx", model(nodes, IMAGE, ARRAYS))
    found = models.read(path)
    images = RNG.normal(size=IMAGE["x"]).astype(np.float32)
    (wanted,) = runtime.InferenceSession(str(path)).run(None, {"x": images})
    assert np.allclose(
        forward.forward(found.network, found.weights, None, images), wanted, atol=1e-4
    )


def test_layers_with_weights_are_no_epilogue(tmp_path: Path) -> None:
    """What follows the first convolution is not cut off where it has weights itself."""
    nodes = [CONV, node("Reshape", "c two", "r"), node("Gemm", "r l", "y", transA=1)]
    arrays = ARRAYS | {"two": np.array([24, 1])}
    path = saved(tmp_path / "m.onnx", model(nodes, IMAGE, arrays))
    with pytest.raises(WeightsError, match=r"'Gemm_y' \(Gemm\): it is no product with a matrix"):
        models.read(path)


def test_a_model_of_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", model([node("Identity", "x", "y")], IMAGE, {}))
    with pytest.raises(WeightsError, match="whose outputs y are its input"):
        models.read(path)


@pytest.mark.parametrize("inputs", ["k c", "c k", "k c j", "j k c", "e c j k"])
@pytest.mark.parametrize("axis", [1, 2])
def test_constants_beside_a_tensor(tmp_path: Path, inputs: str, axis: int) -> None:
    """They are padding, in their order; one of no values (e) is nothing."""
    sizes = {"k": 2, "j": 1, "e": 0}
    shape = [1, 4, 2, 3]
    arrays = {"w": ARRAYS["w"]}
    for number, (name, size) in enumerate(sizes.items()):
        own = [size if place == axis else each for place, each in enumerate(shape)]
        arrays[name] = np.full(own, number + 0.5, np.float32)
    path = saved(
        tmp_path / "m.onnx", model([CONV, node("Concat", inputs, "y", axis=axis)], IMAGE, arrays)
    )
    found = models.read(path)
    images = RNG.normal(size=IMAGE["x"]).astype(np.float32)
    (wanted,) = runtime.InferenceSession(str(path)).run(None, {"x": images})
    made = forward.forward(found.network, found.weights, None, images)
    assert made.shape == wanted.shape and np.allclose(made, wanted, atol=1e-5)
