"""Functions of single values, of two tensors, along an axis."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from refq.importers.building import Value
from refq.importers.tflite.operation import Operation, Reader


def one(kind: str, **attributes: Any) -> Reader:
    def read(op: Operation) -> Value:
        _keep_spread(op)
        value = op.value()
        return op.add(kind, [value], value, **attributes)

    return read


def clipped(low: float, high: float) -> Reader:
    def read(op: Operation) -> Value:
        _keep_spread(op)
        return op.builder.clip(op.name, op.value(), low, high)

    return read


def _keep_spread(op: Operation) -> None:
    spread = op.made.spread.get(op.node.inputs[0]) if op.node.inputs else None
    if spread:
        op.made.spread[op.output().index] = spread


def leaky(op: Operation) -> Value:
    value = op.value()
    return op.add("LeakyRelu", [value], value, alpha=op.node.number(0, "f"))


def gelu(op: Operation) -> Value:
    value, approximate = op.value(), bool(op.node.whole(0, "b"))
    return op.add("Gelu", [value], value, approximate="tanh" if approximate else "none")


def rsqrt(op: Operation) -> Value:
    value = op.value()
    return op.add("Reciprocal", [op.add("Sqrt", [value], value)], value)


def square(op: Operation) -> Value:
    value = op.value()
    return op.add("Mul", [value, value], value)


def prelu(op: Operation) -> Value:
    value, slopes = op.value(), op.array(1)
    return op.add("PRelu", [value, _constant(op, value, slopes)], value)


def softmax(op: Operation) -> Value:
    """Of the last axis, of values times beta."""
    value, beta = op.value(), op.node.number(0, "f")
    if beta != 1.0:
        value = op.builder.binary("Mul", op.name, value, beta)
    return op.add("Softmax", [value], value, axis=value.axis(-1))


def log_softmax(op: Operation) -> Value:
    value = op.value()
    return op.add("LogSoftmax", [value], value, axis=value.axis(-1))


def normalized(op: Operation) -> Value:
    """LOCAL_RESPONSE_NORMALIZATION: of radius values on both sides; alpha is of each of them."""
    image, radius = op.image(), op.node.whole(0)
    bias, alpha, beta = (op.node.number(field, "f") for field in (1, 2, 3))
    size = 2 * radius + 1
    if not 0 <= radius < 1 << 16:
        raise op.refuse(f"radius {radius}", "0 or more")
    return op.add("LRN", [image], image, size=size, alpha=alpha * size, beta=beta, bias=bias)


def _constant(op: Operation, value: Value, array: np.ndarray) -> Value:
    """An array that is broadcast against the file's axes, in the order that the value has."""
    whole = array.reshape((1,) * (value.rank - array.ndim) + array.shape)
    return op.numbers(whole.transpose(value.arranged(range(value.rank))), "constant")


def operands(op: Operation, places: range) -> list[Value]:
    """Tensors and constants, broadcast against each other from their last axes on."""
    arrays = [op.maybe(place) for place in places]
    computed = [op.value(place) for place, array in zip(places, arrays) if array is None]
    ranks = [op.value(p).rank if a is None else a.ndim for p, a in zip(places, arrays)]
    if any(value.rank < max(ranks) for value in computed) or not computed:
        return [op.plain(place) for place in places]
    made = iter(op.builder.alike(computed))
    like = op.builder.alike(computed)[0]
    return [next(made) if array is None else _constant(op, like, array) for array in arrays]


def two(kind: str, function: bool = True) -> Reader:
    """function: whether it has another behind itself."""

    def read(op: Operation) -> Value:
        if len(op.node.inputs) != 2:
            raise op.refuse(f"{len(op.node.inputs)} inputs", "2")
        spread = [op.made.spread.get(number) for number in op.node.inputs]
        if any(spread):
            if op.made.array(op.node.inputs[1 if spread[0] else 0]) is None:
                raise op.refuse("two tensors within SPACE_TO_BATCH_ND", "a tensor and constants")
            op.made.spread[op.output().index] = spread[0] or spread[1] or (1, 1)
        inputs = operands(op, range(2))
        like = max(inputs, key=lambda value: (value.rank, value.turned))
        made = op.add(kind, inputs, like)
        return op.followed(made, op.node.whole(0, "b")) if function else made

    return read


def squared_difference(op: Operation) -> Value:
    difference = two("Sub", function=False)(op)
    return op.add("Mul", [difference, difference], difference)


def selected(op: Operation) -> Value:
    """SELECT, SELECT_V2: the second where the first is true, else the third."""
    inputs = operands(op, range(3))
    like = max(inputs, key=lambda value: (value.rank, value.turned))
    return op.add("Where", inputs, like)


def total(op: Operation) -> Value:
    """ADD_N."""
    inputs = operands(op, range(len(op.node.inputs)))
    like = max(inputs, key=lambda value: (value.rank, value.turned))
    return reduce(lambda left, right: op.add("Add", [left, right], like), inputs)


def reduced(kind: str) -> Reader:
    """Over axes that the second input lists."""

    def read(op: Operation) -> Value:
        value = op.value()
        axes = sorted({op.axis(number, value.rank) for number in op.whole(1)})
        here = tuple(value.axis(number) for number in axes)
        kept = bool(op.node.whole(0, "b"))
        rank = value.rank if kept else value.rank - len(axes)
        # without its channels the rest is in order
        turned = value.turned and (kept or (value.rank - 1 not in axes and 0 not in axes))
        like = Value("", rank, turned and rank > 2)
        return op.add(kind, [value, op.numbers(list(here), "axes")], like, keepdims=int(kept))

    return read


def chosen(kind: str) -> Reader:
    """ARG_MAX, ARG_MIN."""

    def read(op: Operation) -> Value:
        value = op.value()
        (number,) = op.whole(1) if op.array(1).size == 1 else (value.rank,)
        axis = op.axis(number, value.rank)
        rest = Value("", value.rank - 1, value.turned and 0 < axis < value.rank - 1)
        if value.turned and axis == 0:
            raise op.refuse("axis 0, the batch's", "an axis of an image")
        like = Value("", rest.rank, rest.turned and rest.rank > 2)
        return op.add(kind, [value], like, axis=value.axis(axis), keepdims=0)

    return read
