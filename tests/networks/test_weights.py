"""Weight dumps: both layouts, old blobs, other dtypes, and everything that can be wrong."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.errors import OptionError, WeightsError
from refq.networks import Network, build
from refq.networks.weights import Weights, load, random_weights, save
from tests.shared_data import shared

SIZES = {"input_size": 64, "classes": 7, "width": 3 / 64, "hidden": 11}
NETWORK = build("vgg16", SIZES)
LAYERS = NETWORK.weight_shapes()


def sample(network: Network = NETWORK, seed: int = 5) -> Weights:
    """Weights whose biases are not zero either."""
    made = random_weights(network, seed)
    rng = np.random.default_rng(seed)
    bias = {name: rng.normal(size=b.shape).astype(np.float32) for name, b in made.bias.items()}
    return Weights(made.weight, bias)


WEIGHTS = sample()


def write_caffe(path: Path, dump: Weights, old: bool = False, dtype: Any = np.float32) -> Path:
    """Caffe's .caffemodel.h5; old: every blob has four dimensions."""
    with h5py.File(path, "w") as file:
        for name, weight in dump.weight.items():
            for key, array in (("0", weight), ("1", dump.bias[name])):
                shape = (1,) * (4 - array.ndim) + array.shape if old else array.shape
                file[f"data/{name}/{key}"] = array.astype(dtype).reshape(shape)
        file.create_group("diff")
    return path


def same(left: Weights, right: Weights) -> None:
    for one, other in ((left.weight, right.weight), (left.bias, right.bias)):
        assert list(one) == list(other)
        for name, array in one.items():
            assert array.dtype == np.float32 and array.flags.c_contiguous
            np.testing.assert_array_equal(array, other[name])
    assert left.sha256 == right.sha256


def saved(path: Path, **attributes: Any) -> Path:
    save(path, NETWORK, WEIGHTS)
    with h5py.File(path, "a") as file:
        file.attrs.update(attributes)
    return path


def test_round_trip(tmp_path: Path) -> None:
    stated: Mapping[str, Any] = {
        "data_set": "cifar10",
        "source": "here",
        "licence": "CC0",
        "preprocessing": {"mean": [1, 2, 3]},
        "training": {"epochs": 2, "seed": 1},
    }
    path = tmp_path / "dump.h5"
    save(path, NETWORK, Weights(WEIGHTS.weight, WEIGHTS.bias, stated))
    network, got = load(path, "vgg16")
    assert network == NETWORK and dict(network.parameters) == dict(NETWORK.parameters)
    same(got, WEIGHTS)
    for key, value in stated.items():
        assert got.metadata[key] == value
    assert got.metadata["network"] == "vgg16" and got.metadata["sha256"] == WEIGHTS.sha256
    save(tmp_path / "again.h5", network, got)
    assert load(tmp_path / "again.h5", "vgg16")[1].metadata == got.metadata
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["again.h5", "dump.h5"]


@pytest.mark.parametrize(
    "name", ["alexnet", "googlenet", "resnet56", "squeezenet1_0", "squeezenet1_1", "vgg19"]
)
def test_round_trip_of_other_networks(tmp_path: Path, name: str) -> None:
    sizes = {"input_size": 259, "hidden": 23} if name == "alexnet" else {}
    network = build(name, {"classes": 5, "width": 0.125, **sizes})
    dump = sample(network)
    save(tmp_path / "dump.h5", network, dump)
    found, got = load(tmp_path / "dump.h5", name)
    assert found == network
    same(got, dump)
    # Caffe's layout says nothing of sizes: they are inferred
    found, got = load(write_caffe(tmp_path / "caffe.h5", dump), name)
    assert found.weight_shapes() == network.weight_shapes()
    same(got, dump)


@pytest.mark.parametrize("old", (False, True))
@pytest.mark.parametrize("top", (False, True))
def test_caffe_blobs(tmp_path: Path, old: bool, top: bool) -> None:
    network = build("vgg16", {**SIZES, "top": top})
    dump = sample(network)
    found, got = load(write_caffe(tmp_path / "caffe.h5", dump, old), "vgg16")
    assert found.has_classifier is top and found.weight_shapes() == network.weight_shapes()
    same(got, dump)


@pytest.mark.parametrize("dtype", (np.float16, np.float64, ">f4"))
def test_other_float_types(tmp_path: Path, dtype: Any) -> None:
    got = load(write_caffe(tmp_path / "caffe.h5", WEIGHTS, dtype=dtype), "vgg16")[1]
    for name, array in got.weight.items():
        wanted = WEIGHTS.weight[name].astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(array, wanted)


def test_parameters_override_the_dump(tmp_path: Path) -> None:
    path = write_caffe(tmp_path / "caffe.h5", sample(build("vgg16", {**SIZES, "top": False})))
    assert load(path, "vgg16", {"input_size": 96})[0].input_shape == (3, 96, 96)
    with pytest.raises(OptionError, match="unknown parameter of vgg16 'deep'"):
        load(path, "vgg16", {"deep": 1})


def test_sha256_is_of_names_shapes_and_values(tmp_path: Path) -> None:
    digest = hashlib.sha256()
    for name in sorted(LAYERS):
        for array in (WEIGHTS.weight[name], WEIGHTS.bias[name]):
            text = f"{name} ({', '.join(map(str, array.shape))}{',' * (array.ndim == 1)})\n"
            digest.update(text.encode() + struct.pack(f"<{array.size}f", *array.reshape(-1)))
    assert WEIGHTS.sha256 == digest.hexdigest()
    same(load(write_caffe(tmp_path / "caffe.h5", WEIGHTS, old=True), "vgg16")[1], WEIGHTS)
    path = saved(tmp_path / "dump.h5")
    with h5py.File(path, "a") as file:
        file["conv3_2/weight"][1, 2, 0, 1] += np.float32(0.5)
    text = f"the stored sha256 {WEIGHTS.sha256[:12]}; fetch the file again"
    with pytest.raises(
        WeightsError, match=f"dump.h5: values hash to [0-9a-f]{{12}}; expected {text}"
    ):
        load(path, "vgg16")


def test_random_weights_of_residual_networks() -> None:
    """Beside a shortcut 1/16 of the variance, as there are 16 additions; two convolutions half."""
    weight = random_weights(build("resnet50", {"classes": 3}), 5).weight
    wanted = {
        "res2a_branch2a": 2 / 64,
        "res2b_branch2a": 2 / 256,
        "res2a_branch1": 1 / 64,
        "res2a_branch2c": 1 / 64,
        "res2b_branch2c": 2 / 16 / 64,
        "fc1000": 2 / 2048,
    }
    for name, variance in wanted.items():
        assert weight[name].var() == pytest.approx(variance, rel=0.05), name


def test_random_weights() -> None:
    network, got = load("random:17", "vgg16", SIZES)
    assert network == NETWORK
    same(got, random_weights(NETWORK, 17))
    assert got.sha256 != load("random:18", "vgg16", SIZES)[1].sha256
    assert all(not bias.any() for bias in got.bias.values())
    wide = load("random:3", "vgg16", {"width": 0.25, "top": False})[1].weight["conv5_1"]
    assert wide.std() == pytest.approx(np.sqrt(2 / wide[0].size), rel=0.02)
    for text in ("random:", "random:x", "random:-1", "random:1.5"):
        with pytest.raises(OptionError, match=f"'{text}'; expected random:SEED with a whole num"):
            load(text, "vgg16", SIZES)


@pytest.mark.parametrize("share", (0.0001, 0.01, 0.3, 0.7, 0.99, 0.9999))
def test_truncated_files(tmp_path: Path, share: float) -> None:
    whole = saved(tmp_path / "whole.h5").read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match=r"cannot read .*cut.h5 as HDF5 \(.*fetch it again"):
        load(path, "vgg16")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89HDF\r\n\x1a\n", r"as HDF5 .*; expected a complete HDF5 file"),
        (bytes(4096), r"as HDF5 .*; expected a complete HDF5 file"),
        (b"", "dump.h5 is an empty file; expected weights in refq's HDF5"),
        (b"0 cat\n", "dump.h5 is text; expected weights in refq's HDF5"),
        (b'{"layers": []}', "dump.h5 is JSON; expected weights in refq's HDF5"),
        (b"\x89PNG\r\n\x1a\n", r"dump.h5 is a single image \(PNG\); expected weights"),
        (b"\x1f\x8b", "dump.h5 is a gzip archive; expected weights in refq's HDF5"),
    ],
)
def test_no_hdf5(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "dump.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=told):
        load(path, "vgg16")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weight file at .*; check the path"):
        load(tmp_path / "none.h5", "vgg16")
    with pytest.raises(WeightsError, match=r"cannot read .* \(a folder\); expected weights"):
        load(tmp_path, "vgg16")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(WeightsError, match=r"empty.h5 holds no layers; expected a group per layer"):
        load(tmp_path / "empty.h5", "vgg16")


Breakage = Callable[[h5py.File], None]


def replace(key: str, change: Callable[[np.ndarray], np.ndarray]) -> Breakage:
    def apply(file: h5py.File) -> None:
        array = change(file[key][()])
        del file[key]
        file[key] = array

    return apply


def delete(*keys: str) -> Breakage:
    def apply(file: h5py.File) -> None:
        for key in keys:
            del file[key]

    return apply


def put(key: str, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array.reshape(-1)[: len(value)] = value
        return array

    return change


BROKEN: dict[str, tuple[Breakage, str]] = {
    "missing": (delete("conv3_1"), "1 problem(s): missing layer 'conv3_1'; expected the layers of"),
    "extra": (
        lambda f: f.create_dataset("conv9/weight", data=np.ones(3)) and None,
        "unknown layer 'conv9'",
    ),
    "swapped": (
        replace("fc7/weight", lambda a: a[:, :5]),
        "fc7: weight has shape (11, 5), not (11, 11)",
    ),
    "flat": (
        replace("conv1_1/weight", lambda a: a.reshape(3, 27)),
        "conv1_1: weight has shape (3, 27), not (3, 3, 3, 3)",
    ),
    "short": (replace("conv2_2/bias", lambda a: a[1:]), "conv2_2: bias has shape (5,), not (6,)"),
    "nan": (
        replace("conv4_3/weight", put("", [np.nan, np.inf, -np.inf])),
        "conv4_3: weight has 3 NaN or infinite values",
    ),
    "infinite": (replace("fc8/bias", put("", [np.inf])), "fc8: bias has 1 NaN or infinite"),
    "beyond float32": (
        replace("fc8/bias", lambda array: array.astype(float) + 1e39),
        "fc8: bias has 7 values beyond float32;",
    ),
    "below float32": (
        replace("fc8/bias", lambda array: array.astype(float) * 0 + 1e-60),
        "fc8: bias has 7 values below float32, which would be 0;",
    ),
    "integers": (
        replace("fc6/weight", lambda a: a.astype(np.int32)),
        "fc6: weight has dtype int32, not a float",
    ),
    "half": (delete("conv5_2/bias"), "conv5_2: bias is missing"),
    "other half": (delete("conv5_2/weight"), "conv5_2: weight is missing"),
    "dataset": (
        lambda f: f.create_dataset("conv1_1/scale", data=np.ones(3)) and None,
        "dataset conv1_1/scale; expected weight and bias in each layer's group",
    ),
    "network": (
        lambda f: f.attrs.update(network="alexnet"),
        "holds weights of alexnet; expected vgg16; evaluate alexnet instead",
    ),
    "json": (
        lambda f: f.attrs.update(parameters="{'width': 1}"),
        "attribute 'parameters'; expected JSON text",
    ),
    "json number": (
        lambda f: f.attrs.update(training=3.5, preprocessing=b"\xff{"),
        "'; expected JSON text",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_dumps(tmp_path: Path, name: str) -> None:
    breakage, text = BROKEN[name]
    path = saved(tmp_path / "dump.h5")
    with h5py.File(path, "a") as file:
        breakage(file)
    with pytest.raises(WeightsError, match=re.escape(text)) as caught:
        load(path, "vgg16")
    assert "dump.h5" in str(caught.value)


def test_all_problems_at_once(tmp_path: Path) -> None:
    path = saved(tmp_path / "dump.h5")
    with h5py.File(path, "a") as file:
        for name in ("missing", "extra", "swapped", "nan", "integers", "half"):
            BROKEN[name][0](file)
    with pytest.raises(WeightsError) as caught:
        load(path, "vgg16")
    assert "6 problem(s)" in str(caught.value) and len(str(caught.value)) <= 400
    text = caught.value.found
    for name in ("extra", "swapped", "nan", "integers", "half"):
        assert BROKEN[name][1] in text
    assert "missing layer 'conv3_1'" in text and "\n" not in text


def test_messages_of_strange_names_are_short(tmp_path: Path) -> None:
    path = saved(tmp_path / "dump.h5")
    with h5py.File(path, "a") as file:
        for index in range(300):
            file[f"layer\n{index}" + "x" * 900 + "/weight"] = np.ones(3)
    with pytest.raises(WeightsError, match=r"300 problem\(s\): unknown layer 'layer\?") as caught:
        load(path, "vgg16")
    assert len(str(caught.value)) < 16_000
    with h5py.File(path, "a") as file:
        file["y" * 5000 + "\x1b[1m/other"] = np.ones(3)
    with pytest.raises(WeightsError, match=r"dataset layer|dataset y") as caught:
        load(path, "vgg16")
    assert len(str(caught.value)) < 600 and str(caught.value).isprintable()
    for key in ("source", "training", "network"):
        path = saved(tmp_path / "long.h5", **{key: "x" * (2 << 20)})
        with pytest.raises(WeightsError, match=f"attribute '{key}' of 2,097,152 letters"):
            load(path, "vgg16")


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "dump.h5")
    before = path.read_bytes()
    lacking = Weights({"conv1_1": WEIGHTS.weight["conv1_1"]}, WEIGHTS.bias)
    with pytest.raises(KeyError):
        save(path, NETWORK, lacking)
    with pytest.raises(TypeError):  # metadata that JSON cannot hold
        save(path, NETWORK, Weights(WEIGHTS.weight, WEIGHTS.bias, {"training": {1j}}))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OptionError, match=r"cannot write .*dump.h5 .full"):
        save(path, NETWORK, WEIGHTS)
    assert [each.name for each in tmp_path.iterdir()] == ["dump.h5"]
    assert path.read_bytes() == before


def test_real_caffe_dumps() -> None:
    network, got = load(shared("squeezenet_v1.1.caffemodel.h5"), "squeezenet1_1")
    assert network == build("squeezenet1_1") and len(got.weight) == 26
    network, _ = load(shared("vgg16_conv.caffemodel.h5"), "vgg16")
    assert not network.has_classifier
    network, got = load(shared("vgg16_cifar10.caffemodel.h5"), "vgg16")
    assert got.weight["fc6"].shape == (128, 25088) and network.shapes["fc8"] == (10,)
