"""Readers of whole models whose layers are not ONNX's: Caffe's and MatConvNet's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from refq.importers import models
from refq.importers.foreign import Asked
from tests.fuzzing.changes import in_bytes, in_hdf5
from tests.fuzzing.reader import Reader
from tests.fuzzing.weights import SECONDS
from tests.importers.caffe_nets import Part, caffemodel, prototxt
from tests.importers.weight_files import MatlabLayer, matconvnet, matconvnet73, matconvnet_dag

IMAGE = (1, 3, 8, 8)


def _ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


PARTS = [
    Part(
        "conv",
        "Convolution",
        ["data"],
        ["conv"],
        {"convolution_param": {"num_output": 4, "kernel_h": 3, "kernel_w": 3, "pad": 1}},
        (_ones(4, 3, 3, 3), _ones(4)),
    ),
    Part("bn", "BatchNorm", ["conv"], ["conv"], {}, (_ones(4), _ones(4), _ones(1))),
    Part("scale", "Scale", ["conv"], ["s"], {"scale_param": {"bias_term": True}}, 2 * (_ones(4),)),
    Part("relu", "ReLU", ["s"], ["s"], {"relu_param": {"negative_slope": 0.1}}),
    Part("pool", "Pooling", ["s"], ["pool"], {"pooling_param": {"kernel_size": 3, "stride": 2}}),
    Part("cut", "Slice", ["pool"], ["a", "b"], {"slice_param": {"slice_point": 1}}),
    Part("cat", "Concat", ["b", "a"], ["cat"]),
    Part("sum", "Eltwise", ["cat", "pool"], ["sum"], {"eltwise_param": {"coeff": [1.0, -0.5]}}),
    Part("form", "Reshape", ["sum"], ["form"], {"reshape_param": {"shape": (0, 2, -1, 4)}}),
    Part("turn", "Permute", ["form"], ["turn"], {"permute_param": {"order": [0, 2, 3, 1]}}),
    Part(
        "fc",
        "InnerProduct",
        ["turn"],
        ["fc"],
        {"inner_product_param": {"num_output": 2}},
        (_ones(2, 64), _ones(2)),
    ),
    Part("prob", "Softmax", ["fc"], ["prob"]),
]
MATLAB = [
    MatlabLayer("conv", "conv", [_ones(3, 3, 3, 4), _ones(4, 1)], {"pad": 1, "stride": (1, 1)}),
    MatlabLayer("bn", "bnorm", [_ones(4, 1), _ones(4, 1), _ones(4, 2)]),
    MatlabLayer("relu", "relu", (), {"leak": 0.1}),
    MatlabLayer("pool", "pool", (), {"pool": 3, "stride": 2, "pad": (0, 1, 0, 1), "method": "avg"}),
    MatlabLayer("up", "convt", [_ones(4, 4, 2, 4)], {"upsample": 2, "crop": 1, "numGroups": 1}),
    MatlabLayer("prob", "softmax"),
]


def _read(path: Path) -> None:
    models.read(path, Asked(input_size=IMAGE[2:]))


def _described(path: Path) -> None:
    weights = path.with_name("w.caffemodel")
    models.read(weights, Asked(prototxt=str(path)))


def _with_text(folder: Path) -> None:
    caffemodel(folder / "w.caffemodel", PARTS)
    prototxt(folder / "net.prototxt", PARTS, IMAGE)


def _matlab(write: Callable[[Path, list[MatlabLayer]], object]) -> Callable[[Path], object]:
    return lambda folder: write(folder / "net.mat", MATLAB)


READERS = {
    "caffe_model": Reader(
        lambda folder: caffemodel(folder / "net.caffemodel", PARTS, IMAGE), _read
    ),
    "caffe_text": Reader(_with_text, _described, inputs="*.prototxt"),
    "matlab_simple": Reader(_matlab(matconvnet), _read),
    "matlab_dag": Reader(_matlab(matconvnet_dag), _read),
    "matlab_hdf5": Reader(
        _matlab(matconvnet73), _read, changes=(in_bytes, in_hdf5), seconds=SECONDS
    ),
}
