"""Functions that a model calls in the place of layers: keras.ops, and TensorFlow's of Keras 2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refq.importers.building import Value
from refq.importers.keras_config import snake
from refq.importers.keras_layers import activations
from refq.importers.keras_layers.layer import Layer

BINARY = {
    "add": "Add",
    "divide": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "mul": "Mul",
    "multiply": "Mul",
    "sub": "Sub",
    "subtract": "Sub",
    "true_divide": "Div",
    "truediv": "Div",
}
UNARY = {"abs": "Abs", "absolute": "Abs", "exp": "Exp", "log": "Log", "neg": "Neg", "sqrt": "Sqrt"}
UNARY |= {"negative": "Neg", "negate": "Neg"}


def found(layer: Layer) -> Callable[[Layer], Value] | None:
    """What computes it; None for a function that is not read."""
    word = snake(layer.kind)
    if layer.kind == "TFOpLambda":
        word = str(layer.facts.value("function")).rpartition(".")[2]
    if word in BINARY:
        return lambda layer: _binary(layer, BINARY[word])
    if len(layer.values) != 1 or set(layer.arguments) - {"name", "x", "features"}:
        return None
    if word in UNARY:
        return lambda layer: layer.builder.add(UNARY[word], layer.name, layer.values, layer.value)
    if word == "square":
        return lambda layer: layer.builder.binary("Mul", layer.name, layer.value, layer.value)
    plain = {"gelu", "leaky_relu", "elu", "celu", "softmax", "log_softmax", "glu"}
    if word in activations.FUNCTIONS and (word not in plain or _by_default(layer)):
        return lambda layer: activations.FUNCTIONS[word](layer, layer.value)
    return None


def _by_default(layer: Layer) -> bool:
    """Whether a function that has settings is called without."""
    return not set(layer.facts.fields) - {"name", "dtype", "trainable", "function"}


def _binary(layer: Layer, kind: str) -> Value:
    builder = layer.builder
    if len(layer.operands) != 2 or not layer.values:
        raise layer.refuse(f"{len(layer.operands)} operands", "2, tensors or numbers")
    values = iter(builder.alike(layer.values))
    if len({value.rank for value in layer.values}) != 1:
        raise layer.refuse("tensors of unlike axes", "equally many")
    inputs = [
        next(values)
        if isinstance(each, Value)
        else builder.constant(np.float32(each), f"{layer.name}/number")
        for each in layer.operands
    ]
    return builder.add(kind, layer.name, inputs, builder.alike(layer.values)[0])
