"""What a whole Keras model states is refused where it is not the network's, or honoured."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.networks.weights import load
from tests.importers import keras_models, small_weights, weight_files
from tests.importers.conversions import converted, refused
from tests.importers.keras_models import Change, Model, become, put

NETWORK, WEIGHTS = small_weights.case()
ARRAYS = small_weights.keras_layers(NETWORK, WEIGHTS)
NAMES = dict(zip(WEIGHTS.weight, ARRAYS))
VGG = keras_models.model(NETWORK, NAMES)


def written(path: Path, change: Change | None = None, **attributes: str) -> Path:
    made = copy.deepcopy(VGG)
    if change:
        change(made)
    keras_models.save(path, ARRAYS, made, **attributes)
    return path


def twice(made: Model) -> None:
    entry = keras_models.layer(made, "relu2_1")
    entry["inbound_nodes"] = entry["inbound_nodes"] * 2


def in_training(made: Model) -> None:
    entry = keras_models.layer(made, "pool2")
    entry["inbound_nodes"][0][0][3] = {"training": True}


def nowhere(made: Model) -> None:
    keras_models.layer(made, "pool2")["inbound_nodes"] = [[["gone", 0, 0, {}]]]


RELU = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
DIFFER: dict[str, tuple[Change, str]] = {
    "kernel": (put("block3_conv1", kernel_size=[5, 5]), "block3_conv1: states kernel (5, 5)"),
    "strides": (put("block3_conv1", strides=[1, 2]), "(convolution 3x3, stride 1x2, 1x0 before"),
    "padding": (put("block3_conv1", padding="valid"), "(convolution 3x3, stride 1x1, to 14x14)"),
    "causal": (put("block3_conv1", padding="causal"), "(Conv2D, padding causal)"),
    "dilation": (put("block5_conv2", dilation_rate=[2, 2]), "(convolution 3x3, dilation 2x2"),
    "groups": (put("block3_conv1", groups=2), "(convolution in 2 groups 3x3"),
    "filters": (put("block3_conv1", filters=9), "block3_conv1: states 9 outputs; expected 8"),
    "use_bias": (put("block3_conv1", use_bias=False), "block3_conv1: states use_bias False"),
    "activation": (put("block3_conv1", activation="tanh"), "block3_conv1 (tanh)"),
    "a function": (
        put("block3_conv1", activation={"class_name": "function", "config": "gelu"}),
        "block3_conv1 (gelu)",
    ),
    "data_format": (put("block3_conv1", data_format="channels_first"), "reads channels elsewhere"),
    "a new field": (
        put("block3_conv1", spin=3),
        "block3_conv1: spin of a Conv2D layer, which refq",
    ),
    "dtype": (put("block3_conv1", dtype="int8"), "block3_conv1: dtype int8; expected a kind of"),
    "separable": (become("block3_conv1", "SeparableConv2D"), "block3_conv1 (SeparableConv2D)"),
    "pool_size": (put("pool2", pool_size=[3, 2]), "pool2 (max 3x2, stride 2x2"),
    "pool's strides": (put("pool2", strides=[2, 1]), "pool2 (max 2x2, stride 2x1"),
    "average": (become("pool2", "AveragePooling2D", pool_size=[2, 2]), "pool2 (mean 2x2"),
    "global": (become("pool5", "GlobalMaxPooling2D"), "pool5 (global max)"),
    "sigmoid": (put("relu2_1", activation="sigmoid"), "relu2_1 (sigmoid)"),
    "relu6": (become("relu2_1", "ReLU", **{**RELU, "max_value": 6.0}), "(ReLU with max_value 6.0)"),
    "slope": (
        become("relu2_1", "ReLU", **{**RELU, "negative_slope": 0.1}),
        "(ReLU with slope 0.1)",
    ),
    "threshold": (become("relu2_1", "ReLU", **{**RELU, "threshold": 1.0}), "with threshold 1.0)"),
    "leaky": (become("relu2_1", "LeakyReLU", alpha=0.3), "relu2_1 (LeakyReLU)"),
    "units": (put("fc2", units=9), "fc2: states 9 outputs; expected 7"),
    "activation of fc1": (put("fc1", activation="selu"), "fc1 (selu)"),
    "softmax within": (put("fc1", activation="softmax"), "fc1 (softmax)"),
    "lambda": (become("relu2_1", "Lambda"), "relu2_1 (Lambda)"),
    "twice": (twice, "relu2_1 (Activation that is called 2 times)"),
    "in training": (in_training, "pool2 (MaxPooling2D as in training)"),
    "nowhere": (nowhere, "the graph has no pool2"),
    "flatten": (put("flatten", data_format="channels_first"), "flatten (a Flatten of other axes)"),
    "no strides": (put("block3_conv1", strides=[0, 1]), "block3_conv1: kernel (3, 3), strides"),
    "negative dilation": (put("block3_conv1", dilation_rate=[-1, 1]), "dilations (-1, 1)"),
    "one channel": (put("data", batch_input_shape=[None, 64, 64, 1]), "images of 1 channels"),
    "an oblong": (put("data", batch_input_shape=[None, 64, 96, 3]), "64 rows and 96 columns"),
    "another size": (put("data", batch_input_shape=[None, 96, 96, 3]), "fc6 has shape (7, 64)"),
    "quantized": (
        put(
            "fc2",
            dtype={"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}},
        ),
        "fc2: a quantized layer (int8_from_float32)",
    ),
    "bias of fc2": (put("fc2", use_bias=False), "fc2: states use_bias False"),
    "rank": (put("fc2", lora_rank=4), "fc2: lora_rank of a Dense layer"),
    "depthwise": (become("block3_conv1", "DepthwiseConv2D"), "block3_conv1 (DepthwiseConv2D)"),
    "softmax of rows": (
        put("predictions", activation={"class_name": "Softmax", "config": {"axis": 1}}),
        "the graph goes on behind fc8",
    ),
    "rescaling": (become("relu2_1", "Rescaling", scale=0.5), "relu2_1 (Rescaling)"),
}


@pytest.mark.parametrize("case", DIFFER)
def test_a_fact_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    change, told = DIFFER[case]
    assert told in refused(written(tmp_path / "w.h5", change), capsys)


SAME: dict[str, Change | None] = {
    "as it is": None,
    "relu": become("relu2_1", "ReLU", **RELU),
    "dropout": become("relu2_1", "Dropout", rate=0.5),
    "initializers": put("block3_conv1", kernel_initializer={"class_name": "HeNormal"}),
    "policy": put(
        "block3_conv1", dtype={"class_name": "DTypePolicy", "config": {"name": "float16"}}
    ),
    "same, of one window": put("pool2", padding="same"),
    "a field that is off": put("block3_conv1", quantization_config=None, lora_rank=None),
    "trainable": put("block3_conv1", trainable=False),
    "regularizer": put("block3_conv1", activity_regularizer={"class_name": "L2", "config": {}}),
    "constraint": put("block3_conv1", kernel_constraint={"class_name": "MaxNorm", "config": {}}),
    "double": put("block3_conv1", dtype="float64"),
    "bfloat16": put("block3_conv1", dtype="bfloat16"),
    "softmax": put("predictions", activation="softmax"),
}


@pytest.mark.parametrize("case", SAME)
def test_a_fact_that_is_the_network_s(tmp_path: Path, case: str) -> None:
    path = written(tmp_path / "w.h5", SAME[case])
    if case == "dropout":  # in the place of a ReLU: another function
        return
    report = converted(path)
    assert (report["network"], report["sha256"]) == ("vgg16", WEIGHTS.sha256)
    assert report["parameters"]["input_size"] == 64


def test_activations_within_layers(tmp_path: Path) -> None:
    """As in keras.applications: a ReLU is stated by the layer before it."""
    made = copy.deepcopy(VGG)
    called: dict[str, str] = {}
    for entry in made["config"]["layers"]:
        for call in entry["inbound_nodes"]:
            for each in call:
                each[0] = called.get(each[0], each[0])
        if entry["class_name"] == "Activation":
            called[entry["name"]] = entry["inbound_nodes"][0][0][0]
            keras_models.layer(made, called[entry["name"]])["config"]["activation"] = "relu"
    kept = [each for each in made["config"]["layers"] if each["class_name"] != "Activation"]
    made["config"]["layers"] = kept
    keras_models.save(tmp_path / "w.h5", ARRAYS, made)
    assert converted(tmp_path / "w.h5")["sha256"] == WEIGHTS.sha256
    # a Sequential of Keras 1 or 2 is the list alone
    row = [{"class_name": each["class_name"], "config": each["config"]} for each in kept[1:]]
    row[0]["config"]["batch_input_shape"] = [None, 64, 64, 3]
    for config in (row, {"layers": row}):
        model = {"class_name": "Sequential", "config": config}
        keras_models.save(tmp_path / "w.h5", ARRAYS, model)
        report = converted(tmp_path / "w.h5")
        assert (report["sha256"], report["parameters"]["input_size"]) == (WEIGHTS.sha256, 64)


def old(made: Model) -> None:
    """In the words of Keras 1."""
    words = {
        "strides": "subsample",
        "padding": "border_mode",
        "data_format": "dim_ordering",
        "use_bias": "bias",
        "filters": "nb_filter",
        "units": "output_dim",
    }
    for entry in made["config"]["layers"]:
        config, pool = entry["config"], entry["class_name"] == "MaxPooling2D"
        if entry["class_name"] == "Conv2D":
            entry["class_name"] = "Convolution2D"
            config["nb_row"], config["nb_col"] = config.pop("kernel_size")
            del config["dilation_rate"], config["groups"]
        if entry["class_name"] == "Flatten":
            del config["data_format"]
        for name, word in words.items():
            if name in config and not (pool and name == "strides"):
                config[word] = config.pop(name)
        if "dim_ordering" in config:
            config["dim_ordering"] = "tf"
    made["class_name"] = "Model"


def old_names(arrays: Any) -> Any:
    letters = {"kernel": "W", "bias": "b"}
    return {
        layer: {f"{layer}_{letters[part]}_1": array for part, array in parts.items()}
        for layer, parts in arrays.items()
    }


def test_keras_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its names, with and without the model; kernels of Theano are turned by half a turn."""
    made = copy.deepcopy(VGG)
    old(made)
    path = tmp_path / "w.h5"
    weight_files.keras(path, old_names(ARRAYS))
    assert converted(path)["sha256"] == WEIGHTS.sha256
    keras_models.save(path, old_names(ARRAYS), made)
    assert converted(path)["sha256"] == WEIGHTS.sha256
    turned = {
        layer: {
            part: array[::-1, ::-1] if array.ndim == 4 else array for part, array in parts.items()
        }
        for layer, parts in ARRAYS.items()
    }
    keras_models.save(path, old_names(turned), made, backend="theano")
    assert converted(path)["sha256"] == WEIGHTS.sha256
    keras_models.layer(made, "block3_conv1")["config"]["subsample"] = [2, 2]
    keras_models.save(path, old_names(ARRAYS), made)
    (tmp_path / "out.h5").unlink()
    capsys.readouterr()
    assert "block3_conv1 (convolution 3x3, stride 2x2" in refused(path, capsys)


@pytest.mark.parametrize("flatten", ["channels_first", "channels_last", None])
def test_channels_first(tmp_path: Path, flatten: str | None) -> None:
    """Flatten brings channels to the end where it says that they are first, and only there."""
    made = keras_models.model(NETWORK, NAMES, "channels_first")
    config = keras_models.layer(made, "flatten")["config"]
    config["data_format"] = flatten
    arrays = dict(ARRAYS)
    if flatten != "channels_first":
        arrays["fc1"] = {**ARRAYS["fc1"], "kernel": WEIGHTS.weight["fc6"].T}
    keras_models.save(tmp_path / "w.h5", arrays, made)
    report = converted(tmp_path / "w.h5")
    assert (report["sha256"], report["parameters"]["input_size"]) == (WEIGHTS.sha256, 64)


def resnet(path: Path, **fields: Any) -> weight_files.Norms:
    """Keras' ResNet-50 with what every BatchNormalization states."""
    network, weights = small_weights.case("resnet50_keras")
    given = weight_files.norms(weights, 5)
    arrays = small_weights.keras_resnet(weights, given)
    convs = [name for name in arrays if not name.endswith("_bn")]
    made = keras_models.model(network, dict(zip(weights.weight, convs)))
    for entry in list(made["config"]["layers"]):
        name = entry["name"]
        if not name.endswith("_conv"):
            continue
        entry["config"]["use_bias"] = False
        norm = name.replace("_conv", "_bn")
        for other in made["config"]["layers"]:
            for call in other["inbound_nodes"]:
                for each in call:
                    each[0] = norm if each[0] == name else each[0]
        config = {"name": norm, "axis": [3], "momentum": 0.9, **fields}
        calls = [[[name, 0, 0, {}]]]
        made["config"]["layers"].append(
            {"class_name": "BatchNormalization", "name": norm, "config": config}
            | {"inbound_nodes": calls}
        )
    # files have layers in any order
    keras_models.save(path, arrays, made)
    return given


@pytest.mark.parametrize("eps", [1.001e-5, 1e-3, 0.5])
def test_epsilon_is_the_file_s(tmp_path: Path, eps: float) -> None:
    _, weights = small_weights.case("resnet50_keras")
    given = resnet(tmp_path / "w.h5", epsilon=eps)
    assert converted(tmp_path / "w.h5")["network"] == "resnet50_keras"
    _, got = load(tmp_path / "out.h5", "resnet50_keras")
    layer = "res3a_branch2b"
    scale = given[layer]["gamma"] / np.sqrt(given[layer]["variance"] + eps)
    want = weights.weight[layer] * scale.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(got.weight[layer], want, rtol=2e-6)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"axis": [2]}, "a normalisation over axis 2"),
        ({"mode": 1}, "normalisation, mode 1"),
        ({"center": False}, "4 arrays; expected gamma, mean, variance"),
    ],
)
def test_normalisations_that_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], told: str
) -> None:
    resnet(tmp_path / "w.h5", epsilon=1e-3, **fields)
    assert told in refused(tmp_path / "w.h5", capsys)


def test_epsilon_by_names(tmp_path: Path) -> None:
    """Keras' ResNets of before 2019 had its usual one; their files of weights state none."""
    _, weights = small_weights.case("resnet50_keras")
    given = weight_files.norms(weights, 5)
    arrays: dict[str, dict[str, np.ndarray]] = {}
    parts = {"gamma": "gamma", "beta": "beta", "mean": "running_mean", "variance": "running_std"}
    for layer, weight in weights.weight.items():
        if layer == "fc1000":
            arrays[layer] = {f"{layer}_W_1": weight.T, f"{layer}_b_1": weights.bias[layer]}
            continue
        norm = "bn_conv1" if layer == "conv1" else layer.replace("res", "bn")
        arrays[layer] = {f"{layer}_W_1": weight.transpose(2, 3, 1, 0)}
        arrays[norm] = {f"{norm}_{parts[key]}_1": array for key, array in given[layer].items()}
    weight_files.keras(tmp_path / "w.h5", arrays)
    assert converted(tmp_path / "w.h5")["network"] == "resnet50_keras"
    _, got = load(tmp_path / "out.h5", "resnet50_keras")
    scale = given["conv1"]["gamma"] / np.sqrt(given["conv1"]["variance"] + 1e-3)
    want = weights.weight["conv1"] * scale.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(got.weight["conv1"], want, rtol=2e-6)


def test_a_model_prepares_its_images(tmp_path: Path) -> None:
    made = copy.deepcopy(VGG)
    first = {"name": "scaling", "scale": 1 / 255, "offset": 0.0}
    made["config"]["layers"].insert(
        1,
        {"class_name": "Rescaling", "name": "scaling", "config": first}
        | {"inbound_nodes": [[["data", 0, 0, {}]]]},
    )
    keras_models.layer(made, "block1_conv1")["inbound_nodes"] = [[["scaling", 0, 0, {}]]]
    keras_models.save(tmp_path / "w.h5", ARRAYS, made)
    (note, *_) = converted(tmp_path / "w.h5")["notes"]
    assert note.startswith("scaling (Rescaling: scale 0.0039") and "--preprocessing" in note


def test_a_keras_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """config.json and model.weights.h5 in a zip archive."""
    arrays = {name: list(parts.values()) for name, parts in ARRAYS.items()}
    for change in (None, put("pool2", pool_size=[3, 3])):
        made = copy.deepcopy(VGG)
        if change:
            change(made)
        path = tmp_path / "w.keras"
        small_weights.keras_archive(path, arrays, json.dumps(made))
        if change is None:
            assert converted(path)["sha256"] == WEIGHTS.sha256
            (tmp_path / "out.h5").unlink()
            capsys.readouterr()
    assert "pool2 (max 3x3, stride 2x2" in refused(path, capsys)


def test_files_of_keras_3(tmp_path: Path) -> None:
    """Written by Keras itself, where it is."""
    pytest.importorskip("torch")
    pytest.importorskip("keras")
    import os
    import subprocess
    import sys

    code = f"""
import keras
from keras import layers
image = x = keras.Input((64, 64, 3))
for block, depth in enumerate((2, 2, 3, 3, 3)):
    for _ in range(depth):
        x = layers.Conv2D(2 << min(block, 3), 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D()(x)
x = layers.Dropout(0.5)(layers.Dense(7, activation="relu")(layers.Flatten()(x)))
x = layers.Dense(5, activation="softmax")(layers.Dense(7, activation="relu")(x))
model = keras.Model(image, x)
model.save(r"{tmp_path / "w.h5"}")
model.save(r"{tmp_path / "w.keras"}")
"""
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=300)
    hashes = {converted(tmp_path / name)["sha256"] for name in ("w.h5", "w.keras")}
    assert len(hashes) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config": {"layers": []}}', "[" * 5000])
def test_configurations_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    keras_models.save(tmp_path / "w.h5", ARRAYS, VGG)
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        file.attrs["model_config"] = text
    if not text:
        converted(tmp_path / "w.h5")
        return
    refused(tmp_path / "w.h5", capsys)


def test_another_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first is the image, and no other."""
    made = copy.deepcopy(VGG)
    second = {"name": "mask", "batch_input_shape": [None, 64, 64, 3]}
    made["config"]["layers"].append(
        {"class_name": "InputLayer", "name": "mask", "config": second, "inbound_nodes": []}
    )
    keras_models.layer(made, "block1_conv1")["inbound_nodes"] = [[["mask", 0, 0, {}]]]
    keras_models.save(tmp_path / "w.h5", ARRAYS, made)
    assert "the graph has no conv1_1" in refused(tmp_path / "w.h5", capsys)
