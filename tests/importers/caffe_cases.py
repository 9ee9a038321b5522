"""Caffe nets of one layer or a few, and what torch and NumPy compute of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tests.importers.caffe_nets import Part

RNG = np.random.default_rng(17)
IMAGE = (1, 6, 9, 11)
X = RNG.normal(size=(2, 6, 9, 11)).astype(np.float32)
T = torch.from_numpy(X)
POSITIVE = np.abs(X) + np.float32(0.5)


def array(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def one(kind: str, said: Mapping[str, Any] | None = None, *arrays: np.ndarray) -> list[Part]:
    """A net of one layer."""
    message = {name: dict(fields) for name, fields in (said or {}).items()}
    return [Part("only", kind, ["data"], ["out"], message, arrays)]


W, B = array(4, 3, 3, 2), array(4)
UP, UP_BIAS = array(6, 2, 4, 3), array(4)
F, F_BIAS = array(5, 6 * 9 * 11), array(5)
ROWS = array(3, 11)
GAMMA, BETA = array(6), array(6)
MEAN, VARIANCE = array(6), np.abs(array(6)) + np.float32(0.25)
PLANE = array(9, 11)


def conv_like(**more: Any) -> dict[str, dict[str, Any]]:
    return {"convolution_param": {"num_output": 4, **more}}


def caffe_pool(kernel: int, stride: int, pad: int, mean: bool) -> np.ndarray:
    """Caffe's loops: windows rounded up, cut at the padded image, maxima over real cells."""
    n, c, rows, columns = X.shape
    sizes = []
    for length in (rows, columns):
        count = -(-(length + 2 * pad - kernel) // stride) + 1
        if pad and (count - 1) * stride >= length + pad:
            count -= 1
        sizes.append(count)
    out = np.zeros((n, c, *sizes), np.float32)
    for i, j in np.ndindex(*sizes):
        top, left = i * stride - pad, j * stride - pad
        bottom, right = min(top + kernel, rows + pad), min(left + kernel, columns + pad)
        area = (bottom - top) * (right - left)
        cells = X[:, :, max(top, 0) : min(bottom, rows), max(left, 0) : min(right, columns)]
        out[:, :, i, j] = cells.sum((2, 3)) / area if mean else cells.max((2, 3))
    return out


def pool(**said: object) -> dict[str, dict[str, object]]:
    return {"pooling_param": said}


# kind of layer and what it states: (net, what it computes)
CASES: dict[str, tuple[list[Part], Any]] = {
    "convolution": (
        one(
            "Convolution",
            conv_like(kernel_h=3, kernel_w=2, stride=[2, 1], pad=[1, 0], group=2),
            W,
            B,
        ),
        lambda: functional.conv2d(T, torch.tensor(W), torch.tensor(B), (2, 1), (1, 0), 1, 2),
    ),
    "dilation, no bias": (
        one(
            "Convolution",
            conv_like(kernel_size=[3, 2], dilation=[2, 3], bias_term=False, group=2),
            W,
        ),
        lambda: functional.conv2d(T, torch.tensor(W), None, 1, 0, (2, 3), 2),
    ),
    "depthwise by its type": (
        one(
            "DepthwiseConvolution",
            conv_like(num_output=6, kernel_size=3),
            array(6, 1, 3, 3),
            B6 := array(6),
        ),
        None,
    ),
    "deconvolution": (
        one(
            "Deconvolution",
            conv_like(kernel_size=[4, 3], stride=[2, 3], pad=[1, 0], group=2),
            UP,
            UP_BIAS,
        ),
        lambda: functional.conv_transpose2d(
            T, torch.tensor(UP), torch.tensor(UP_BIAS), (2, 3), (1, 0), 0, 2
        ),
    ),
    "inner product": (
        one("InnerProduct", {"inner_product_param": {"num_output": 5}}, F, F_BIAS),
        lambda: X.reshape(2, -1) @ F.T + F_BIAS,
    ),
    "transposed": (
        one(
            "InnerProduct",
            {"inner_product_param": {"num_output": 5, "transpose": True, "bias_term": False}},
            np.ascontiguousarray(F.T),
        ),
        lambda: X.reshape(2, -1) @ F.T,
    ),
    "inner product of rows": (
        one("InnerProduct", {"inner_product_param": {"num_output": 3, "axis": -1}}, ROWS, B[:3]),
        lambda: X @ ROWS.T + B[:3],
    ),
    "ReLU": (one("ReLU"), lambda: functional.relu(T)),
    "leak": (
        one("ReLU", {"relu_param": {"negative_slope": 0.1}}),
        lambda: functional.leaky_relu(T, 0.1),
    ),
    "PReLU": (one("PReLU", {}, GAMMA), lambda: functional.prelu(T, torch.tensor(GAMMA))),
    "one slope": (
        one("PReLU", {"prelu_param": {"channel_shared": True}}, GAMMA[:1]),
        lambda: functional.prelu(T, torch.tensor(GAMMA[:1])),
    ),
    "ELU": (one("ELU", {"elu_param": {"alpha": 0.7}}), lambda: functional.elu(T, 0.7)),
    "ReLU6": (one("ReLU6"), lambda: functional.relu6(T)),
    "Clip": (one("Clip", {"clip_param": {"min": -0.5, "max": 1.5}}), lambda: X.clip(-0.5, 1.5)),
    "Swish": (one("Swish", {"swish_param": {"beta": 1.5}}), lambda: T * torch.sigmoid(1.5 * T)),
    "Sigmoid": (one("Sigmoid"), lambda: torch.sigmoid(T)),
    "TanH": (one("TanH"), lambda: np.tanh(X)),
    "AbsVal": (one("AbsVal"), lambda: np.abs(X)),
    "BNLL": (one("BNLL"), lambda: functional.softplus(T)),
    "Power": (
        one("Power", {"power_param": {"power": 2.0, "scale": 0.5, "shift": -1.0}}),
        lambda: (0.5 * X - 1) ** 2,
    ),
    "no power": (one("Power"), lambda: X),
    "Exp": (
        one("Exp", {"exp_param": {"base": 2.0, "scale": 0.5, "shift": 1.0}}),
        lambda: 2 ** (0.5 * X + 1),
    ),
    "Exp of e": (one("Exp"), lambda: np.exp(X)),
    "Log": (
        one("Power", {"power_param": {"power": 2.0}})
        + [Part("l", "Log", ["out"], ["l"], {"log_param": {"base": 10.0, "shift": 1.0}})],
        lambda: np.log10(X**2 + 1),
    ),
    "Threshold": (
        one("Threshold", {"threshold_param": {"threshold": 0.25}}),
        lambda: (X > 0.25).astype(np.float32),
    ),
    "max pool, rounded up": (
        one("Pooling", pool(kernel_size=3, stride=2)),
        lambda: caffe_pool(3, 2, 0, False),
    ),
    "max pool, padded": (
        one("Pooling", pool(kernel_size=2, stride=3, pad=1)),
        lambda: caffe_pool(2, 3, 1, False),
    ),
    "rounded down": (
        one("Pooling", pool(kernel_size=4, stride=3, round_mode=1)),
        lambda: functional.max_pool2d(T, 4, 3),
    ),
    "mean, padded and rounded up": (
        one("Pooling", pool(pool=1, kernel_size=3, stride=2, pad=1)),
        lambda: caffe_pool(3, 2, 1, True),
    ),
    "mean, rounded up": (
        one("Pooling", pool(pool=1, kernel_size=4, stride=3)),
        lambda: caffe_pool(4, 3, 0, True),
    ),
    "oblong mean": (
        one("Pooling", pool(pool=1, kernel_h=3, kernel_w=2, stride_h=3, stride_w=1)),
        lambda: functional.avg_pool2d(T, (3, 2), (3, 1)),
    ),
    "global mean": (
        one("Pooling", pool(pool=1, global_pooling=1)),
        lambda: X.mean((2, 3), keepdims=True),
    ),
    "global max": (one("Pooling", pool(global_pooling=1)), lambda: X.max((2, 3), keepdims=True)),
    "LRN": (
        one("LRN", {"lrn_param": {"local_size": 3, "alpha": 0.5, "beta": 0.75, "k": 2.0}}),
        lambda: functional.local_response_norm(T, 3, 0.5, 0.75, 2.0),
    ),
    "BatchNorm": (
        one(
            "BatchNorm",
            {"batch_norm_param": {"eps": 0.01}},
            MEAN * 4,
            VARIANCE * 4,
            np.full(1, 4, "f"),
        ),
        lambda: functional.batch_norm(T, torch.tensor(MEAN), torch.tensor(VARIANCE), eps=0.01),
    ),
    "Scale": (
        one("Scale", {"scale_param": {"bias_term": True}}, GAMMA, BETA),
        lambda: X * GAMMA[:, None, None] + BETA[:, None, None],
    ),
    "Scale over rows and columns": (
        one("Scale", {"scale_param": {"axis": 2, "num_axes": -1}}, PLANE),
        lambda: X * PLANE,
    ),
    "Bias": (one("Bias", {}, BETA), lambda: X + BETA[:, None, None]),
    "Scale by a second blob": (
        [
            Part("mean", "Pooling", ["data"], ["m"], pool(pool=1, global_pooling=1)),
            Part("flat", "Flatten", ["m"], ["f"]),
            Part("gate", "Sigmoid", ["f"], ["f"]),
            Part("scale", "Scale", ["data", "f"], ["out"], {"scale_param": {"axis": 0}}),
        ],
        lambda: T * torch.sigmoid(T.mean((2, 3), keepdim=True)),
    ),
    "Axpy": (
        [
            Part("mean", "Pooling", ["data"], ["m"], pool(pool=1, global_pooling=1)),
            Part("axpy", "Axpy", ["m", "data", "data"], ["out"]),
        ],
        lambda: X * X.mean((2, 3), keepdims=True) + X,
    ),
    "sum by factors": (
        [
            Part("a", "ReLU", ["data"], ["a"]),
            Part(
                "b",
                "Eltwise",
                ["a", "data", "a"],
                ["b"],
                {"eltwise_param": {"coeff": [2.0, -1.0, 0.5]}},
            ),
        ],
        lambda: 2.5 * np.maximum(X, 0) - X,
    ),
    "difference": (
        [
            Part("a", "ReLU", ["data"], ["a"]),
            Part(
                "b",
                "Eltwise",
                ["a", "data"],
                ["b"],
                {"eltwise_param": {"operation": 1, "coeff": [1.0, -1.0]}},
            ),
        ],
        lambda: np.maximum(X, 0) - X,
    ),
    "product and maximum": (
        [
            Part("a", "TanH", ["data"], ["a"]),
            Part("b", "Eltwise", ["a", "data", "a"], ["b"], {"eltwise_param": {"operation": 0}}),
            Part("c", "Eltwise", ["a", "b"], ["c"], {"eltwise_param": {"operation": 2}}),
        ],
        lambda: np.maximum(np.tanh(X), np.tanh(X) ** 2 * X),
    ),
    "Concat and Slice": (
        [
            Part("s", "Slice", ["data"], ["a", "b", "c"], {"slice_param": {"slice_point": [1, 4]}}),
            Part("t", "Concat", ["c", "a", "b"], ["t"]),
            Part("u", "Slice", ["t"], ["u", "v", "w"], {"slice_param": {"axis": -2}}),
            Part("x", "Concat", ["w", "u", "v"], ["x"], {"concat_param": {"axis": 2}}),
        ],
        lambda: np.roll(np.roll(X, 2, 1), 3, 2),
    ),
    "Flatten of two axes": (
        one("Flatten", {"flatten_param": {"axis": 2, "end_axis": 3}}),
        lambda: X.reshape(2, 6, 99),
    ),
    "Reshape": (
        one("Reshape", {"reshape_param": {"shape": (0, 3, -1, 11)}}),
        lambda: X.reshape(2, 3, 18, 11),
    ),
    "Reshape of some axes": (
        one("Reshape", {"reshape_param": {"shape": (2, -1), "axis": 1, "num_axes": 1}}),
        lambda: X.reshape(2, 2, 3, 9, 11),
    ),
    "Permute": (
        one("Permute", {"permute_param": {"order": [0, 2, 3, 1]}}),
        lambda: X.transpose(0, 2, 3, 1),
    ),
    "Crop": (
        [
            Part("p", "Pooling", ["data"], ["p"], pool(kernel_size=3, stride=1)),
            Part("c", "Crop", ["data", "p"], ["c"], {"crop_param": {"axis": 2, "offset": [2, 1]}}),
            Part("e", "Eltwise", ["p", "c"], ["e"]),
        ],
        lambda: caffe_pool(3, 1, 0, False) + X[:, :, 2:9, 1:10],
    ),
    "Softmax": (one("Softmax"), lambda: torch.softmax(T, 1)),
    "Softmax of columns": (
        one("Softmax", {"softmax_param": {"axis": -1}}),
        lambda: torch.softmax(T, 3),
    ),
    "ArgMax": (one("ArgMax"), lambda: X.reshape(2, -1).argmax(1).reshape(2, 1, 1)),
    "ArgMax of channels": (
        one("ArgMax", {"argmax_param": {"axis": 1}}),
        lambda: X.argmax(1)[:, None],
    ),
    "the largest value": (
        one("ArgMax", {"argmax_param": {"axis": 1, "out_max_val": True}}),
        lambda: X.max(1, keepdims=True),
    ),
    "Reduction": (
        one("Reduction", {"reduction_param": {"operation": 4, "axis": 2, "coeff": 3.0}}),
        lambda: 3 * X.mean((2, 3)),
    ),
    "sum of squares": (
        one("Reduction", {"reduction_param": {"operation": 3, "axis": 1}}),
        lambda: (X**2).sum((1, 2, 3)),
    ),
    "Tile": (
        one("Tile", {"tile_param": {"axis": 1, "tiles": 2}}),
        lambda: np.tile(X, (1, 2, 1, 1)),
    ),
    "Dropout": (one("Dropout", {"dropout_param": {"dropout_ratio": 0.4}}), lambda: X),
    "Dropout that scales when run": (
        one("Dropout", {"dropout_param": {"dropout_ratio": 0.4, "scale_train": False}}),
        lambda: X * np.float32(0.6),
    ),
    "Interp": (
        one("Interp", {"interp_param": {"height": 20, "width": 15}}),
        lambda: functional.interpolate(T, (20, 15), mode="bilinear", align_corners=True),
    ),
    "zoomed": (
        one("Interp", {"interp_param": {"zoom_factor": 3, "shrink_factor": 2}}),
        lambda: functional.interpolate(T, (13, 16), mode="bilinear", align_corners=True),
    ),
    "Upsample": (
        one("Upsample", {"upsample_param": {"scale": 3}}),
        lambda: X.repeat(3, 2).repeat(3, 3),
    ),
    "ShuffleChannel": (
        one("ShuffleChannel", {"shuffle_channel_param": {"group": 2}}),
        lambda: X.reshape(2, 2, 3, 9, 11).transpose(0, 2, 1, 3, 4).reshape(X.shape),
    ),
    "Ristretto's": (
        [
            Part(
                "c",
                "ConvolutionRistretto",
                ["data"],
                ["c"],
                {
                    **conv_like(kernel_h=3, kernel_w=2, group=2),
                    "quantization_param": {"bw_params": 8},
                },
                (W, B),
            ),
            Part(
                "f",
                "FcRistretto",
                ["c"],
                ["f"],
                {"inner_product_param": {"num_output": 3}, "quantization_param": {"bw_params": 8}},
                (F3 := array(3, 4 * 7 * 10), B[:3]),
            ),
        ],
        lambda: (
            functional.conv2d(T, torch.tensor(W), torch.tensor(B), groups=2).flatten(1)
            @ torch.tensor(F3).T
            + torch.tensor(B[:3])
        ),
    ),
    "in its place": (
        [
            Part("a", "Power", ["data"], ["data"], {"power_param": {"shift": 1.0}}),
            Part("b", "ReLU", ["data"], ["data"]),
            Part("c", "Eltwise", ["data", "data"], ["c"]),
        ],
        lambda: 2 * np.maximum(X + 1, 0),
    ),
}
DEPTHWISE = CASES["depthwise by its type"][0][0].arrays
CASES["depthwise by its type"] = (
    CASES["depthwise by its type"][0],
    lambda: functional.conv2d(T, *map(torch.tensor, DEPTHWISE), groups=6),
)
