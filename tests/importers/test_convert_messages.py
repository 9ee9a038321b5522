"""refq.convert: names in wrappers are understood, and refusals say what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks.peers.onnx_graph import to_onnx
from refq import convert
from refq.importers import wrappers
from refq.networks.weights import load
from tests.importers import caffe_files, small_weights, weight_files
from tests.importers.conversions import refused

NETWORK, WEIGHTS = small_weights.case()
Arrays = dict[str, np.ndarray]


def report(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, list[str]]:
    out = path.with_name("out.h5")
    assert convert.main([str(path), "-o", str(out), "--json", "-", *more]) == 0
    made: dict[str, list[str]] = json.loads(capsys.readouterr().out)
    return made


# --- names in wrappers ---

STRIPPED = [
    (["module.conv1.weight", "module.fc.bias"], ["conv1.weight", "fc.bias"]),
    # as soon as something else stands beside them
    (["module.conv1.weight", "module.fc.bias", "epoch"], ["conv1.weight", "fc.bias", "epoch"]),
    (
        ["features.module.0.weight", "classifier.1.weight"],
        ["features.0.weight", "classifier.1.weight"],
    ),
    (["_orig_mod.conv1.weight", "_orig_mod.module.fc.bias"], ["conv1.weight", "fc.bias"]),
    (
        ["model.backbone.conv1.weight", "model.backbone.layer1.0.bn1.weight", "steps"],
        ["conv1.weight", "layer1.0.bn1.weight", "steps"],
    ),
    # a trunk of torchvision's is no wrapper, and neither is a layer
    (["features.0.weight", "features.2.weight"], ["features.0.weight", "features.2.weight"]),
    (["net.features.0.bias", "net.features.2.bias"], ["features.0.bias", "features.2.bias"]),
    (["conv1.weight", "conv1.bias"], ["conv1.weight", "conv1.bias"]),
    # two that would become one stay as they are
    (["module.a.weight", "a.weight", "b.bias"], ["module.a.weight", "a.weight", "b.bias"]),
]


@pytest.mark.parametrize(("names", "plain"), STRIPPED)
def test_wrappers(names: list[str], plain: list[str]) -> None:
    assert wrappers.stripped(names)[0] == plain


def test_deep_names_take_no_time() -> None:
    names = [f"{'a.' * 200_000}{part}" for part in ("weight", "bias")]
    assert len(wrappers.stripped(names)[0][0]) > 390_000


@pytest.mark.parametrize(
    ("wrapped", "note"),
    [("module.{}", ""), ("encoder.body.{}", "all names begin with encoder.body, "), ("{}", "")],
)
def test_wrapped_models_of_torch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrapped: str, note: str
) -> None:
    arrays = {
        wrapped.format(name): array for name, array in small_weights.torch_arrays(WEIGHTS).items()
    }
    weight_files.torch_file(tmp_path / "w.pth", {**arrays, "epoch": np.ones(1, np.int64)})
    made = report(tmp_path / "w.pth", capsys, "--preprocessing", "caffe")
    assert made["sha256"] == WEIGHTS.sha256
    assert made["ignored"] == ["epoch"] and len(made["notes"]) == bool(note)
    assert note in "".join(made["notes"])


def nested(path: Path, extra: tuple[str, ...] = ()) -> None:
    """Keras: a trunk as one layer of the model, and a dense layer behind it."""
    layers = small_weights.keras_layers(NETWORK, WEIGHTS)
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = np.array(["input_1", "vgg16", "dense"], "S")
        root.create_group("input_1").attrs["weight_names"] = np.array([])
        trunk, names = root.create_group("vgg16"), []
        for layer, arrays in layers.items():
            if layer.startswith("block"):
                for role, array in arrays.items():
                    names.append(f"{layer}/{role}:0")
                    trunk[names[-1]] = array
        for name in extra:
            trunk[name] = trunk["block1_conv1/kernel:0"][()]
        trunk.attrs["weight_names"] = np.array([*names, *extra], "S")
        root.create_group("dense")["dense/kernel:0"] = np.ones((64, 3), np.float32)
        root["dense"].attrs["weight_names"] = np.array(["dense/kernel:0"], "S")


def test_a_model_within_a_model_of_keras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nested(tmp_path / "w.h5")
    made = report(tmp_path / "w.h5", capsys)
    assert made["network"] == "vgg16" and made["ignored"] == ["dense"]
    _, got = load(tmp_path / "out.h5", "vgg16")
    np.testing.assert_array_equal(got.weight["conv4_2"], WEIGHTS.weight["conv4_2"])
    nested(tmp_path / "w.h5", ("block1_conv1/kernel_1:0",))
    (tmp_path / "out.h5").unlink()
    told = refused(tmp_path / "w.h5", capsys)
    assert "block1_conv1/kernel_1:0: a second weight of one layer; expected one" in told


# --- layers without a usable weight ---


def test_layers_without_a_float_weight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = small_weights.torch_arrays(WEIGHTS)
    weight = plain.pop("features.0.weight")
    split = {"weight_g": np.ones((2, 1, 1, 1), np.float32), "weight_v": weight}
    pruned = {"weight_orig": weight, "weight_mask": np.ones_like(weight)}
    for parts in ({"weight": weight.astype(np.int64)}, split, pruned):
        own = {f"features.0.{part}": array for part, array in parts.items()}
        weight_files.torch_file(tmp_path / "w.pth", {**own, **plain})
        assert "vgg16: features.0 has no float weight" in refused(tmp_path / "w.pth", capsys)
    # also without a bias, where nothing else is left of the layer
    del plain["features.0.bias"]
    weight_files.torch_file(tmp_path / "w.pth", {"features.0.weight": np.ones(3, int), **plain})
    assert "vgg16: features.0 has no float weight" in refused(tmp_path / "w.pth", capsys)


def test_a_mask_beside_a_weight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = small_weights.torch_arrays(WEIGHTS)
    arrays["features.5.weight_mask"] = np.ones((4, 2, 3, 3), np.float32)
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    told = refused(tmp_path / "w.pth", capsys)
    assert "does not have: features.5.weight_mask;" in told


# --- the nearest network ---


def test_the_nearest_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """VGG-19 has all the names of VGG-16, and as many of its layers."""
    arrays = small_weights.torch_arrays(WEIGHTS)
    del arrays["features.7.weight"], arrays["features.7.bias"]
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    assert "here: vgg16: no layer features.7;" in refused(tmp_path / "w.pth", capsys)
    model = to_onnx(NETWORK, WEIGHTS)
    for node in model.graph.node:
        node.op_type = node.op_type.replace("Relu", "LeakyRelu")
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    assert "here: vgg16: the graph has no " in refused(tmp_path / "w.onnx", capsys)


def test_names_that_no_network_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {f"stem{name}": array for name, array in small_weights.torch_arrays(WEIGHTS).items()}
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    told = refused(tmp_path / "w.pth", capsys)
    assert "layers named stemfeatures.0, stemfeatures.2, stemfeatures.5, stemfeatures.7" in told
    assert "and 12 more; expected names of a network of docs/networks.md" in told
    told = refused(tmp_path / "w.pth", capsys, "--network", "vgg16")
    assert "12 more; vgg16: no layer features.0, features.2" in told


# --- files that are no weights ---

MISTAKEN = {
    "empty": ("w.pth", b"", "w.pth is an empty file; expected a weight file; fetch it again"),
    "empty ONNX": ("w.onnx", b"", "w.onnx is an empty file"),
    "pointer": (
        "w.pth",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "is a Git LFS pointer; expected the weights; run git lfs pull",
    ),
    "gzip": ("w.pth", b"\x1f\x8b\x08\0", "w.pth is compressed by gzip; expected a weight file;"),
    "7z": ("w.pth", b"7z\xbc\xaf\x27\x1c\0", "w.pth is an archive of 7-Zip; expected a weight"),
    "GGUF": ("w.bin", b"GGUF\3\0\0\0", "w.bin is a GGUF model; expected a weight file; save it as"),
    "page": ("w.h5", b"<!DOCTYPE html>\n<html>", "is a web page"),
    "page after a line": ("w.caffemodel", b"\n<html><head>", "is a web page"),
    "page with a mark": ("w.mat", b"\xef\xbb\xbf\r\n<HTML>", "is a web page"),
}


@pytest.mark.parametrize("case", MISTAKEN)
def test_mistaken_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    name, content, told = MISTAKEN[case]
    (tmp_path / name).write_bytes(content)
    assert told in refused(tmp_path / name, capsys)


def test_packed_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["images"] = np.zeros((1, 3, 4, 4), np.uint8)
    told = refused(tmp_path / "w.h5", capsys)
    assert "w.h5: packed images; expected weights; give them to --data" in told


def test_no_regular_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        told = refused(tmp_path / name, capsys)
        assert f"no regular file at {name}; expected a weight file" in told
    assert "no file at none; check" in refused(tmp_path / "none", capsys)


# --- notes ---


def test_notes_on_preprocessing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, write = small_weights.WRITERS["matconvnet_v6"]
    write(tmp_path / name, NETWORK, WEIGHTS)
    said = "the mean of the images is the file's; how they were scaled it does not say"
    assert report(tmp_path / name, capsys)["notes"] == [said]
    caffe_files.caffemodel(tmp_path / "w.caffemodel", NETWORK, WEIGHTS)
    (note,) = report(tmp_path / "w.caffemodel", capsys)["notes"]
    assert note.startswith("the file does not say how images were prepared")
