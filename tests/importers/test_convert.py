"""refq.convert: every format to the same weights, and one line for what is broken."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import scipy.io

from refq import convert, networks
from refq.engine.forward import forward
from refq.errors import RefqError
from refq.importers import caffe, naming, read, torch_legacy, torch_zip
from refq.importers.contents import Contents
from refq.networks.weights import Weights, load
from tests.importers import caffe_files, real_models, small_weights, weight_files
from tests.shared_data import shared

NETWORK, WEIGHTS = small_weights.case()
# 255 times torchvision's standard deviations
DEVIATION = np.array([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1)


def run(path: Path, *more: str) -> Path:
    out = path.with_name("converted.h5")
    assert convert.main([str(path), "-o", str(out), *more]) == 0
    return out


def written(folder: Path, reader: str, weights: Weights = WEIGHTS) -> Path:
    name, write = small_weights.WRITERS[reader]
    write(folder / name, NETWORK, weights)
    return folder / name


@pytest.mark.parametrize("reader", small_weights.WRITERS)
def test_every_format_gives_the_same_weights(
    tmp_path: Path, reader: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(written(tmp_path, reader))
    network, got = load(out, "vgg16")
    assert network.parameters == NETWORK.parameters
    for layer in WEIGHTS.weight:
        want = WEIGHTS.weight[layer]
        if layer == "conv1_1" and reader in ("torch_zip", "torch_legacy", "safetensors"):
            np.testing.assert_allclose(got.weight[layer] * DEVIATION, want, rtol=1e-6)
        else:
            np.testing.assert_array_equal(got.weight[layer], want, err_msg=layer)
        np.testing.assert_array_equal(got.bias[layer], WEIGHTS.bias[layer])
    assert "network  vgg16  input_size 64, classes 5" in capsys.readouterr().out


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = small_weights.torch_arrays(WEIGHTS)
    arrays["extra.counts"] = np.ones((2, 3), np.int64)
    arrays["steps"] = np.ones(1, np.int64)
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    run(tmp_path / "w.pth", "--json", "-")
    report = json.loads(capsys.readouterr().out)
    assert report["network"] == "vgg16" and report["ignored"] == ["extra.counts", "steps"]
    first = report["rows"][0]
    assert first["taken"] == ["features.0"] and first["done"] == ["divided by the deviations"]
    assert report["preprocessing"]["channels"] == "RGB"
    np.testing.assert_allclose(report["preprocessing"]["mean"], [123.675, 116.28, 103.53])
    run(tmp_path / "w.pth", "--preprocessing", "caffe", "--json", str(tmp_path / "r.json"))
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["preprocessing"]["mean"] == [104, 117, 123] and not report["notes"]
    assert report["sha256"] == WEIGHTS.sha256


def test_mean_of_matconvnet(tmp_path: Path) -> None:
    _, got = load(run(written(tmp_path, "matconvnet_v6")), "vgg16")
    assert got.metadata["preprocessing"]["mean"] == [123.5, 116.25, 103.0]
    assert got.metadata["preprocessing"]["channels"] == "RGB"


def test_older_fields_of_matconvnet(tmp_path: Path) -> None:
    layers = small_weights.matlab_layers(NETWORK, WEIGHTS)
    cells = np.empty((1, len(layers)), object)
    for index, layer in enumerate(layers):
        cells[0, index] = {**layer.content(), **dict(zip(("filters", "biases"), layer.arrays))}
    rule = {"averageImage": np.full((64, 64, 3), 7, np.float32)}
    net = {"layers": cells, "normalization": rule}
    scipy.io.savemat(tmp_path / "w.mat", {"net": net})
    _, got = load(run(tmp_path / "w.mat", "--network", "vgg16"), "vgg16")
    np.testing.assert_array_equal(got.weight["fc6"], WEIGHTS.weight["fc6"])
    assert got.metadata["preprocessing"]["mean"] == [7, 7, 7]


# --- bytes by hand ---

# NetParameter {layers {name: "c" type: CONVOLUTION
#   blobs {num: 2 channels: 1 height: 1 width: 1 data: 1.5 data: -2 (packed)}
#   blobs {num: 1 channels: 1 height: 1 width: 2 data: 0.5 data: 4 (not packed)}}}
V1 = bytes.fromhex(
    "12 2d 22 01 63 28 04"
    "32 12 08 02 10 01 18 01 20 01 2a 08 00 00 c0 3f 00 00 00 c0"
    "32 12 08 01 10 01 18 01 20 02 2d 00 00 00 3f 2d 00 00 80 40"
)


def test_bytes_of_a_v1_caffemodel(tmp_path: Path) -> None:
    (tmp_path / "w.caffemodel").write_bytes(V1)
    unit = caffe.read(tmp_path / "w.caffemodel").units["c"]
    assert unit.arrays["weight"].shape == (2, 1, 1, 1)
    assert unit.arrays["weight"].load().ravel().tolist() == [1.5, -2.0]
    assert unit.arrays["bias"].load().tolist() == [0.5, 4.0]


def test_a_tag_for_each_of_many_values(tmp_path: Path) -> None:
    values = np.arange(1_200_000, dtype=np.float32).reshape(600, 2000)
    tagged = np.empty((values.size, 5), np.uint8)
    tagged[:, 0], tagged[:, 1:] = 0x2D, values.reshape(-1, 1).view(np.uint8)
    shape = caffe_files.field(7, caffe_files.field(1, 600) + caffe_files.field(1, 2000))
    blob = shape + tagged.tobytes()
    layer = caffe_files.caffe_layer("f", "InnerProduct", [blob], False)
    (tmp_path / "w.caffemodel").write_bytes(layer)
    unit = caffe.read(tmp_path / "w.caffemodel").units["f"]
    np.testing.assert_array_equal(unit.arrays["weight"].load(), values)


def tensors(path: Path, form: Any) -> dict[str, list[Any]]:
    units = form.read(path).units
    return {
        f"{name}.{role}": tensor.load().tolist()
        for name, unit in units.items()
        for role, tensor in unit.arrays.items()
    }


@pytest.mark.parametrize("legacy", [True, False])
def test_strides_offsets_and_halves_of_torch(tmp_path: Path, legacy: bool) -> None:
    path, storage = tmp_path / "w.pth", np.arange(12, dtype=np.float64)
    halves = np.array([0x3FC0, 0xC000], np.uint16)  # bfloat16
    views = {
        "module.a.weight": weight_files.torch_tensor("0", storage, (2, 3), (1, 4), 1, legacy),
        "module.a.bias": weight_files.torch_tensor("1", halves, (2,), (1,), 0, legacy),
        "module.b.weight": weight_files.torch_tensor("0", storage, (2, 2), (0, 5), 0, legacy),
    }
    state = weight_files.state_pickle(views)
    stored: dict[str, np.ndarray] = {"0": storage, "1": halves}
    if legacy:
        with path.open("wb") as file:
            weight_files.legacy_stream(file, state, stored)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w/data.pkl", state)
            for key, flat in stored.items():
                archive.writestr(f"w/data/{key}", flat.tobytes())
    assert tensors(path, torch_legacy if legacy else torch_zip) == {
        "a.weight": [[1, 5, 9], [2, 6, 10]],
        "a.bias": [1.5, -2.0],
        "b.weight": [[0, 5], [0, 5]],
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch(tmp_path: Path, zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, (2, 5)), torch.nn.BatchNorm2d(4))
    model.half()
    model[0].weight.data = model[0].weight.data.to(memory_format=torch.channels_last)
    torch.save(
        {"state_dict": model.state_dict(), "epoch": 3},
        tmp_path / "w.pth",
        _use_new_zipfile_serialization=zipped,
    )
    contents = read(tmp_path / "w.pth")
    got = contents.units["0"].arrays["weight"].load()
    np.testing.assert_array_equal(got, model[0].weight.detach().float().numpy())
    assert set(contents.units["1"].arrays) == {"gamma", "beta", "mean", "variance"}
    assert contents.ignored == ("epoch", "1.num_batches_tracked")


# --- normalisation ---


def expected(weight: np.ndarray, norm: Mapping[str, np.ndarray], eps: float) -> tuple[Any, Any]:
    scale = norm["gamma"] / np.sqrt(norm["variance"] + eps)
    return weight * scale[:, None, None, None], norm["beta"] - norm["mean"] * scale


def check_folded(
    out: Path, name: str, weights: Weights, given: weight_files.Norms, eps: float, scale: Any = 1
) -> None:
    _, got = load(out, name)
    for layer, weight in weights.weight.items():
        if weight.ndim == 2:
            np.testing.assert_array_equal(got.weight[layer], weight)
            continue
        want, bias = expected(weight, given[layer], eps)
        first = scale if layer == "conv1" else 1
        np.testing.assert_allclose(got.weight[layer] * first, want, rtol=2e-6)
        np.testing.assert_allclose(got.bias[layer], bias, rtol=1e-5, atol=1e-6)


def test_batch_norm_of_torch(tmp_path: Path) -> None:
    _, weights = small_weights.case("resnet20")
    given = weight_files.norms(weights, 5)
    arrays = small_weights.torch_resnet(weights, given, "linear")
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    check_folded(run(tmp_path / "w.pth"), "resnet20", weights, given, 1e-5, DEVIATION)


def test_batch_norm_and_scale_of_caffe(tmp_path: Path) -> None:
    _, weights = small_weights.case("resnet50")
    given, path = weight_files.norms(weights, 5), tmp_path / "w.caffemodel"
    eps = caffe_files.field(139, b"\x1d" + struct.pack("<f", 0.25))
    with path.open("wb") as file:
        for layer, weight in weights.weight.items():
            if layer == "fc1000":
                blobs = [caffe_files.blob(each) for each in (weight, weights.bias[layer])]
                file.write(caffe_files.caffe_layer(layer, "InnerProduct", blobs, False))
                continue
            tag = "_conv1" if layer == "conv1" else layer.removeprefix("res")
            norm, factor = given[layer], np.array([4.0], np.float32)
            sums = [norm["mean"] * 4, norm["variance"] * 4, factor]
            for name, kind, arrays, more in (
                (layer, "Convolution", [weight], b""),
                (f"bn{tag}", "BatchNorm", sums, eps),
                (f"scale{tag}", "Scale", [norm["gamma"], norm["beta"]], b""),
            ):
                blobs = [caffe_files.blob(each) for each in arrays]
                file.write(caffe_files.caffe_layer(name, kind, blobs, False, more))
    check_folded(run(path), "resnet50", weights, given, 0.25)


def test_batch_norm_of_keras(tmp_path: Path) -> None:
    _, weights = small_weights.case("resnet50_keras")
    given = weight_files.norms(weights, 5)
    weight_files.keras(tmp_path / "w.h5", small_weights.keras_resnet(weights, given))
    check_folded(run(tmp_path / "w.h5"), "resnet50_keras", weights, given, 1.001e-5)


def test_moments_of_matconvnet(tmp_path: Path) -> None:
    network, weights = small_weights.case("alexnet_matconvnet")
    given, layers = weight_files.norms(weights, 5), []
    for layer in small_weights.matlab_layers(network, weights):
        layers.append(layer)
        if layer.arrays and layer.name != "fc8":
            norm = given[layer.name]
            moments = np.stack([norm["mean"], np.sqrt(norm["variance"])], 1)
            parts = [norm["gamma"].reshape(-1, 1), norm["beta"].reshape(-1, 1), moments]
            layers.append(weight_files.MatlabLayer(f"bn{layer.name[-1]}", "bnorm", parts))
    weight_files.matconvnet(tmp_path / "w.mat", layers)
    _, got = load(run(tmp_path / "w.mat"), "alexnet_matconvnet")
    scale = given["fc6"]["gamma"] / np.sqrt(given["fc6"]["variance"])
    want = weights.weight["fc6"] * scale[:, None]
    np.testing.assert_allclose(got.weight["fc6"], want, rtol=1e-5)
    shift = (weights.bias["fc6"] - given["fc6"]["mean"]) * scale + given["fc6"]["beta"]
    np.testing.assert_allclose(got.bias["fc6"], shift, rtol=1e-4, atol=1e-5)


# --- graphs ---


@pytest.mark.parametrize("name", ["googlenet", "resnet50", "resnet50_torchvision", "squeezenet1_0"])
def test_onnx_graphs_need_no_names(tmp_path: Path, name: str) -> None:
    network, weights = small_weights.case(name)
    model = weight_files.onnx_normalised(network, weights, weight_files.norms(weights, 4), 1e-4)
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    runtime = onnxruntime.InferenceSession(str(tmp_path / "w.onnx"))
    converted, got = load(run(tmp_path / "w.onnx"), name)
    images = np.random.default_rng(2).normal(0, 9, (1, *network.input_shape)).astype(np.float32)
    (want,) = runtime.run(None, {"data": images})
    logits = forward(converted, got, None, images)
    np.testing.assert_allclose(logits, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(
    ("light", "name"),
    [
        ("inception_v1", "googlenet_onnx"),
        ("resnet50", "resnet50_torchvision"),
        ("squeezenet", "squeezenet1_1"),
    ],
)
def test_light_models_of_onnx(tmp_path: Path, light: str, name: str) -> None:
    """Graphs that others made, with random values where they have none."""
    if not (real_models.LIGHT / f"light_{light}.onnx").exists():
        pytest.skip("this onnx package has no light models")
    reference = real_models.light(tmp_path / "w.onnx", light)
    network, weights = load(run(tmp_path / "w.onnx"), name)
    images = np.random.default_rng(2).normal(0, 50, (1, 3, 224, 224)).astype(np.float32)
    want, logits = reference(images), forward(network, weights, None, images)
    np.testing.assert_allclose(logits, want, atol=3e-6 * np.abs(want).max())


# --- names ---

NAMES = [
    ("torch", "vgg16", 0, "conv5_3", ("features.28",)),
    ("torch", "vgg16", 1, "conv5_3", ("features.40", "features.41")),
    ("torch", "vgg19", 0, "fc8", ("classifier.6",)),
    ("torch", "alexnet_torchvision", 0, "conv5", ("features.10",)),
    ("torch", "alexnet_torchvision", 0, "fc7", ("classifier.4",)),
    ("torch", "squeezenet1_0", 0, "fire9/expand3x3", ("features.12.expand3x3",)),
    ("torch", "squeezenet1_0", 0, "fire4/squeeze1x1", ("features.5.squeeze",)),
    ("torch", "squeezenet1_1", 0, "fire4/squeeze1x1", ("features.6.squeeze",)),
    ("torch", "resnet101_torchvision", 0, "res4b22_branch2c", ("layer3.22.conv3", "layer3.22.bn3")),
    (
        "torch",
        "resnet50_torchvision",
        0,
        "res4a_branch1",
        ("layer3.0.downsample.0", "layer3.0.downsample.1"),
    ),
    (
        "torch",
        "googlenet_torchvision",
        0,
        "inception_4b/5x5",
        ("inception4b.branch3.1.conv", "inception4b.branch3.1.bn"),
    ),
    ("torch", "googlenet_torchvision", 0, "conv2/3x3", ("conv3.conv", "conv3.bn")),
    ("keras", "vgg19", 0, "conv4_4", ("block4_conv4",)),
    ("keras", "resnet50_keras", 0, "res5c_branch2b", ("conv5_block3_2_conv", "conv5_block3_2_bn")),
    (
        "caffe",
        "resnet152",
        0,
        "res3b7_branch2a",
        ("res3b7_branch2a", "bn3b7_branch2a", "scale3b7_branch2a"),
    ),
    ("matconvnet", "resnet50", 0, "conv1", ("conv1", "bn_conv1")),
    ("matconvnet", "googlenet", 0, "inception_5b/pool_proj", ("icp9_out3",)),
]


@pytest.mark.parametrize(("source", "name", "variant", "layer", "own"), NAMES)
def test_names(source: str, name: str, variant: int, layer: str, own: tuple[str, ...]) -> None:
    ways = list(naming.variants(Contents(source, "", {}), networks.build(name)))
    assert ways[variant][layer] == own and set(ways[variant]) == set(
        networks.build(name).weight_shapes()
    )


@pytest.mark.parametrize("name", ["alexnet", "caffenet"])
def test_forms_of_alexnet_differ_by_order(tmp_path: Path, name: str) -> None:
    network, weights = small_weights.case(name)
    caffe_files.caffemodel(tmp_path / "w.caffemodel", network, weights)
    got, stored = load(run(tmp_path / "w.caffemodel"), name)
    assert got == network and stored.sha256 == weights.sha256


def test_real_caffe_file(tmp_path: Path) -> None:
    source = shared("squeezenet_v1.1.caffemodel.h5")
    out = tmp_path / "out.h5"
    assert convert.main([str(source), "-o", str(out)]) == 0
    assert load(out, "squeezenet1_1")[1].sha256 == load(source, "squeezenet1_1")[1].sha256


def test_options_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "convert.md").read_text("utf-8")
    known = {row.spelled for row in convert.COMMAND.rows if not row.placed}
    assert set(re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)) == known
    with pytest.raises(RefqError, match="of no known format"):
        read(Path(__file__))
