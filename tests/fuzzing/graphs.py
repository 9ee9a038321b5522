"""Readers of whole models of Keras and of TensorFlow Lite."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from refq.importers import lowering, models
from refq.importers.contents import one_line
from refq.importers.foreign import Asked
from refq.importers.keras_model import Stored, foreign
from tests.fuzzing.changes import in_bytes, in_hdf5, in_json, in_zip
from tests.fuzzing.reader import Reader
from tests.fuzzing.weights import SECONDS
from tests.importers import keras_whole, tflite_files
from tests.importers.keras_held import Held
from tests.importers.keras_whole import Arrays, Config, layer, model, source, within

ARRAYS: Arrays = {
    "c": {"kernel": np.ones((3, 3, 3, 4), np.float32), "bias": np.ones(4, np.float32)},
    "w": {"kernel": np.ones((3, 3, 4, 1), np.float32)},
    "b": {name: np.ones(4, np.float32) for name in ("gamma", "beta", "mean", "variance")},
    "d": {"kernel": np.ones((128, 5), np.float32), "bias": np.ones(5, np.float32)},
}


def _keras() -> Config:
    inner = model([source("in", 4, 4, 4), layer("ReLU", "r", "in", max_value=6.0)], ["r"])
    layers = [
        source("image", 8, 8, 3),
        layer("ZeroPadding2D", "z", "image", padding=[[0, 1], [0, 1]]),
        layer("Conv2D", "c", "z", kernel_size=[3, 3], strides=[2, 2], filters=4),
        layer("BatchNormalization", "b", "c", axis=[3], epsilon=0.001),
        within(inner, "m", "b"),
        layer(
            "DepthwiseConv2D", "w", ("m", 1, 0), kernel_size=[3, 3], use_bias=False, padding="same"
        ),
        layer("Activation", "a", "w", activation="swish"),
        layer("Concatenate", "k", "a", "b", axis=-1),
        layer("AveragePooling2D", "p", "k", pool_size=[2, 2], strides=[1, 1], padding="same"),
        layer("Cropping2D", "x", "p", cropping=[[0, 0], [0, 0]]),
        layer("Add", "s", "x", "p"),
        layer("Permute", "t", "s", dims=[3, 1, 2]),
        layer("Reshape", "v", "t", target_shape=[2, -1]),
        layer("Flatten", "f", "v"),
        layer("Dense", "d", ("f", 0, 0), units=5, activation="softmax"),
    ]
    return model(layers, ["d"])


def _tflite(folder: Path) -> None:
    made, ones = tflite_files.Model(), np.ones
    x = made.tensor((1, 8, 8, 3))
    strides = {0: ("b", 0), 1: ("i", 2), 2: ("i", 2)}
    kernel = made.constant(ones((4, 3, 3, 3)))
    y = made.add(
        "CONV_2D", [x, kernel, made.constant(ones(4))], (1, 4, 4, 4), {**strides, 3: ("b", 3)}
    )
    around = made.constant([[0, 0], [0, 1], [0, 1], [0, 0]], "int32")
    z = made.add("PAD", [y, around], (1, 5, 5, 4))
    deep = made.constant(ones((1, 2, 2, 4)))
    options = {0: ("b", 1), 1: ("i", 1), 2: ("i", 1), 3: ("i", 1)}
    z = made.add("DEPTHWISE_CONV_2D", [z, deep], (1, 4, 4, 4), options)
    z = made.add("ADD", [z, y], (1, 4, 4, 4), {0: ("b", 1)})
    z = made.add("CONCATENATION", [z, y], (1, 4, 4, 8), {0: ("i", 3)})
    limits = [made.constant(each, "int32") for each in ([0, 0, 0, 1], [0, 4, 4, 5], [1, 1, 1, 1])]
    z = made.add("STRIDED_SLICE", [z, *limits], (1, 4, 4, 4), {0: ("i", 1), 1: ("i", 1)})
    z = made.add("MEAN", [z, made.constant([1, 2], "int32")], (1, 1, 1, 4), {0: ("b", 1)})
    z = made.add("RESHAPE", [z, made.constant([1, 4], "int32")], (1, 4))
    scales = {2: ones(5, "<f4"), 3: np.zeros(5, "<i8"), 6: ("i", 0)}
    w = made.constant(ones((5, 4)), "int8", scales)
    z = made.add("FULLY_CONNECTED", [z, w], (1, 5), {})
    z = made.add("SOFTMAX", [z], (1, 5), {0: ("f", 1.0)})
    made.save(folder / "net.tflite", [x], [z])


def _configured(path: Path) -> None:
    with one_line(path, "a configuration"):
        made = json.loads(path.read_text("utf-8"))
        lowering.lowered(foreign(Stored(made, Held(ARRAYS), "2.13.1"), "net"), Asked())


def _archive(folder: Path) -> None:
    whole = _keras()
    listed = whole["config"]["layers"]
    keep = [each for each in listed if each["name"] != "m"]
    keep[4]["inbound_nodes"] = [[["b", 0, 0, {}]]]
    whole["config"]["layers"] = keep
    keras_whole.archive(folder / "net.keras", whole, ARRAYS)


def _read(path: Path) -> None:
    models.read(path)


READERS = {
    "keras_json": Reader(
        lambda folder: (folder / "net.json").write_text(json.dumps(_keras())),
        _configured,
        changes=(in_bytes, in_json),
    ),
    "keras_h5": Reader(
        lambda folder: keras_whole.h5(folder / "net.h5", _keras(), ARRAYS),
        _read,
        changes=(in_bytes, in_hdf5),
        seconds=SECONDS,
    ),
    "keras_zip": Reader(_archive, _read, changes=(in_bytes, in_zip), seconds=SECONDS),
    "tflite": Reader(_tflite, _read),
}
