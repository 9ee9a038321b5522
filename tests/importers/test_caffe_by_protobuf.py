"""Caffe files that protobuf itself writes, by caffe's schema: in every form that Caffe has had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.networks import Network, Node
from refq.networks.layers import LRN, Add, Concat, Conv, Dense, GlobalAvgPool, MaxPool
from refq.networks.weights import Weights
from tests.importers import small_weights, weight_files
from tests.importers.conversions import converted, refused

pytest.importorskip("google.protobuf")

from tests.importers.caffe_proto import CAFFE, PARAMETERS, net

NAMES = ("vgg16", "alexnet", "caffenet", "resnet50", "resnet50_3x3", "googlenet", "squeezenet1_1")
CASES = {name: small_weights.case(name) for name in NAMES}
V1_NUMBERS = {
    "Concat": 3,
    "Convolution": 4,
    "InnerProduct": 14,
    "LRN": 15,
    "Pooling": 17,
    "ReLU": 18,
    "Eltwise": 25,
}


def parameters(node: Node, weights: Weights) -> tuple[str, dict[str, Any]]:
    """(Caffe's type, what the layer states), each fact in the least usual of its words."""
    match node.layer:
        case Conv(kernel=kernel, strides=strides, pads=pads, group=group):
            count = len(weights.weight[node.name])
            sizes = {"kernel_size": kernel, "stride": strides, "pad": pads[:2]}
            return "Convolution", {"num_output": count, "group": group, **sizes, "axis": -3}
        case Dense(out_features=count):
            return "InnerProduct", {"num_output": count, "axis": 1, "bias_term": True}
        case MaxPool(kernel=kernel, strides=strides, pads=pads, ceil_mode=ceil):
            numbers = {"kernel": kernel, "stride": strides, "pad": pads[:2]}
            said = {
                f"{key}_{side}": n for key, two in numbers.items() for side, n in zip("hw", two)
            }
            return "Pooling", {"pool": 0, "round_mode": int(not ceil), **said}
        case GlobalAvgPool():
            return "Pooling", {"pool": 1, "global_pooling": True}
        case LRN(size=size, alpha=alpha, beta=beta, bias=bias):
            return "LRN", {"local_size": size, "alpha": alpha, "beta": beta, "k": bias}
        case Add():
            return "Eltwise", {"operation": 1, "coeff": [1.0, 1.0]}
        case Concat():
            return "Concat", {"axis": 1}
    return "ReLU", {"negative_slope": 0.0}


def message(network: Network, weights: Weights, v1: bool = False) -> Any:
    """A NetParameter of the network, as Net::ToProto makes it."""
    made, blobs = net(), {"data": "data"}
    made.name, made.input[:] = network.name, ["data"]
    made.input_shape.add().dim[:] = [10, *network.input_shape]
    made.state.phase = 1
    for node in network.nodes:
        kind, facts = parameters(node, weights)
        layer = (made.layers if v1 else made.layer).add(name=node.name)
        layer.type = V1_NUMBERS[kind] if v1 else kind
        layer.bottom[:] = [blobs[name] for name in node.inputs]
        blobs[node.name] = blobs[node.inputs[0]] if kind == "ReLU" else node.name
        layer.top.append(blobs[node.name])
        own = getattr(layer, PARAMETERS[kind])
        for key, value in facts.items():
            if isinstance(value, (tuple, list)):
                getattr(own, key).extend(value)
            else:
                setattr(own, key, value)
        for array in (
            part[node.name] for part in (weights.weight, weights.bias) if node.name in part
        ):
            filled(layer.blobs.add(), array, v1)
    return made


def filled(blob: Any, array: np.ndarray, legacy: bool) -> None:
    if legacy:
        sizes = (1,) * (4 - array.ndim) + array.shape
        blob.num, blob.channels, blob.height, blob.width = sizes
    else:
        blob.shape.dim.extend(array.shape)
    blob.data.extend(array.ravel().tolist())


def written(path: Path, made: Any) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("v1", [False, True], ids=["V2", "V1"])
@pytest.mark.parametrize("name", NAMES)
def test_networks(tmp_path: Path, name: str, v1: bool) -> None:
    network, weights = CASES[name]
    report = converted(written(tmp_path / "w.caffemodel", message(network, weights, v1)))
    assert (report["network"], report["sha256"]) == (name, weights.sha256)


def doubled(layer: Any) -> None:
    for blob in layer.blobs:
        blob.double_data[:] = list(blob.data)
        del blob.data[:]


def with_gradients(layer: Any) -> None:
    """As a snapshot with snapshot_diff."""
    for blob in layer.blobs:
        blob.diff[:] = [1.0] * len(blob.data)


def four_sizes(layer: Any) -> None:
    """Shapes of old blobs in a net of today."""
    for blob in layer.blobs:
        sizes = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
        blob.ClearField("shape")
        blob.num, blob.channels, blob.height, blob.width = sizes


def of_training(layer: Any) -> None:
    layer.param.add(lr_mult=1, decay_mult=0)
    layer.propagate_down.append(True)
    layer.phase = 0
    if layer.type == "Convolution":
        layer.convolution_param.weight_filler.type = "xavier"
        layer.convolution_param.engine = 2
        layer.convolution_param.force_nd_im2col = True
        layer.convolution_param.dilation.extend([1, 1])


FORMS: dict[str, Callable[[Any], None]] = {
    "double_data": doubled,
    "diff": with_gradients,
    "four sizes": four_sizes,
    "training": of_training,
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_layers(tmp_path: Path, form: str) -> None:
    network, weights = CASES["vgg16"]
    made = message(network, weights)
    for layer in made.layer:
        FORMS[form](layer)
    assert converted(written(tmp_path / "w.caffemodel", made))["sha256"] == weights.sha256


def test_one_message_in_parts(tmp_path: Path) -> None:
    """Protobuf's rule: messages one after the other are one."""
    network, weights = CASES["vgg16"]
    made, first, rest = message(network, weights), net(), net()
    first.CopyFrom(made)
    del first.layer[5:]
    rest.layer.extend(made.layer[5:])
    path = tmp_path / "w.caffemodel"
    path.write_bytes(first.SerializeToString() + rest.SerializeToString())
    assert converted(path)["sha256"] == weights.sha256


def normalised(eps: float = 1e-5, center: bool = True, factor: float = 2.0) -> Any:
    """ResNet-50 with BatchNorm and Scale behind each convolution, which has no bias then."""
    network, weights = CASES["resnet50"]
    made, out = message(network, weights), net()
    given = weight_files.norms(weights, 5)
    out.CopyFrom(made)
    del out.layer[:]
    for layer in made.layer:
        out.layer.add().CopyFrom(layer)
        if layer.type != "Convolution":
            continue
        del out.layer[-1].blobs[1:]
        out.layer[-1].convolution_param.bias_term = False
        own = given[layer.name]
        norm = out.layer.add(name=f"bn_{layer.name}", type="BatchNorm")
        norm.batch_norm_param.use_global_stats, norm.batch_norm_param.eps = True, eps
        one = np.array([factor], np.float32)
        for array in (own["mean"] * factor, own["variance"] * factor, one):
            filled(norm.blobs.add(), array, False)
        scale = out.layer.add(name=f"scale_{layer.name}", type="Scale")
        scale.scale_param.bias_term = center
        for array in (own["gamma"], own["beta"])[: 1 + center]:
            filled(scale.blobs.add(), array, False)
        for each in (norm, scale):
            each.bottom.append(layer.top[0])
            each.top.append(layer.top[0])
    return out


def test_normalisations(tmp_path: Path) -> None:
    hashes = set()
    for eps, center, factor in (
        (1e-5, True, 2.0),
        (1e-5, True, 1.0),
        (1e-3, True, 2.0),
        (1e-5, False, 2.0),
    ):
        path = written(tmp_path / "w.caffemodel", normalised(eps, center, factor))
        report = converted(path)
        assert report["network"] == "resnet50"
        hashes.add(report["sha256"])
    assert len(hashes) == 3  # the factor's is another way to write the same


Change = Callable[[Any], object]


def layer(made: Any, name: str) -> Any:
    return next(each for each in made.layer if each.name == name)


def edit(name: str, change: Change) -> Change:
    return lambda made: change(layer(made, name))


def image(*shape: int) -> Change:
    def change(made: Any) -> None:
        made.input_shape[0].dim[:] = shape

    return change


def data(**said: Any) -> Change:
    """A data layer in place of the network's input. said: of its messages, by name."""

    def change(made: Any) -> None:
        made.ClearField("input")
        made.ClearField("input_shape")
        layers = list(made.layer)
        del made.layer[:]
        first = made.layer.add(name="images", type="Data")
        first.top.extend(["data", "label"])
        for name, fields in said.items():
            for key, value in fields.items():
                if isinstance(value, list):
                    getattr(getattr(first, name), key).extend(value)
                else:
                    setattr(getattr(first, name), key, value)
        made.layer.extend(layers)

    return change


def unknown(made: Any) -> None:
    """A field of a later or another Caffe, in a convolution."""
    own = layer(made, "conv3_1").convolution_param
    own.MergeFromString(b"\xd0\x3e\x01")  # field 1002


def a_group(made: Any) -> None:
    layer(made, "conv3_1").MergeFromString(b"\xa3\x06\xa4\x06")


DIFFER: dict[str, tuple[Change, str]] = {
    "one channel": (image(1, 1, 64, 64), "images of 1 channels"),
    "four channels": (image(1, 4, 64, 64), "images of 4 channels"),
    "rows and columns": (image(1, 3, 64, 96), "images of 64 rows and 96 columns"),
    "another size": (image(1, 3, 96, 96), "fc6 has shape (7, 64), not (7, 144)"),
    "an unknown field": (unknown, "conv3_1: field 1002 of a Convolution layer"),
    "a group": (a_group, "a protobuf field of type 3"),
    "transposed": (
        edit("fc7", lambda each: setattr(each.inner_product_param, "axis", 2)),
        "fc7 (a dense layer over another axis)",
    ),
    "another top": (edit("conv3_1", lambda each: each.top.append("more")), "conv3_1 (Convolution)"),
    "no kernel": (
        edit("pool2", lambda each: each.pooling_param.ClearField("kernel_h")),
        "pool2: a pool without a kernel",
    ),
    "tall kernel": (
        edit("pool2", lambda each: setattr(each.pooling_param, "kernel_h", 3)),
        "pool2 (max 3x2, stride 2x2",
    ),
    "grey images": (data(transform_param={"force_gray": True}), "images without colours"),
    "grey files": (data(image_data_param={"is_color": False}), "images without colours"),
}


@pytest.mark.parametrize("case", DIFFER)
def test_a_fact_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    change, told = DIFFER[case]
    made = message(*CASES["vgg16"])
    change(made)
    assert told in refused(written(tmp_path / "w.caffemodel", made), capsys)


NOTED: dict[str, tuple[Change, str]] = {
    "mean_file": (data(transform_param={"mean_file": "mean.binaryproto"}), "mean_file"),
    "scale": (data(transform_param={"scale": 0.25}), "scale of 0.25"),
    "two means": (data(transform_param={"mean_value": [1.0, 2.0]}), "mean_value of 1, 2"),
    "an old data layer": (data(data_param={"scale": 0.25, "mean_file": "m"}), "mean_file"),
    "a list of images": (data(image_data_param={"new_height": 256}), "new_height of 256"),
}


@pytest.mark.parametrize("case", NOTED)
def test_how_images_are_made_is_told(tmp_path: Path, case: str) -> None:
    change, told = NOTED[case]
    made = message(*CASES["vgg16"])
    change(made)
    notes = converted(written(tmp_path / "w.caffemodel", made))["notes"]
    assert any(told in note and "--preprocessing" in note for note in notes), notes


def test_a_net_of_version_0(tmp_path: Path) -> None:
    """Layers within layers, as Caffe wrote until 2013."""
    made, (_, weights) = net(), CASES["vgg16"]
    made.name = "old"
    for name, array in weights.weight.items():
        outer = made.layers.add()
        outer.layer.name, outer.layer.type = name, "conv" if name.startswith("conv") else "other"
        filled(outer.layer.blobs.add(), array, True)
        filled(outer.layer.blobs.add(), weights.bias[name], True)
    assert converted(written(tmp_path / "w.caffemodel", made))["sha256"] == weights.sha256


def test_a_solver_s_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It lies beside the weights, and names them."""
    made = CAFFE["SolverState"](iter=9, learned_net="snapshot_iter_9.caffemodel")
    filled(made.history.add(), np.ones((2, 3), np.float32), False)
    told = refused(written(tmp_path / "w.solverstate", made), capsys)
    assert "w.solverstate is a solver's state of Caffe; expected the .caffemodel of" in told


@pytest.mark.parametrize("variance", [-1.0, 0.0])
def test_variances_that_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], variance: float
) -> None:
    made = normalised(eps=0.0)
    layer(made, "bn_res3a_branch2b").blobs[1].data[1] = variance
    told = refused(written(tmp_path / "w.caffemodel", made), capsys)
    assert "bn_res3a_branch2b: a batch normalisation with variance" in told
