"""Functions of one value, softmax among them: by their names, as functions and as layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from refq.importers.building import Value
from refq.importers.keras_layers.layer import Layer
from refq.importers.stating import Facts

Made = Callable[[Layer, Value], Value]
SLOPE = 0.2  # of leaky_relu by name


def _one(kind: str, **attributes: Any) -> Made:
    """A function that ONNX has."""
    return lambda layer, value: layer.builder.add(kind, layer.name, [value], value, **attributes)


def _clip(low: float, high: float) -> Made:
    return lambda layer, value: layer.builder.clip(layer.name, value, low, high)


def _hard_sigmoid(layer: Layer, value: Value) -> Value:
    """Keras 3 made it of ReLU6; before, it was Theano's."""
    alpha = 1 / 6 if layer.era >= 3 else 0.2
    return layer.builder.add("HardSigmoid", layer.name, [value], value, alpha=alpha, beta=0.5)


def _silu(layer: Layer, value: Value) -> Value:
    factor = layer.builder.add("Sigmoid", layer.name, [value], value)
    return layer.builder.binary("Mul", layer.name, value, factor)


def _hard_silu(layer: Layer, value: Value) -> Value:
    return layer.builder.add("HardSwish", layer.name, [value], value)


def _log_sigmoid(layer: Layer, value: Value) -> Value:
    made = layer.builder.add("Neg", layer.name, [value], value)
    made = layer.builder.add("Softplus", layer.name, [made], value)
    return layer.builder.add("Neg", layer.name, [made], value)


def _tanh_shrink(layer: Layer, value: Value) -> Value:
    return layer.builder.binary(
        "Sub", layer.name, value, layer.builder.add("Tanh", layer.name, [value], value)
    )


def _squareplus(layer: Layer, value: Value) -> Value:
    """(x + sqrt(x x + 4)) / 2."""
    builder, name = layer.builder, layer.name
    made = builder.binary("Add", name, builder.binary("Mul", name, value, value), 4.0)
    made = builder.binary("Add", name, value, builder.add("Sqrt", name, [made], value))
    return builder.binary("Mul", name, made, 0.5)


def _sparse_plus(layer: Layer, value: Value) -> Value:
    """0, (x + 1)^2 / 4 between -1 and 1, x: the square as far as 1, and x from there."""
    builder, name = layer.builder, layer.name
    inner = builder.binary("Add", name, builder.clip(name, value, -1.0, 1.0), 1.0)
    inner = builder.binary("Mul", name, builder.binary("Mul", name, inner, inner), 0.25)
    outer = builder.add("Relu", name, [builder.binary("Sub", name, value, 1.0)], value)
    return builder.binary("Add", name, inner, outer)


def _glu(layer: Layer, value: Value) -> Value:
    builder, name = layer.builder, layer.name
    axis = value.axis(-1)
    first = replace(value, name=builder.fresh(f"{name}/value"))
    gate = replace(value, name=builder.fresh(f"{name}/gate"))
    split = builder.add("Split", name, [value], value, axis=axis, num_outputs=2)
    made = builder.operators[-1]
    builder.operators[-1] = replace(made, outputs=(first.name, gate.name))
    builder.taken.discard(split.name)
    gate = builder.add("Sigmoid", name, [gate], gate)
    return builder.binary("Mul", name, first, gate)


def softmax(layer: Layer, value: Value, axis: Any = -1, kind: str = "Softmax") -> Value:
    (axis,) = axis if isinstance(axis, list) and len(axis) == 1 else (axis,)
    if type(axis) is not int:
        raise layer.refuse(f"axis {axis}", "one axis")
    place = value.axis(axis)
    if place == 0:
        raise layer.refuse(f"axis {axis}, the batch's", "an axis of an image")
    return layer.builder.add(kind, layer.name, [value], value, axis=place)


def rectified(
    layer: Layer, value: Value, high: float | None, slope: float, threshold: float
) -> Value:
    """x above the threshold and at most `high`, slope (x - threshold) below it. A bound holds for
    what is above: with one, a threshold below zero keeps nothing under zero but the slope's part
    (keras.activations.relu)."""
    builder, name = layer.builder, layer.name
    if not slope and not threshold:
        if high is not None:
            return builder.clip(name, value, 0.0, high)
        return builder.add("Relu", name, [value], value)
    if high is None and not threshold:
        return builder.add("LeakyRelu", name, [value], value, alpha=slope)
    if not threshold and high is not None and high >= 0:
        made = builder.add("LeakyRelu", name, [value], value, alpha=slope)
        return builder.clip(name, made, None, high)
    made = builder.add("ThresholdedRelu", name, [value], value, alpha=threshold)
    made = builder.clip(name, made, 0.0, high) if high is not None else made
    if not slope:
        return made
    below = builder.binary("Sub", name, value, threshold)
    below = builder.clip(name, below, None, 0.0)
    return builder.binary("Add", name, made, builder.binary("Mul", name, below, slope))


def _relu(layer: Layer, value: Value) -> Value:
    given = layer.facts.value("max_value")
    high = None if given is None else layer.number("max_value", default=0.0)
    slope = layer.number("negative_slope", "alpha", default=0.0)
    return rectified(layer, value, high, slope, layer.number("threshold", default=0.0))


def _leaky(layer: Layer, value: Value) -> Value:
    slope = layer.number("negative_slope", "alpha", default=0.3)
    return layer.builder.add("LeakyRelu", layer.name, [value], value, alpha=slope)


def _elu(layer: Layer, value: Value) -> Value:
    alpha = layer.number("alpha", default=1.0)
    return layer.builder.add("Elu", layer.name, [value], value, alpha=alpha)


def _thresholded(layer: Layer, value: Value) -> Value:
    theta = layer.number("theta", default=1.0)
    return layer.builder.add("ThresholdedRelu", layer.name, [value], value, alpha=theta)


def _prelu(layer: Layer, value: Value) -> Value:
    """Slopes have the axes of the input without the batch's, those that are shared of size 1."""
    layer.facts.value("shared_axes")
    slopes = layer.arrays(["alpha"])["alpha"]
    if slopes.ndim != value.rank - 1:
        raise layer.refuse(f"slopes {slopes.shape}", f"{value.rank - 1} axes")
    order = value.arranged(range(value.rank))[1:]
    slopes = slopes.transpose([axis - 1 for axis in order])
    return layer.builder.add(
        "PRelu", layer.name, [value, layer.builder.constant(slopes, f"{layer.name}/slopes")], value
    )


def _of_axis(layer: Layer, value: Value) -> Value:
    return softmax(layer, value, layer.facts.value("axis", -1))


def _gelu(layer: Layer, value: Value) -> Value:
    how = "tanh" if layer.flag("approximate", default=False) else "none"
    return layer.builder.add("Gelu", layer.name, [value], value, approximate=how)


LAYERS: dict[str, Made] = {
    "ELU": _elu,
    "LeakyReLU": _leaky,
    "PReLU": _prelu,
    "ReLU": _relu,
    "Softmax": _of_axis,
    "ThresholdedReLU": _thresholded,
}
FUNCTIONS: dict[str, Made] = {
    "celu": _one("Celu", alpha=1.0),
    "elu": _one("Elu", alpha=1.0),
    "exponential": _one("Exp"),
    "gelu": _one("Gelu", approximate="none"),
    "glu": _glu,
    "hard_shrink": _one("Shrink", lambd=0.5, bias=0.0),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": _hard_silu,
    "hard_swish": _hard_silu,
    "hard_tanh": _clip(-1.0, 1.0),
    "leaky_relu": _one("LeakyRelu", alpha=SLOPE),
    "linear": lambda layer, value: value,
    "log_sigmoid": _log_sigmoid,
    "log_softmax": lambda layer, value: softmax(layer, value, kind="LogSoftmax"),
    "mish": _one("Mish"),
    "relu": _one("Relu"),
    "relu6": _clip(0.0, 6.0),
    "selu": _one("Selu"),
    "sigmoid": _one("Sigmoid"),
    "silu": _silu,
    "soft_shrink": _one("Shrink", lambd=0.5, bias=0.5),
    "softmax": softmax,
    "softplus": _one("Softplus"),
    "softsign": _one("Softsign"),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _one("HardSigmoid", alpha=0.5, beta=0.5),
    "squareplus": _squareplus,
    "swish": _silu,
    "tanh": _one("Tanh"),
    "tanh_shrink": _tanh_shrink,
}


def activated(layer: Layer, value: Value, said: Any) -> Value:
    """What an `activation` says: a name, {"config": name} of a function, or a layer within."""
    if isinstance(said, Mapping):
        kind, config = str(said.get("class_name")), said.get("config")
        if isinstance(config, str):
            return activated(layer, value, config)
        if kind in LAYERS and kind != "PReLU" and isinstance(config, Mapping):
            inner = replace(layer, kind=kind, facts=Facts.of(layer.name, kind, config))
            made = LAYERS[kind](inner, value)
            inner.facts.finish({"name", "trainable", "dtype", "build_config"})
            return made
        if kind == "Activation" and isinstance(config, Mapping):
            return activated(layer, value, config.get("activation"))
        said = kind if kind != "function" else config
    if said is None:
        return value
    name = str(said)
    plain = name.rpartition(">")[2]  # "keras>relu"
    if "quantized" in name or name.startswith("Quantiz"):
        raise layer.refuse(f"a quantized activation ({name})", "a network of floats")
    if plain not in FUNCTIONS:
        raise layer.refuse(f"activation {name}", "one of Keras' own")
    return FUNCTIONS[plain](layer, value)


def activation(layer: Layer) -> Value:
    return activated(layer, layer.value, layer.facts.value("activation"))


def of_layer(kind: str) -> Callable[[Layer], Value]:
    return lambda layer: LAYERS[kind](layer, layer.value)


def scaled(layer: Layer, value: Value, factor: np.ndarray, offset: np.ndarray) -> Value:
    """factor x + offset, of numbers or arrays with the axes that the value has here."""
    builder = layer.builder
    made = builder.binary("Mul", layer.name, value, factor) if np.any(factor != 1) else value
    return builder.binary("Add", layer.name, made, offset) if np.any(offset != 0) else made
