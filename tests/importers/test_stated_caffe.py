"""What a .caffemodel states of its layers is refused where it is not the network's, or honoured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refq.networks.weights import Weights, load
from tests.importers import caffe_files, small_weights, weight_files
from tests.importers.caffe_files import blob, caffe_layer, field, single
from tests.importers.conversions import converted, refused

CASES = {name: small_weights.case(name) for name in ("vgg16", "alexnet", "resnet50")}
PLAIN = {name: weights.sha256 for name, (_, weights) in CASES.items()}


def conv(*parts: bytes) -> bytes:
    return field(106, b"".join(parts))


def pool(*parts: bytes) -> bytes:
    return field(121, b"".join(parts))


# (network, layer, what is stated besides, a part of the message)
DIFFER = {
    "kernel": (
        "vgg16",
        "conv3_1",
        conv(field(4, 5)),
        "conv3_1: states kernel (3, 5); expected (3, 3)",
    ),
    "kernel_h": ("vgg16", "conv3_1", conv(field(11, 5)), "conv3_1: kernel_size [3, 5]"),
    "pad": (
        "vgg16",
        "conv3_1",
        conv(field(3, 2)),
        "conv3_1 (convolution 3x3, stride 1x1, 1x2 before",
    ),
    "pad_w": ("vgg16", "conv3_1", conv(field(10, 2)), "conv3_1: pad [1, 2]"),
    "stride": ("vgg16", "conv3_1", conv(field(6, 2)), "conv3_1 (convolution 3x3, stride 1x2"),
    "packed strides": (
        "vgg16",
        "conv3_1",
        conv(field(6, b"\x02")),
        "conv3_1 (convolution 3x3, stride 1x2",
    ),
    "dilation": ("vgg16", "conv5_2", conv(field(18, 2)), "conv5_2 (convolution 3x3, dilation 2x2"),
    "group": ("vgg16", "conv3_1", conv(field(5, 2)), "conv3_1 (convolution in 2 groups 3x3"),
    "groups of AlexNet": ("alexnet", "conv2", conv(field(5, 1)), "conv2 (convolution 5x5"),
    "axis": ("vgg16", "conv3_1", conv(field(16, 2)), "conv3_1 (a convolution not of images)"),
    "num_output": (
        "vgg16",
        "conv3_1",
        conv(field(1, 9)),
        "conv3_1: states num_output 9; expected 8",
    ),
    "bias_term": ("vgg16", "conv3_1", conv(field(2, 0)), "conv3_1: states bias_term False"),
    "a new field": (
        "vgg16",
        "conv3_1",
        conv(field(77, 1)),
        "conv3_1: field 77 of a Convolution layer",
    ),
    "average": ("vgg16", "pool2", pool(field(1, 1)), "pool2 (mean 2x2, stride 2x2"),
    "stochastic": ("vgg16", "pool2", pool(field(1, 2)), "pool2 (pooling of kind 2 2x2"),
    "pool": ("vgg16", "pool2", pool(field(2, 3)), "pool2 (max 2x3, stride 2x2"),
    "pool's stride": ("vgg16", "pool2", pool(field(3, 1)), "pool2 (max 2x2, stride 2x1"),
    "pool's pad": ("vgg16", "pool2", pool(field(4, 1)), "pool2 (max 2x2, stride 2x2, 0x1 before"),
    "global": ("vgg16", "pool2", pool(field(12, 1)), "pool2 (global max)"),
    "rounding": ("resnet50", "pool1", pool(field(13, 1)), "pool1 (max 3x3, stride 2x2, to 55x55)"),
    "a pool's new field": ("vgg16", "pool2", pool(field(14, 1)), "pool2: field 14 of a Pooling"),
    "slope": (
        "vgg16",
        "relu2_1",
        field(123, single(1, 0.1)),
        "relu2_1 (ReLU with negative slope 0.1)",
    ),
    "sigmoid": ("vgg16", "relu2_1", field(2, b"Sigmoid"), "relu2_1 (Sigmoid)"),
    "another type": ("vgg16", "relu2_1", field(2, b"Mish"), "relu2_1 (Mish)"),
    "a field of the layer": ("vgg16", "relu2_1", field(200, 1), "relu2_1: field 200 of a layer"),
    "transposed": (
        "vgg16",
        "fc6",
        field(117, field(6, 1)),
        "fc6: states num_output 7; expected 64",
    ),
    "axis of fc7": (
        "vgg16",
        "fc7",
        field(117, field(5, 2)),
        "fc7 (a dense layer over another axis)",
    ),
    "sigmoid in the head": (
        "vgg16",
        "relu7",
        field(2, b"TanH"),
        "relu7 (TanH); --parameter top=false",
    ),
    "local_size": ("alexnet", "norm1", field(118, field(1, 3)), "norm1 (LRN over 3, alpha 0.0001"),
    "alpha": ("alexnet", "norm1", field(118, single(2, 0.5)), "norm1 (LRN over 5, alpha 0.5"),
    "beta": ("alexnet", "norm1", field(118, single(3, 0.5)), "beta 0.5, bias 1)"),
    "k": ("alexnet", "norm1", field(118, single(5, 2)), "beta 0.75, bias 2)"),
    "norm_region": ("alexnet", "norm1", field(118, field(4, 1)), "bias 1 within channels)"),
    "operation": ("resnet50", "res3a", field(110, field(1, 0)), "res3a (product)"),
    "coeff": (
        "resnet50",
        "res3a",
        field(110, single(2, 1) + single(2, -1)),
        "res3a (sum by 1, -1)",
    ),
    "by stage": (
        "vgg16",
        "relu2_1",
        field(8, field(4, b"x")),
        "relu2_1: include by level or stage",
    ),
}


@pytest.mark.parametrize("case", DIFFER)
def test_a_fact_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    name, layer, said, told = DIFFER[case]
    network, weights = CASES[name]
    caffe_files.caffemodel(tmp_path / "w.caffemodel", network, weights, more={layer: said})
    assert told in refused(tmp_path / "w.caffemodel", capsys)


# facts that are the network's, in other words, or that only training knows
SAME = {
    "pad_h and pad_w": ("vgg16", {"conv3_1": conv(field(3, 1))}),
    "fillers": ("vgg16", {"conv3_1": conv(field(7, b""), field(8, b""), field(15, 2))}),
    "dilation": ("vgg16", {"conv3_1": conv(field(18, 1))}),
    "rounding that does nothing": ("vgg16", {"pool2": pool(field(13, 0))}),
    "slope": ("vgg16", {"relu2_1": field(123, single(1, 0.0))}),
    "rates": ("vgg16", {"conv3_1": field(6, field(3, 1))}),
    "coeff": ("resnet50", {"res3a": field(110, single(2, 1) + single(2, 1))}),
    "included": ("vgg16", {"relu2_1": field(8, field(1, 1))}),
    "not in training": ("vgg16", {"relu2_1": field(9, field(1, 0))}),
}


@pytest.mark.parametrize("case", SAME)
def test_a_fact_that_is_the_network_s(tmp_path: Path, case: str) -> None:
    name, said = SAME[case]
    network, weights = CASES[name]
    caffe_files.caffemodel(tmp_path / "w.caffemodel", network, weights, more=said)
    report = converted(tmp_path / "w.caffemodel")
    assert (report["network"], report["sha256"]) == (name, PLAIN[name])


@pytest.mark.parametrize(
    "name", ["alexnet", "caffenet", "googlenet", "resnet50", "resnet50_3x3", "squeezenet1_1"]
)
@pytest.mark.parametrize("v1", [False, True])
def test_forms_are_the_file_s(tmp_path: Path, name: str, v1: bool) -> None:
    """Names are the same in all forms of AlexNet and ResNet, and so are shapes."""
    network, weights = small_weights.case(name)
    caffe_files.caffemodel(tmp_path / "w.caffemodel", network, weights, v1)
    report = converted(tmp_path / "w.caffemodel")
    assert (report["network"], report["sha256"]) == (name, weights.sha256)


def test_a_sigmoid_of_v1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, weights = CASES["vgg16"]
    more = {"relu2_1": field(5, 19)}
    caffe_files.caffemodel(tmp_path / "w.caffemodel", network, weights, True, "legacy", more)
    assert "relu2_1 (Sigmoid)" in refused(tmp_path / "w.caffemodel", capsys)


def test_a_head_that_differs_is_left_out_when_asked(tmp_path: Path) -> None:
    network, weights = CASES["vgg16"]
    more = {"relu7": field(2, b"TanH")}
    caffe_files.caffemodel(tmp_path / "w.caffemodel", network, weights, more=more)
    report = converted(tmp_path / "w.caffemodel", "--parameter", "top=false")
    assert not report["parameters"]["top"] and report["ignored"] == ["fc6", "fc7", "fc8"]


def normalised(
    path: Path, norm: bytes, scale: bytes = b"", weights: Weights = CASES["resnet50"][1]
) -> weight_files.Norms:
    """ResNet-50 with BatchNorm and Scale behind each convolution. norm, scale: what they state."""
    network, given = CASES["resnet50"][0], weight_files.norms(CASES["resnet50"][1], 5)
    said = caffe_files.caffe_blobs(network, weights, False)
    content = b""
    for node in network.nodes:
        kind, _ = caffe_files.caffe_parameters(node.layer)
        arrays = []
        if node.name in weights.weight:
            arrays = [weights.weight[node.name], weights.bias[node.name]]
        blobs = [blob(each) for each in arrays]
        content += caffe_layer(node.name, kind, blobs, False, said[node.name])
        if kind == "Convolution":
            place = field(3, node.name.encode()) + field(4, node.name.encode())
            own = given[node.name]
            for kind, parts, more in (
                ("BatchNorm", (own["mean"], own["variance"], np.ones(1, np.float32)), norm),
                ("Scale", (own["gamma"], own["beta"]), field(142, field(4, 1)) + scale),
            ):
                blobs = [blob(each) for each in parts]
                content += caffe_layer(f"{node.name}/{kind}", kind, blobs, False, place + more)
    path.write_bytes(content)
    return given


@pytest.mark.parametrize("eps", [1e-5, 0.25])
def test_epsilon_is_the_file_s(tmp_path: Path, eps: float) -> None:
    """Whatever normalisations are called."""
    _, weights = CASES["resnet50"]
    given = normalised(tmp_path / "w.caffemodel", field(139, single(3, eps)))
    assert converted(tmp_path / "w.caffemodel")["network"] == "resnet50"
    _, got = load(tmp_path / "out.h5", "resnet50")
    scale = given["res3a_branch2b"]["gamma"] / np.sqrt(given["res3a_branch2b"]["variance"] + eps)
    want = weights.weight["res3a_branch2b"] * scale.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(got.weight["res3a_branch2b"], want, rtol=2e-6)


@pytest.mark.parametrize(
    ("norm", "scale", "told"),
    [
        (field(139, field(1, 0)), b"", "normalisation by each batch"),
        (field(139, field(4, 1)), b"", "conv1/BatchNorm: field 4 of a BatchNorm layer"),
        (b"", field(142, field(1, 2)), "a scale over other axes"),
        (b"", field(142, field(2, 0)), "a scale over other axes"),
        (b"", field(142, field(4, 0)), "conv1/Scale: states bias_term False"),
    ],
)
def test_normalisations_that_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], norm: bytes, scale: bytes, told: str
) -> None:
    normalised(tmp_path / "w.caffemodel", norm, scale)
    assert told in refused(tmp_path / "w.caffemodel", capsys)


def test_a_net_that_was_saved_in_training(tmp_path: Path) -> None:
    normalised(tmp_path / "w.caffemodel", field(139, field(1, 0)) + field(10, 0))
    (note, *_) = converted(tmp_path / "w.caffemodel")["notes"]
    assert note == "the file is of training; stored means and variances are taken"


def test_nan_names_its_layer_and_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = weight_files.norms(CASES["resnet50"][1], 5)
    normalised(tmp_path / "w.caffemodel", b"")
    content = (tmp_path / "w.caffemodel").read_bytes()
    array = given["res3a_branch2b"]["variance"]
    broken = array.copy()
    broken[1] = np.nan
    assert content.count(array.tobytes()) == 1
    (tmp_path / "w.caffemodel").write_bytes(content.replace(array.tobytes(), broken.tobytes()))
    told = refused(tmp_path / "w.caffemodel", capsys)
    assert "res3a_branch2b/BatchNorm: NaN or infinite values in variance; expected numbers" in told


def image(path: Path, inputs: bytes, transform: bytes = b"") -> None:
    """VGG-16 behind a data layer or an input of the network."""
    network, weights = CASES["vgg16"]
    caffe_files.caffemodel(path, network, weights)
    content = path.read_bytes()
    start = content.index(field(100, b"")[:2])
    content = content[:7] + inputs + content[start:]
    path.write_bytes(content)


def test_data_layers_tell_size_and_mean(tmp_path: Path) -> None:
    means = b"".join(single(5, value) for value in (103.94, 116.78, 123.68))
    said = field(100, single(1, 0.017) + field(3, 64) + means)
    data = caffe_layer("data", "Data", [], False, field(4, b"data") + field(4, b"label") + said)
    image(tmp_path / "w.caffemodel", data)
    report = converted(tmp_path / "w.caffemodel")
    assert report["parameters"]["input_size"] == 64
    np.testing.assert_allclose(report["preprocessing"]["mean"], [103.94, 116.78, 123.68], rtol=1e-6)
    np.testing.assert_allclose(report["preprocessing"]["scale"], 0.017, rtol=1e-6)
    # without a mean of its own it would be the published one, not scaled
    said = field(100, single(1, 0.5))
    data = caffe_layer("data", "Data", [], False, field(4, b"data") + said)
    image(tmp_path / "w.caffemodel", data)
    (note, *_) = converted(tmp_path / "w.caffemodel")["notes"]
    assert note == "data states a scale of 0.5; --preprocessing has to say the same"


def test_a_blob_that_no_layer_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, weights = CASES["vgg16"]
    said = {"pool2": field(3, b"elsewhere")}
    caffe_files.caffemodel(tmp_path / "w.caffemodel", network, weights, more=said)
    assert "pool2 (max 2x2" in refused(tmp_path / "w.caffemodel", capsys)


def test_layers_that_do_not_say_what_they_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, weights = CASES["vgg16"]
    content = b""
    for layer in weights.weight:
        blobs = [blob(each) for each in (weights.weight[layer], weights.bias[layer])]
        content += caffe_layer(layer, "Convolution", blobs, False)
    path = tmp_path / "w.caffemodel"
    path.write_bytes(content)
    assert converted(path)["notes"][0].endswith("what its layers read: names decide")
    (tmp_path / "out.h5").unlink()
    capsys.readouterr()
    path.write_bytes(content + caffe_layer("x", "Convolution", [], False, conv(field(18, 2))))
    assert "x: states what it computes, and not what it reads" in refused(path, capsys)


def test_layers_of_training_are_named(tmp_path: Path) -> None:
    network, weights = CASES["vgg16"]
    path = tmp_path / "w.caffemodel"
    caffe_files.caffemodel(path, network, weights)
    loss = field(3, b"fc8") + field(3, b"label") + field(4, b"loss")
    more = caffe_layer("loss", "SoftmaxWithLoss", [], False, loss)
    path.write_bytes(path.read_bytes() + more)
    report = converted(path)
    assert report["sha256"] == weights.sha256 and report["ignored"] == ["loss"]


def test_a_weight_of_another_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, weights = CASES["vgg16"]
    wrong = {**weights.weight, "fc7": np.ones((7, 9), np.float32)}
    caffe_files.caffemodel(tmp_path / "w.caffemodel", network, replace(weights, weight=wrong))
    assert "fc7 has shape (7, 9), not (7, 7)" in refused(
        tmp_path / "w.caffemodel", capsys, "--parameter", "top=true"
    )
