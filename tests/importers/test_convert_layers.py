"""refq.convert: a layer that the network does not have is refused, or behind all."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks.peers.onnx_graph import to_onnx
from refq import convert
from refq.networks import Network
from refq.networks.weights import Weights, load
from tests.importers import caffe_files, small_weights, weight_files
from tests.importers.conversions import refused

NETWORK, WEIGHTS = small_weights.case()
ONES = np.ones
Arrays = dict[str, np.ndarray]


def converted(path: Path, *more: str) -> tuple[Network, Weights]:
    out = path.with_name("out.h5")
    assert convert.main([str(path), "-o", str(out), *more]) == 0
    return load(out, "vgg16")


def torch_refused(
    folder: Path, arrays: Arrays, capsys: pytest.CaptureFixture[str], *more: str
) -> str:
    weight_files.torch_file(folder / "w.pth", arrays)
    return refused(folder / "w.pth", capsys, *more)


def normalised() -> Arrays:
    """torchvision's VGG-16 with batch normalisation: features.0, features.1, features.3, ..."""
    places, plain = (
        (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40),
        iter(small_weights.torch_arrays(WEIGHTS).items()),
    )
    arrays: Arrays = {}
    for place in places:
        (_, weight), (_, bias) = next(plain), next(plain)
        arrays |= {f"features.{place}.weight": weight, f"features.{place}.bias": bias}
        for part in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"features.{place + 1}.{part}"] = ONES(len(bias), np.float32)
    return {**arrays, **dict(plain)}


# --- normalisations that cannot be folded ---


def test_normalisations_without_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GroupNorm and InstanceNorm have a weight and a bias, under the names of a batch norm's."""
    arrays = normalised()
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    _, got = converted(tmp_path / "w.pth", "--preprocessing", "caffe")
    want = WEIGHTS.weight["conv1_2"] / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(got.weight["conv1_2"], want, rtol=1e-6)
    (tmp_path / "out.h5").unlink()
    capsys.readouterr()
    wanted = "expected batch normalisation as it was trained"
    for gone in ("running", "features.1.running", "running_var"):
        kept = {name: array for name, array in arrays.items() if gone not in name}
        told = torch_refused(tmp_path, kept, capsys)
        assert "features.0: a normalisation without mean and variance" in told and wanted in told


def test_roles_of_two_layers_do_not_meet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = normalised()
    arrays["features.0.running_mean"] = arrays["features.1.running_mean"]
    del arrays["features.1.running_mean"]
    assert "features.0 has no float weight" in torch_refused(tmp_path, arrays, capsys)
    arrays = normalised()
    for part in ("running_mean", "running_var"):
        del arrays[f"features.1.{part}"]
    arrays["features.1.weight"] = ONES((2, 2, 3, 3), np.float32)
    told = torch_refused(tmp_path, arrays, capsys)
    assert "features.1: a normalisation without mean and variance" in told
    _, weights = small_weights.case("resnet50")
    content = b""
    for layer in weights.weight:
        one = ONES(weights.bias[layer].size)
        tag = "_conv1" if layer == "conv1" else layer.removeprefix("res")
        parts = {layer: [weights.weight[layer], one]}
        if layer != "fc1000":
            parts |= {f"bn{tag}": [one, one], f"scale{tag}": [one, one]}  # a Scale as well
        for name, own in parts.items():
            blobs = [caffe_files.blob(each) for each in own]
            content += caffe_files.caffe_layer(name, "Scale", blobs, False)
    (tmp_path / "w.caffemodel").write_bytes(content)
    told = refused(tmp_path / "w.caffemodel", capsys)
    assert "conv1 and scale_conv1: beta in both; expected one of each" in told


# --- layers that would be left out ---


def caffe_resnet(path: Path, batch_norms: int, scales: int) -> None:
    """ResNet-50 in Caffe with the first layers' normalisations under names that nobody knows."""
    _, weights = small_weights.case("resnet50")
    content = b""
    for index, layer in enumerate(weights.weight):
        bias = weights.bias[layer]
        one = ONES(bias.size)
        groups = [(layer, "Convolution", [weights.weight[layer], bias])]
        if index < batch_norms:
            groups.append((f"{layer}/bn", "BatchNorm", [one, 9 * one, ONES(1)]))
        if index < scales:
            groups.append((f"{layer}/scale", "Scale", [5 * one, one]))
        for name, kind, arrays in groups:
            blobs = [caffe_files.blob(each) for each in arrays]
            content += caffe_files.caffe_layer(name, kind, blobs, False)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("batch_norms", "scales", "named"),
    [(1, 0, "conv1/bn;"), (0, 1, "conv1/scale;"), (7, 16, "conv1/bn, conv1/scale, res2a_branch1/")],
)
def test_normalisations_are_never_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], batch_norms: int, scales: int, named: str
) -> None:
    caffe_resnet(tmp_path / "w.caffemodel", batch_norms, scales)
    told = refused(tmp_path / "w.caffemodel", capsys, "--network", "resnet50")
    assert f"resnet50: normalisations that it does not have, or not by that name: {named}" in told


def test_a_normalisation_behind_the_last_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is that layer's, unless a head's layer of as many outputs stands before it."""
    arrays, _ = foreign_head()
    norm = {
        f"norm.{part}": ONES(9, np.float32)
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    told = torch_refused(tmp_path, {**arrays, **norm}, capsys)
    assert "normalisations that it does not have, or not by that name: norm;" in told
    head = {"more.weight": ONES((9, 16), np.float32), **norm}
    weight_files.torch_file(tmp_path / "w.pth", {**arrays, **head})
    converted(tmp_path / "w.pth")


def test_squeeze_and_excitation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and shapes of torchvision's ResNet-50, and two more layers in each block."""
    _, weights = small_weights.case("resnet50_torchvision")
    given = weight_files.norms(weights, 5)
    arrays: Arrays = {}
    for name, array in small_weights.torch_resnet(weights, given).items():
        arrays[name] = array
        if name.endswith("conv3.weight"):
            block = name.removesuffix("conv3.weight")
            arrays[f"{block}se.fc1.weight"] = ONES((2, len(array), 1, 1), np.float32)
            arrays[f"{block}se.fc2.weight"] = ONES((len(array), 2, 1, 1), np.float32)
    told = torch_refused(tmp_path, arrays, capsys)
    assert "resnet50_torchvision: layers between its own that it does not have: " in told
    assert "layer1.0.se.fc1, layer1.0.se.fc2, " in told and "and 28 more" in told
    # in safetensors the order is that of the names
    weight_files.safetensors(tmp_path / "w.safetensors", dict(sorted(arrays.items())))
    told = refused(tmp_path / "w.safetensors", capsys)
    assert "resnet50_torchvision: layers between its own that it does not have: " in told
    # of a trunk, the last block's stand behind all others, and yet within
    kept = {
        name: array for name, array in arrays.items() if ".se." not in name or "layer4.2" in name
    }
    del kept["fc.weight"], kept["fc.bias"]
    told = torch_refused(tmp_path, kept, capsys)
    assert "layers between its own that it does not have: layer4.2.se.fc1, layer4.2.se.fc2" in told


def test_projections_of_cifar_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Option B shortcuts have weights; refq's ResNet-20 has option A's, which have none."""
    _, weights = small_weights.case("resnet20")
    plain = small_weights.torch_resnet(weights, weight_files.norms(weights, 5), "linear")
    arrays: Arrays = {}
    for name, array in plain.items():
        arrays[name] = array
        if name in ("layer2.0.bn2.running_var", "layer3.0.bn2.running_var"):
            shortcut = f"{name[:8]}.shortcut.0.weight"
            arrays[shortcut] = ONES((len(array), len(array) // 2, 1, 1), np.float32)
    told = torch_refused(tmp_path, arrays, capsys)
    assert "that it does not have: layer2.0.shortcut.0, layer3.0.shortcut.0;" in told


def test_arrays_of_unknown_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"attention.mean": ONES(3, np.float32), **small_weights.torch_arrays(WEIGHTS)}
    assert "does not have: attention.mean;" in torch_refused(tmp_path, arrays, capsys)


def test_a_smaller_network_is_not_found_in_a_larger_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {**WEIGHTS.weight, "conv3_4": WEIGHTS.weight["conv3_3"]}
    bias = {**WEIGHTS.bias, "conv3_4": WEIGHTS.bias["conv3_3"]}
    content = b""
    for layer in sorted(weights):
        blobs = [caffe_files.blob(each) for each in (weights[layer], bias[layer])]
        content += caffe_files.caffe_layer(layer, "Convolution", blobs, False)
    (tmp_path / "w.caffemodel").write_bytes(content)
    told = refused(tmp_path / "w.caffemodel", capsys, "--network", "vgg16")
    assert "vgg16: layers between its own that it does not have: conv3_4;" in told


@pytest.mark.parametrize("form", ["keras3", "caffe_hdf5"])
def test_names_in_order_say_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """A layer whose name comes last, of 8 channels like conv3's, which the trunk's end has not."""
    path = tmp_path / "w.weights.h5"
    if form == "keras3":
        layers = small_weights.keras_layers(NETWORK, WEIGHTS)
        trunk = {name: list(arrays.values()) for name, arrays in layers.items() if "_conv" in name}
        weight_files.keras3(path, {**trunk, "squeeze": [ONES((8, 2), np.float32)]})
    else:
        with h5py.File(path, "w") as file:
            for layer in WEIGHTS.weight:
                if layer.startswith("conv"):
                    file[f"data/{layer}/0"] = WEIGHTS.weight[layer]
                    file[f"data/{layer}/1"] = WEIGHTS.bias[layer]
            file["data/squeeze/0"] = ONES((2, 8), np.float32)
    told = refused(path, capsys)
    assert "vgg16: layers between its own that it does not have: squeeze;" in told


# --- heads, which may be left out ---


def test_auxiliary_heads_of_googlenet(tmp_path: Path) -> None:
    _, weights = small_weights.case("googlenet")
    content = b""
    for layer in weights.weight:
        blobs = [caffe_files.blob(each) for each in (weights.weight[layer], weights.bias[layer])]
        content += caffe_files.caffe_layer(layer, "Convolution", blobs, False)
        if layer in ("inception_4a/pool_proj", "inception_4d/pool_proj"):
            head = "loss1" if "4a" in layer else "loss2"
            for name in (f"{head}/conv", f"{head}/fc", f"{head}/classifier"):
                blobs = [caffe_files.blob(ONES(shape)) for shape in ((7, 8), (7,))]
                content += caffe_files.caffe_layer(name, "InnerProduct", blobs, False)
    (tmp_path / "w.caffemodel").write_bytes(content)
    out = tmp_path / "out.h5"
    assert convert.main([str(tmp_path / "w.caffemodel"), "-o", str(out)]) == 0
    assert load(out, "googlenet")[1].sha256 == weights.sha256


def foreign_head() -> tuple[Arrays, Arrays]:
    """(trunk, head) of a VGG-16 with two layers of its own behind 16 channels of 2x2."""
    trunk = {
        name: array
        for name, array in small_weights.torch_arrays(WEIGHTS).items()
        if name.startswith("features")
    }
    head = {
        "classifier.0.weight": ONES((6, 64), np.float32),
        "classifier.2.weight": ONES((4, 6), np.float32),
    }
    return trunk, head


def test_foreign_classifiers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trunk, head = foreign_head()
    weight_files.torch_file(tmp_path / "w.pth", {**trunk, **head})
    network, _ = converted(tmp_path / "w.pth")
    assert "note     a trunk: the file has no classifier, or one" in capsys.readouterr().out
    assert not network.parameters["top"] and "conv5_3" in network.weight_shapes()
    # names in order say nothing; that the head reads what the trunk makes does
    path = tmp_path / "w.safetensors"
    weight_files.safetensors(path, {**head, **trunk})
    converted(path)
    head["classifier.0.weight"] = ONES((8, 8), np.float32)  # as many as conv3's
    head["classifier.2.weight"] = ONES((4, 8), np.float32)
    (tmp_path / "out.h5").unlink()
    weight_files.safetensors(path, {**head, **trunk})
    capsys.readouterr()
    assert "that it does not have: classifier.0, classifier.2;" in refused(path, capsys)
    # in front of the trunk it is no classifier
    assert "does not have: classifier.0" in torch_refused(tmp_path, {**head, **trunk}, capsys)


# --- axes and normalisation ---


def test_dense_layers_as_convolutions_of_keras(tmp_path: Path) -> None:
    """A fully convolutional VGG: kernels (rows, columns, inputs, outputs) over the whole image."""
    layers = small_weights.keras_layers(NETWORK, WEIGHTS)
    layers["fc1"]["kernel"] = WEIGHTS.weight["fc6"].reshape(7, 16, 2, 2).transpose(2, 3, 1, 0)
    for name in ("fc2", "predictions"):
        layers[name]["kernel"] = layers[name]["kernel"][None, None]
    weight_files.keras(tmp_path / "w.h5", layers)
    _, got = converted(tmp_path / "w.h5")
    assert got.sha256 == WEIGHTS.sha256


@pytest.mark.parametrize(
    ("stated", "eps"), [({"epsilon": 0.0}, 0.0), ({"epsilon": None}, 0.0), ({}, 1e-5)]
)
def test_epsilon_of_onnx(tmp_path: Path, stated: dict[str, float | None], eps: float) -> None:
    """An attribute whose number a writer left out is 0, and none at all 1e-5."""
    model = to_onnx(NETWORK, WEIGHTS)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    place, output = list(model.graph.node).index(first), first.output[0]
    first.output[0] = "raw"
    values = {"g": (1, 1), "b": (0, 0), "m": (0, 0), "v": (1e-5, 3e-5)}
    for name, pair in values.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(pair, np.float32), name))
    norm = helper.make_node("BatchNormalization", ["raw", *values], [output])
    for name, number in stated.items():
        norm.attribute.add(name=name, type=onnx.AttributeProto.FLOAT, f=number)
    model.graph.node.insert(place + 1, norm)
    onnx.save(model, tmp_path / "w.onnx")
    _, got = converted(tmp_path / "w.onnx")
    scale = 1 / np.sqrt(np.array([1e-5, 3e-5]) + eps)
    want = WEIGHTS.weight["conv1_1"] * scale.reshape(2, 1, 1, 1)
    np.testing.assert_allclose(got.weight["conv1_1"], want, rtol=1e-6)


@pytest.mark.parametrize("behind", [True, False])
def test_a_softmax_within_an_onnx_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], behind: bool
) -> None:
    """At the end it changes no order of classes; of the image, or before a layer, it does."""
    model = to_onnx(NETWORK, WEIGHTS)
    nodes, path = model.graph.node, tmp_path / "w.onnx"
    if behind:
        last = nodes[-1].output[0]
        nodes[-1].output[0] = "logits"
        nodes.append(helper.make_node("Softmax", ["logits"], ["even"], axis=1))
        nodes.append(helper.make_node("Identity", ["even"], [last]))
        onnx.save(model, path)
        network, _ = converted(path)
        assert network.parameters["top"]
        return
    image = nodes[0].input[0]
    nodes[0].input[0] = "even"
    nodes.insert(0, helper.make_node("Softmax", [image], ["even"], axis=1))
    onnx.save(model, path)
    assert "vgg16: the graph has no conv1_1 (convolution 3x3" in refused(path, capsys)
