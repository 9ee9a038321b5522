"""Runs ONNX nodes through refq's public kernels, for tests against ONNX's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refq import kernels


class UnsupportedError(Exception):
    """What refq does not compute, and says so."""


def require(condition: bool, reason: str) -> None:
    if not condition:
        raise UnsupportedError(reason)


def _window(x: np.ndarray, attributes: Mapping[str, Any]) -> dict[str, Any]:
    require(x.ndim == 4, f"{x.ndim - 2}-D images")
    require(attributes.get("auto_pad", b"NOTSET") == b"NOTSET", "auto_pad")
    return {
        "strides": tuple(attributes.get("strides", (1, 1))),
        "pads": tuple(attributes.get("pads", (0, 0, 0, 0))),
        "dilations": tuple(attributes.get("dilations", (1, 1))),
    }


def _integers(inputs: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Both operands less their zero points; the second one's is a number an output."""
    x, w = inputs[0].astype(np.int32), inputs[1].astype(np.int32)
    x_zero = inputs[2] if len(inputs) > 2 else 0
    w_zero = np.asarray(inputs[3] if len(inputs) > 3 else 0, np.int32)
    if w_zero.size > 1 and w.ndim == 4:
        w_zero = w_zero.reshape(-1, 1, 1, 1)
    return x - np.int32(np.asarray(x_zero).reshape(-1)[0]), w - w_zero


def run_node(op: str, inputs: list[Any], attributes: Mapping[str, Any], opset: int = 22) -> Any:
    """The node's first output. Raises UnsupportedError with a reason."""
    x = inputs[0]
    if op == "Conv":
        window, bias = _window(x, attributes), inputs[2] if len(inputs) > 2 else None
        return kernels.conv(x, inputs[1], bias, **window, group=attributes.get("group", 1))
    if op == "ConvInteger":
        window, operands = _window(x, attributes), _integers(inputs)
        return kernels.conv_integer(*operands, **window, group=attributes.get("group", 1))[0]
    if op == "MatMulInteger":
        left, right = _integers(inputs)
        require(left.ndim == right.ndim == 2, "stacked matrices")
        return kernels.dense_integer(left, right.T)[0]
    if op in ("MaxPool", "AveragePool"):
        window = _window(x, attributes)
        require(window.pop("dilations") == (1, 1), "dilations")
        window |= {
            "kernel_shape": tuple(attributes["kernel_shape"]),
            "ceil_mode": bool(attributes.get("ceil_mode", 0)),
        }
        if op == "MaxPool":
            return kernels.max_pool(x.astype(np.int32) if x.dtype == np.uint8 else x, **window)
        padded = bool(attributes.get("count_include_pad", 0))
        return kernels.avg_pool(x, **window, count_include_pad=padded)
    if op == "GlobalAveragePool":
        return kernels.global_avg_pool(x)[:, :, None, None]
    if op == "LRN":
        return kernels.lrn(x, **attributes)
    if op == "Gemm":
        require(attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0, "alpha, beta")
        w = inputs[1] if attributes.get("transB") else inputs[1].T
        bias = inputs[2] if len(inputs) > 2 else np.zeros(1, np.float32)
        require(bias.ndim < 2 or bias.shape[0] == 1, "a bias for each row")
        flat = np.broadcast_to(bias.reshape(-1), (w.shape[0],))
        return kernels.dense(x.T if attributes.get("transA") else x, w, flat)
    if op == "Relu":
        return kernels.relu(x)
    if op == "Softmax":
        axis = attributes.get("axis", -1 if opset >= 13 else 1)
        require(axis % x.ndim == 1, "an axis other than the channels")
        if opset < 13:  # all axes from there on together
            return kernels.softmax(x.reshape(len(x), -1)).reshape(x.shape)
        return kernels.softmax(x)
    if op == "Concat":
        require(attributes["axis"] % x.ndim == 1, "an axis other than the channels")
        return kernels.concat(inputs)
    if op in ("Sum", "Add"):
        require(all(each.shape == x.shape for each in inputs), "broadcasting")
        require(x.dtype in (np.float32, np.int32, np.int64), f"sums of {x.dtype}")
        return kernels.add(inputs)
    raise UnsupportedError(f"operation {op}")
