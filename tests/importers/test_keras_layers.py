"""Layers of Keras compute what they are defined to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special

from tests.importers.channels_last import conv, of_each, same, transposed
from tests.importers.keras_held import IMAGE, X, agrees, arrays, floats, found
from tests.importers.keras_whole import Config, layer, model

# --- one layer on X ---

W, B = floats(3, 2, 6, 4), floats(4)
DEPTH, POINT = floats(3, 3, 6, 2), floats(1, 1, 12, 5)
BACK = floats(3, 3, 4, 6)
MEAN, VARIANCE = floats(6), floats(6) ** 2
SLOPES = floats(1, 1, 6)
STEPS = same(9, 3, 2), same(7, 2, 2)

LAYERS: dict[str, tuple[Config, dict[str, np.ndarray], np.ndarray]] = {
    "conv": (
        layer(
            "Conv2D",
            "y",
            "image",
            kernel_size=[3, 2],
            strides=[2, 2],
            padding="same",
            activation="relu",
        ),
        arrays(kernel=W, bias=B),
        np.maximum(conv(X, W, 2, STEPS) + B, 0),
    ),
    "dilated": (
        layer("Conv2D", "y", "image", kernel_size=[3, 2], dilation_rate=[2, 2], use_bias=False),
        arrays(kernel=W),
        conv(X, W, hole=2),
    ),
    "depthwise": (
        layer(
            "DepthwiseConv2D",
            "y",
            "image",
            kernel_size=[3, 3],
            depth_multiplier=2,
            padding="same",
            use_bias=False,
        ),
        arrays(depthwise_kernel=DEPTH),
        conv(X, of_each(DEPTH), 1, ((1, 1), (1, 1))),
    ),
    "separable": (
        layer(
            "SeparableConv2D",
            "y",
            "image",
            kernel_size=[3, 3],
            depth_multiplier=2,
            filters=5,
            use_bias=False,
        ),
        arrays(depthwise_kernel=DEPTH, pointwise_kernel=POINT),
        conv(conv(X, of_each(DEPTH)), POINT),
    ),
    "transposed": (
        layer("Conv2DTranspose", "y", "image", kernel_size=[3, 3], strides=[2, 2], padding="same"),
        arrays(kernel=BACK, bias=B),
        transposed(X, BACK, 2, (18, 14)) + B,
    ),
    "dense of maps": (
        layer("Dense", "y", "image", units=4, activation="sigmoid"),
        arrays(kernel=W[0, 0], bias=B),
        special.expit(X @ W[0, 0] + B),
    ),
    "normalisation": (
        layer("BatchNormalization", "y", "image", axis=[3], scale=False, epsilon=0.01),
        arrays(beta=SLOPES[0, 0], moving_mean=MEAN, moving_variance=VARIANCE),
        (X - MEAN) / np.sqrt(VARIANCE + 0.01) + SLOPES[0, 0],
    ),
    "prelu": (
        layer("PReLU", "y", "image", shared_axes=[1, 2]),
        arrays(alpha=SLOPES),
        np.where(X < 0, X * SLOPES, X),
    ),
    "relu": (
        layer("ReLU", "y", "image", max_value=2.0, negative_slope=0.5, threshold=0.25),
        {},
        np.where(X < 0.25, 0.5 * (X - 0.25), np.minimum(X, 2)),
    ),
    "rescaling": (
        layer("Rescaling", "y", "image", scale=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], offset=-1.0),
        {},
        X * np.arange(1, 7) - 1,
    ),
    "moments": (
        layer(
            "Normalization", "y", "image", axis=[-1], mean=[[[[2.0] * 6]]], variance=[[[[4.0] * 6]]]
        ),
        {},
        X / 2 - 1,
    ),
    "crop": (layer("Cropping2D", "y", "image", cropping=[[1, 2], [0, 3]]), {}, X[:, 1:7, :4]),
    "centre": (layer("CenterCrop", "y", "image", height=4, width=3), {}, X[:, 2:6, 2:5]),
    "permute": (layer("Permute", "y", "image", dims=[3, 1, 2]), {}, X.transpose(0, 3, 1, 2)),
    "larger": (
        layer("UpSampling2D", "y", "image", size=[2, 3]),
        {},
        X.repeat(2, axis=1).repeat(3, axis=2),
    ),
    "means": (
        layer("AveragePooling2D", "y", "image", pool_size=[3, 3], strides=[2, 2], padding="same"),
        {},
        conv(X, of_each(np.ones((3, 3, 6, 1))), 2, (same(9, 3, 2), same(7, 3, 2)))
        / conv(np.ones_like(X), of_each(np.ones((3, 3, 6, 1))), 2, (same(9, 3, 2), same(7, 3, 2))),
    ),
    "mean": (layer("GlobalAveragePooling2D", "y", "image"), {}, X.mean((1, 2))),
    "flatten": (layer("Flatten", "y", "image"), {}, X.reshape(2, -1)),
    "turned flatten": (
        layer("Flatten", "y", "image", data_format="channels_last"),
        {},
        X.reshape(2, -1),
    ),
    "reshape": (layer("Reshape", "y", "image", target_shape=[-1, 14]), {}, X.reshape(2, -1, 14)),
    "softmax": (layer("Softmax", "y", "image", axis=2), {}, special.softmax(X, 2)),
    "dropout": (layer("Dropout", "y", "image", rate=0.5), {}, X),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name: str) -> None:
    one, stored, wanted = LAYERS[name]
    whole = found(model([IMAGE, one], ["y"]), {"y": stored})
    assert whole.inputs == {"image": (None, 6, 9, 7)}
    agrees(whole, wanted)


# --- functions by their names ---

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "exponential": np.exp,
    "gelu": lambda x: x * special.ndtr(x),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "relu6": lambda x: np.clip(x, 0, 6),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "sparse_plus": lambda x: np.where(x < -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "swish": lambda x: x * special.expit(x),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function(name: str) -> None:
    made = model([IMAGE, layer("Activation", "y", "image", activation=name)], ["y"])
    agrees(found(made, {}), FUNCTIONS[name](X.astype(np.float64)))


@pytest.mark.parametrize(("version", "slope"), [("2.13.1", 0.2), ("3.4.1", 1 / 6)])
def test_hard_sigmoid_is_another_since_keras_3(version: str, slope: float) -> None:
    made = model([IMAGE, layer("Activation", "y", "image", activation="hard_sigmoid")], ["y"])
    whole = found(made, {}, version)
    agrees(whole, np.clip(slope * X + 0.5, 0, 1))
