"""Whole networks in float32 against ONNX Runtime, on the same weights and image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refq import networks
from refq.engine.forward import forward
from refq.networks.weights import random_weights

pytest.importorskip("onnx", reason="compares with ONNX, which is not installed")
runtime = pytest.importorskip("onnxruntime", reason="compares with onnxruntime, not installed")

from benchmarks.peers.onnx_graph import to_onnx  # noqa: E402 - imports onnx

# every network with its real layer list; sizes at which every window still has rows to see
SIZES: dict[str, dict[str, Any]] = {
    name: {"input_size": 67, "width": 0.125, "classes": 11} for name in networks.known()
}
for _name in SIZES:
    if "alexnet" in _name or _name == "caffenet" or _name.startswith("vgg"):
        SIZES[_name]["hidden"] = 13
for _name in ("resnet20", "resnet32", "resnet44", "resnet56"):
    SIZES[_name] = {"input_size": 21, "width": 0.4375, "classes": 5, "centred": _name == "resnet32"}


def compared(name: str, sizes: dict[str, Any], images: int) -> tuple[np.ndarray, np.ndarray]:
    network = networks.build(name, sizes)
    weights = random_weights(network, 5)
    rng = np.random.default_rng(6)
    for bias in weights.bias.values():
        bias += rng.normal(0, 0.5, bias.shape).astype(np.float32)
    x = rng.integers(-128, 128, (images, *network.input_shape)).astype(np.float32)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        to_onnx(network, weights).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (wanted,) = session.run(None, {"data": x})
    return forward(network, weights, None, x), wanted


@pytest.mark.parametrize("name", networks.known())
def test_float_equals_onnxruntime(name: str) -> None:
    got, wanted = compared(name, SIZES[name], 2)
    assert got.shape == wanted.shape and wanted.std() > 0
    np.testing.assert_allclose(got, wanted, rtol=0, atol=3e-6 * np.abs(wanted).max())
