"""refq.convert: what is no layer of the network nor of a head is not dropped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq import convert
from refq.errors import OptionError
from refq.files import writing
from tests.importers import small_weights, weight_files
from tests.importers.conversions import refused

NETWORK, WEIGHTS = small_weights.case()
KERAS = small_weights.keras_layers(NETWORK, WEIGHTS)
BETWEEN = "vgg16: layers between its own that it does not have: "
Arrays = dict[str, np.ndarray]


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def report(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    out = path.with_name("out.h5")
    assert convert.main([str(path), "-o", str(out), "--json", "-", *more]) == 0
    out.unlink()
    return json.loads(capsys.readouterr().out)


# --- Keras ---


def legacy(path: Path, name: str, arrays: Arrays) -> Path:
    """A VGG-16 whose fourth layer, of 4 channels, is another."""
    layers = list(KERAS.items())
    weight_files.keras(path, dict([*layers[:3], (name, arrays), *layers[3:]]))
    return path


LEGACY = {
    "PReLU": {"alpha": ones(1, 1, 4)},
    "depthwise": {"depthwise_kernel": ones(3, 3, 4, 1)},
    "depthwise with a bias": {"depthwise_kernel": ones(3, 3, 4, 1), "bias": ones(4)},
    "separable": {"depthwise_kernel": ones(3, 5, 4, 1), "pointwise_kernel": ones(1, 1, 4, 6)},
    "scale": {"lambda": ones(4)},
    "scalar": {"scale": np.array(0.5, np.float32)},
    "int8": {"kernel": np.ones((4, 6), np.int8)},
    "moments of features": {"mean": ones(4), "variance": ones(4)},
}


@pytest.mark.parametrize("case", LEGACY)
def test_layers_between_of_keras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    told = refused(legacy(tmp_path / "w.h5", "more", LEGACY[case]), capsys)
    assert f"{BETWEEN}more;" in told


def test_a_strange_array_of_a_layer_of_keras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = {**KERAS["block1_conv1"], "u": ones(1, 2)}
    weight_files.keras(tmp_path / "w.h5", {**KERAS, "block1_conv1": first})
    told = refused(tmp_path / "w.h5", capsys)
    assert "vgg16: arrays that no layer of it has, in block1_conv1;" in told


@pytest.mark.parametrize(
    ("arrays", "ignored"),
    [
        (
            {"mean": ones(3), "variance": ones(3), "count": np.array(7)},
            ["mean", "variance", "count"],
        ),
        ({"mean": ones(1), "variance": ones(1)}, ["mean", "variance"]),
        ({"seed_generator_state": np.ones(2, np.uint32)}, ["seed_generator_state"]),
    ],
)
def test_no_layers_of_keras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arrays: Arrays, ignored: list[str]
) -> None:
    made = report(legacy(tmp_path / "w.h5", "more", arrays), capsys)
    assert made["ignored"] == [f"more/{name}:0" for name in ignored]
    assert made["sha256"] == WEIGHTS.sha256


def keras3(
    path: Path, layer: str, arrays: Sequence[np.ndarray] | Arrays, trunk: bool = False
) -> Path:
    """A VGG-16, or its trunk, and the arrays of another path."""
    kept = {name: own for name, own in KERAS.items() if not trunk or "_conv" in name}
    weight_files.keras3(path, {name: list(own.values()) for name, own in kept.items()})
    named = arrays if isinstance(arrays, dict) else dict(zip("01234", arrays))
    with h5py.File(path, "a") as file:
        for name, array in named.items():
            file[f"{layer}/vars/{name}"] = array
    return path


KERAS3: dict[str, Any] = {
    "p_re_lu": [ones(1, 1, 4)],
    "p_re_lu_1": [ones(1, 1, 1)],
    "depthwise_conv2d": [ones(3, 3, 4, 1), ones(4)],
    "depthwise_conv2d_1": [ones(3, 3, 4, 1)],
    "own_name": [ones(3, 3, 4, 1), ones(4)],  # depthwise by its shapes
    "separable_conv2d": [ones(3, 3, 4, 1), ones(1, 1, 4, 6), ones(6)],
    "own_names": [ones(3, 3, 4, 1), ones(1, 1, 4, 6)],
    "five": [ones(3, 5, 4, 6)] * 5,
    "scale": [np.array(0.5, np.float32)],
    "quantized_dense": [np.ones((4, 6), np.int8), ones(6)],
    "whole": [np.ones((4, 6), np.int8)],
    "moments": [ones(4), ones(4), np.array(7)],
    "by_names": {"lambda": ones(4)},
}


@pytest.mark.parametrize("name", KERAS3)
def test_layers_between_of_keras_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for trunk in (False, True):
        path = keras3(tmp_path / "w.weights.h5", f"layers/{name}", KERAS3[name], trunk)
        assert f"{BETWEEN}{name};" in refused(path, capsys)


@pytest.mark.parametrize(
    ("path", "arrays", "ignored"),
    [
        ("layers/normalization", [ones(3), ones(3), np.array(7)], ["layers/normalization"]),
        (
            "layers/dropout/seed_generator",
            [np.ones(2, np.uint32)],
            ["layers/dropout/seed_generator"],
        ),
        ("layers/random_flip/generator", [np.ones(2, np.uint32)], ["layers/random_flip/generator"]),
        ("optimizer", [np.array(7), ones(3, 4)], ["optimizer/vars/0", "optimizer/vars/1"]),
        ("metrics/mean", [np.array(2.5, np.float32)], ["metrics/mean/vars/0"]),
    ],
)
def test_no_layers_of_keras_3(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    arrays: list[np.ndarray],
    ignored: list[str],
) -> None:
    made = report(keras3(tmp_path / "w.weights.h5", path, arrays), capsys)
    assert made["ignored"] == ignored and made["sha256"] == WEIGHTS.sha256


# --- PyTorch ---


def torch(path: Path, more: Arrays, trunk: bool = False) -> Path:
    """A VGG-16, or its trunk of 16 channels, and other arrays behind it."""
    plain = small_weights.torch_arrays(WEIGHTS)
    kept = {name: plain[name] for name in plain if not trunk or name.startswith("features")}
    weight_files.torch_file(path, {**kept, **more})
    return path


@pytest.mark.parametrize(
    ("name", "shape"),
    [("scale", (4,)), ("mask", (1, 4, 1, 1)), ("gate", ()), ("m.gate", ()), ("std", (4,))],
)
def test_arrays_of_the_model_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, shape: tuple[int, ...]
) -> None:
    told = refused(torch(tmp_path / "w.pth", {name: ones(*shape)}), capsys)
    assert f"{BETWEEN}{name};" in told


def test_what_prepares_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"mean": ones(1, 3, 1, 1), "std": ones(3), "steps": np.ones(1, np.int64)}
    made = report(torch(tmp_path / "w.pth", more), capsys, "--preprocessing", "caffe")
    assert made["ignored"] == ["steps", "mean", "std"] and made["sha256"] == WEIGHTS.sha256
    assert made["notes"] == [
        "mean and std: the model prepares images itself; --preprocessing has to say the same"
    ]
    made = report(torch(tmp_path / "w.pth", {"pixel_mean": ones(3, 1, 1)}), capsys)
    assert made["notes"][0].startswith("pixel_mean: the model prepares images itself")


SPATIAL = {"sa.conv1.weight": ones(1, 2, 7, 7)}
CHANNELS = {"ca.fc1.weight": ones(2, 16, 1, 1), "ca.fc2.weight": ones(16, 2, 1, 1)}
INNER = {"ca.fc1.weight": ones(2, 8, 1, 1), "ca.fc2.weight": ones(8, 2, 1, 1)}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (SPATIAL, "sa.conv1"),
        (CHANNELS, "ca.fc1, ca.fc2"),
        (INNER, "ca.fc1, ca.fc2"),
        ({"more.weight": ones(9, 5)}, "more (of another head: give --head)"),
    ],
)
def test_nothing_is_behind_a_whole_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: Arrays, named: str
) -> None:
    """Also not behind its trunk, as a head of which its own classifier would be a part."""
    assert f"{BETWEEN}{named};" in refused(torch(tmp_path / "w.pth", more), capsys)
    weight_files.safetensors(
        tmp_path / "w.safetensors", {**small_weights.torch_arrays(WEIGHTS), **more}
    )
    assert f"{BETWEEN}{named};" in refused(tmp_path / "w.safetensors", capsys)


@pytest.mark.parametrize(
    ("more", "named"),
    [(SPATIAL, "sa.conv1"), (INNER, "ca.fc1, ca.fc2"), ({"scale": ones(16)}, "scale")],
)
def test_heads_read_the_trunk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: Arrays, named: str
) -> None:
    head = {"head.0.weight": ones(6, 64), "head.0.bias": ones(6)}
    path = tmp_path / "w.pth"
    assert f"{BETWEEN}{named};" in refused(torch(path, more, True), capsys)
    assert f"{BETWEEN}{named};" in refused(torch(path, {**head, **more}, True), capsys)
    made = report(torch(path, {**head, "head.2.weight": ones(3, 6)}, True), capsys)
    assert made["ignored"] == ["head.0", "head.2"] and made["notes"][0].startswith("a trunk:")
    # a convolution, a number for each of its channels, and a dense layer over 3x3 of them
    conv = {"head.0.weight": ones(6, 16, 3, 3), "head.slope": ones(6), "head.3.weight": ones(5, 54)}
    assert report(torch(path, conv, True), capsys)["ignored"] == ["head.0", "head.slope", "head.3"]


@pytest.mark.parametrize("key", ["ema", "state_dict_ema", "model_ema"])
def test_running_averages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """A checkpoint {"net": "vgg16", key: state dict}."""
    plain = weight_files.state_pickle
    text = [
        b"X" + len(each).to_bytes(4, "little") + each for each in (b"net", b"vgg16", key.encode())
    ]
    monkeypatch.setattr(
        weight_files,
        "state_pickle",
        lambda views: b"\x80\x02}(" + b"".join(text) + plain(views)[2:-1] + b"u.",
    )
    made = report(torch(tmp_path / "w.pth", {}), capsys, "--preprocessing", "caffe")
    assert made["sha256"] == WEIGHTS.sha256


# --- parameters ---


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("hidden=9", "fc6 has shape (7, 64), not (9, 64)"),
        ("classes=12", "fc8 has shape (5, 7), not (12, 7)"),
    ],
)
@pytest.mark.parametrize("form", ["torch_zip", "onnx"])
def test_sizes_of_another_classifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, given: str, told: str
) -> None:
    """They ask for a classifier, so that a trunk is no answer."""
    name, write = small_weights.WRITERS[form]
    write(tmp_path / name, NETWORK, WEIGHTS)
    assert f"vgg16: {told}" in refused(tmp_path / name, capsys, "--parameter", given)
    more = ["--parameter", given, "--parameter", "top=false"]
    made = report(tmp_path / name, capsys, "--network", "vgg16", *more)
    assert not made["parameters"]["top"]


def test_a_parameter_without_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(tmp_path / "w.pth", capsys, "--parameter", f"x={'[' * 100_000}")
    assert "--parameter x=[[[" in told and "expected NAME=VALUE with true" in told
    assert len(told) < 200


# --- files that are written ---


def test_names_that_are_too_long(tmp_path: Path) -> None:
    before = os.listdir(tmp_path)
    for count in (250, 300):  # too long with what a half file is called, and too long
        path = str(tmp_path / ("n" * count))
        begin = f"cannot write {path[:100]}.*n"
        with pytest.raises(OptionError, match=f"{begin} .File name too long"):
            writing.write_text(path, "text")
        with pytest.raises(OptionError, match=f"{begin}; expected a file"):
            writing.check_writable(path)
    assert os.listdir(tmp_path) == before


def test_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "text"
    mask = os.umask(0o077)
    try:
        writing.write_text(str(path), "first")
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o664)
        writing.write_text(str(path), "second")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o664 and path.read_text() == "second"


def test_files_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write to any, so the system's answer is a made one."""
    kept, free = tmp_path / "kept", tmp_path / "free"
    kept.write_text("kept")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != kept)
    writing.check_writable(str(free))
    with pytest.raises(OptionError, match=f"cannot write {kept}; expected a file that may be"):
        writing.check_writable(str(free), str(kept))
