"""Whole Keras models, in their files and without, compute what Keras' do, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.errors import WeightsError
from refq.importers import models
from refq.importers.foreign import Asked
from refq.importers.keras_model import Stored, foreign, read
from refq.importers.tflite_model import read as read_tflite
from tests.importers import as_onnx, keras_whole
from tests.importers.channels_last import conv
from tests.importers.keras_held import IMAGE, RNG, Held, X, agrees, arrays, floats, found
from tests.importers.keras_whole import Config, layer, model, row, source, within
from tests.importers.test_keras_layers import LAYERS
from tests.shared_data import shared


def test_a_layer_that_is_called_twice() -> None:
    w = floats(3, 3, 6, 6)
    layers = [
        IMAGE,
        layer("Conv2D", "c", calls=[["image"], [("c", 0, 0)]], padding="same", use_bias=False),
        layer("Subtract", "y", ("c", 1, 0), ("c", 0, 0)),
    ]
    pads = (1, 1), (1, 1)
    once = conv(X, w, 1, pads)
    whole = found(model(layers, ["y"]), {"c": arrays(kernel=w)})
    agrees(whole, conv(once, w, 1, pads) - once)


def test_a_model_within_that_is_called_twice() -> None:
    """Keras 2 numbers its calls from 1: the first is the one that makes it."""
    w = floats(6, 3)
    inner = model([source("in", 6), layer("Dense", "d", "in", use_bias=False)], ["d"])
    layers = [source("left", 6), source("right", 6)]
    layers.append(within(inner, "m", calls=[["left"], ["right"]]))
    layers.append(layer("Subtract", "y", ("m", 1, 0), ("m", 2, 0)))
    a, b = floats(2, 6), floats(2, 6)
    whole = found(model(layers, ["y"]), {"d": arrays(kernel=w)})
    assert list(whole.inputs) == ["left", "right"]
    agrees(whole, (a - b) @ w, a, b)


def test_keras_1_by_theano() -> None:
    """A Sequential is a list. Kernels are (outputs, inputs, rows, columns), turned by half a turn,
    and an image is flattened as it lies."""
    w, dense = floats(3, 2, 6, 4), floats(4 * 7 * 6, 5)
    first = {"dim_ordering": "th"}
    size = {"nb_filter": 4, "nb_row": 3, "nb_col": 2, "bias": False, "border_mode": "valid"}
    layers = [
        layer("Convolution2D", "c", batch_input_shape=[None, 6, 9, 7], **size, **first),
        layer("Flatten", "f"),
        layer("Dense", "d", output_dim=5, bias=False),
        layer("Activation", "y", activation="hard_sigmoid"),
    ]
    stored = {"c": arrays(W=w.transpose(3, 2, 0, 1)), "d": arrays(W=dense)}
    held = Stored({"class_name": "Sequential", "config": layers}, Held(stored), "1.2.2", True)
    maps = conv(X, w[::-1, ::-1]).transpose(0, 3, 1, 2)
    agrees(foreign(held, "m"), np.clip(0.2 * (maps.reshape(2, -1) @ dense) + 0.5, 0, 1))


# --- files ---


def test_files_of_keras_2_and_3(tmp_path: Path) -> None:
    """Arrays by their names, those of a model within in its group; or by numbers."""
    w, names = floats(3, 2, 6, 4), ("conv", "depthwise", "normalisation")
    inner = model([source("in", 9, 7, 6), layer("Conv2D", "c", "in", use_bias=False)], ["c"])
    layers = [IMAGE]
    for name in names:
        one = LAYERS[name][0]
        layers.append({**one, "name": name, "config": {**one["config"], "name": name}})
    stored = {name: LAYERS[name][1] for name in names}
    path = keras_whole.archive(tmp_path / "m.keras", model(layers, names), stored)
    newer = read(path, Asked())
    layers.append(within(inner, "m", "image"))
    made = model(layers, [*names, ("m", 1, 0)])
    older = keras_whole.h5(tmp_path / "m.h5", made, {**stored, "m": {"c/kernel": w}})
    images = [X.transpose(0, 3, 1, 2)]
    wanted = [LAYERS[name][2] for name in names]
    for whole, outputs in ((newer, wanted), (read(older, Asked()), [*wanted, conv(X, w)])):
        for array, output in zip(as_onnx.run(whole, images), outputs, strict=True):
            np.testing.assert_allclose(np.moveaxis(array, 1, -1), output, rtol=1e-4, atol=1e-4)


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    keras_whole.h5(tmp_path / "m.h5", {}, {})
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        del file.attrs["model_config"]
    with pytest.raises(WeightsError, match="without a model_config; expected a whole model"):
        read(tmp_path / "m.h5", Asked())


def test_tensors_of_fewer_axes_are_of_all_rows_and_columns() -> None:
    layers = [
        IMAGE,
        layer("GlobalMaxPooling2D", "g", "image"),
        layer("Multiply", "y", "image", "g"),
    ]
    agrees(found(model(layers, ["y"]), {}), X * X.max((1, 2), keepdims=True))


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_tensors_are_joined_along_any_axis(axis: int) -> None:
    layers = [
        IMAGE,
        layer("Activation", "a", "image", activation="tanh"),
        layer("Concatenate", "y", "a", "image", axis=axis),
    ]
    wanted = np.concatenate([np.tanh(X), X], axis)
    agrees(found(model(layers, ["y"]), {}), wanted)


def test_channels_first() -> None:
    """A Flatten that says so brings the channels to the end; one that does not takes all as it
    lies."""
    wanted = {"channels_first": X.reshape(2, -1), None: X.transpose(0, 3, 1, 2).reshape(2, -1)}
    for said, flat in wanted.items():
        first = {"data_format": "channels_first"}
        layers = [
            source("image", 6, 9, 7),
            layer("ZeroPadding2D", "p", "image", padding=0, **first),
            layer("Flatten", "y", "p", data_format=said),
        ]
        whole = found(model(layers, ["y"]), {})
        assert whole.inputs == {"image": (None, 6, 9, 7)} and not whole.notes
        agrees(whole, flat)


def test_a_sequential_model_of_signals() -> None:
    """Causal padding; channels come first, and the note says so."""
    x, w = floats(2, 11, 3), floats(3, 3, 5)
    one = layer(
        "Conv1D",
        "c",
        kernel_size=[3],
        padding="causal",
        dilation_rate=[2],
        use_bias=False,
        batch_input_shape=[None, 11, 3],
    )
    made = row(one, layer("GlobalMaxPooling1D", "g"))
    whole = found(made, {"c": arrays(kernel=w)})
    assert whole.inputs == {"c_input": (None, 3, 11)}
    wanted = conv(x[:, :, None], w[:, None], 1, ((4, 0), (0, 0)), (2))[:, :, 0].max(1)
    agrees(whole, wanted, x.transpose(0, 2, 1))


def test_functions_with_numbers_of_keras_2_and_3() -> None:
    """1 - x / 4."""
    quarter = layer("TFOpLambda", "q", function="math.truediv")
    quarter["inbound_nodes"] = [["image", 0, 0, {"y": 4.0, "name": None}]]
    rest = layer("TFOpLambda", "y", function="math.subtract")
    rest["inbound_nodes"] = [["_CONSTANT_VALUE", -1, 1.0, {"y": ["q", 0, 0], "name": None}]]
    agrees(found(model([IMAGE, quarter, rest], ["y"]), {}), 1 - X / 4)

    def call(*arguments: Any) -> list[Any]:
        return [{"args": list(arguments), "kwargs": {}}]

    def tensor(name: str) -> Config:
        return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}

    three = [
        {"class_name": "TrueDivide", "config": {"name": "q"}},
        {"class_name": "Subtract", "config": {"name": "y"}},
    ]
    three[0]["inbound_nodes"] = call(tensor("image"), 4.0)
    three[1]["inbound_nodes"] = call(1.0, tensor("q"))
    agrees(found(model([IMAGE, *three], ["y"]), {}, "3.4.1"), 1 - X / 4)


def test_half_precision_is_told() -> None:
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    made = model([IMAGE, layer("ReLU", "y", "image", dtype=policy)], ["y"])
    assert any("mixed_float16" in note for note in found(made, {}).notes)


# --- what is refused ---


def training() -> Config:
    made = layer("BatchNormalization", "y", "image")
    made["inbound_nodes"][0][0][3] = {"training": True}
    return made


REFUSED = {
    "lambda": (layer("Lambda", "y", "image"), "y (Lambda): Python code"),
    "wrapped": (layer("TimeDistributed", "y", "image"), "y (TimeDistributed): a layer that refq"),
    "qkeras": (layer("QConv2D", "y", "image"), "y (QConv2D): a quantized layer"),
    "tfmot": (layer("QuantizeWrapperV2", "y", "image"), "y (QuantizeWrapperV2): a quantized"),
    "policy": (
        layer("Dense", "y", "image", dtype={"class_name": "QuantizedDTypePolicy", "config": {}}),
        "a quantized layer",
    ),
    "quantized function": (
        layer("Activation", "y", "image", activation="quantized_relu(6)"),
        "y (Activation): a quantized activation",
    ),
    "function": (layer("Activation", "y", "image", activation="own"), "activation own"),
    "training": (training(), "y (BatchNormalization): is called as in training"),
    "arrays": (layer("Conv2D", "y", "image"), "y (Conv2D): stores no arrays; expected"),
    "field": (layer("ReLU", "y", "image", new_field=3), "new_field of a ReLU layer"),
    "axis": (layer("Softmax", "y", "image", axis=0), "y (Softmax): axis 0, the batch's"),
    "reads": (layer("ReLU", "y", ("image", 3, 0)), "y (ReLU): reads output 0 of call 3 of image"),
    "interpolation": (
        layer("UpSampling2D", "y", "image", interpolation="bicubic"),
        "y (UpSampling2D): interpolation bicubic",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    one, told = REFUSED[name]
    with pytest.raises(WeightsError) as error:
        found(model([IMAGE, one], ["y"]), {})
    assert told in str(error.value)


def test_layers_in_a_circle_are_refused() -> None:
    layers = [IMAGE, layer("Add", "a", "image", "b"), layer("ReLU", "b", "a")]
    with pytest.raises(WeightsError, match="read each other in a circle"):
        found(model(layers, ["b"]), {})


def test_real_models_of_one_network_agree() -> None:
    """ResNet-8 as Keras has it, and as TensorFlow Lite has; and what refq makes of it."""
    path = shared("models/resnet8_cifar10_keras.h5")
    images = RNG.uniform(0, 255, (3, 3, 32, 32)).astype(np.float32)
    (one,) = as_onnx.run(read(path, Asked()), [images])
    lite = read_tflite(path.with_name("resnet8_cifar10_float.tflite"), Asked())
    (other,) = as_onnx.run(lite, [images])
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert models.read(path).network.shapes
