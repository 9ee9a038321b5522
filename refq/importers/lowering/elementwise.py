"""Handlers of elementwise operators: functions of one tensor, numbers a channel, two tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from refq.errors import ShapeError
from refq.importers.lowering.drafts import Affine
from refq.importers.lowering.expressions import SEVERAL, UNARY, clip
from refq.importers.lowering.values import Held, Value
from refq.importers.lowering.walking import Step, Unheld, handles
from refq.networks.layers import Add, Mul, PReLU, Shape, Sub

MOST_SLOPES = 1 << 18
LAYERS = {"Add": Add(), "Sub": Sub(), "Mul": Mul(), "Sum": Add()}


@handles("Identity", "Dropout", "Cast", "CastLike", "StopGradient")
def passed(step: Step) -> Sequence[Value]:
    """What inference leaves as it is. A mask that Dropout makes is beyond."""
    value = step.inputs[0]
    if isinstance(value, np.ndarray):  # of a CastLike; others' constants are computed
        return [value]
    x = step.held()
    to = step.attributes.get("to", 1)
    if step.operator.kind == "Cast" and to == BOOL:
        return [step.applied(("abs", ("sign", "x")), x)]
    if step.operator.kind == "Cast" and to not in FLOATS:
        raise Unheld(f"it makes values of type {to} of computed ones")
    return [x] * len(step.operator.outputs)


# ONNX's numbers of types
FLOATS, BOOL = (1, 10, 11, 16), 9


@handles(*UNARY)
def unary(step: Step) -> Value:
    step.mode("approximate", "none", "tanh")  # of Gelu
    made = UNARY[step.operator.kind](step.attributes, "x")
    return step.applied(made, step.held())


@handles("Clip")
def clipped(step: Step) -> Value:
    return step.applied(clip("x", step.number(1, "min"), step.number(2, "max")), step.held())


@handles("PRelu")
def prelu(step: Step) -> Value:
    x, slopes = step.held(), step.needed(1)
    numbers = _of_axis(slopes, x.dims, x.first)
    if numbers is None:
        if _broadcast(x.dims, slopes.shape) != x.dims or math.prod(x.shape) > MOST_SLOPES:
            raise Unheld(f"slopes of shape {slopes.shape} for {x.dims}")
        # a slope for each value, as if each were a channel
        numbers = np.broadcast_to(slopes, x.dims).reshape(-1)
        x = x.viewed((1, len(numbers)))
    layer = PReLU(tuple(float(each) for each in numbers))
    return step.add(layer, step.plain(x), dims=step.held().dims)


@handles(*SEVERAL, "Mean")
def several(step: Step) -> Value:
    """Two or more tensors or constants, from left to right."""
    kind = step.operator.kind
    result, *others = [value for value in step.inputs if value is not None]
    if not others and kind not in ("Max", "Min", "Mean", "Sum"):
        raise ShapeError("one input", "two")
    for other in others:
        result = _pair(step, "Add" if kind == "Mean" else kind, result, other)
    if kind == "Mean":
        result = _pair(step, "Div", result, np.float32(len(others) + 1)[None])
    return result


def _pair(step: Step, kind: str, one: Value, two: Value) -> Value:
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        raise Unheld("its inputs are constants")  # constants.py has them
    operator = SEVERAL[kind]
    if isinstance(one, Held) and isinstance(two, Held):
        if (one.tensor, one.dims) == (two.tensor, two.dims):
            made = (operator, one.expression, two.expression)
            return step.walker.function(replace(one, expression=made), step.operator)
        return _tensors(step, kind, one, two)
    held, constant = (one, two) if isinstance(one, Held) else (two, one)
    assert isinstance(held, Held) and isinstance(constant, np.ndarray)
    dims = _broadcast(held.dims, constant.shape)
    if dims != held.dims:
        raise Unheld(f"a constant of shape {constant.shape} makes {dims} of {held.dims}")
    if constant.size and (constant == constant.flat[0]).all():
        number = float(constant.flat[0])
        if not math.isfinite(number):
            raise Unheld(f"the constant is {number}")
        made = (operator, "x", number) if held is one else (operator, number, "x")
        return step.applied(made, held)
    return _of_channels(step, kind, held, constant, held is one)


def _tensors(step: Step, kind: str, one: Held, two: Held) -> Value:
    if kind in ("Max", "Min"):
        # max(a, b) = a + relu(b - a), and min(a, b) = a - relu(a - b)
        more = _tensors(step, "Sub", *((two, one) if kind == "Max" else (one, two)))
        assert isinstance(more, Held)
        above = step.walker.function(replace(more, expression=("relu", "x")), step.operator)
        return _tensors(step, "Add" if kind == "Max" else "Sub", one, above)
    if kind not in LAYERS:
        raise Unheld("it has two tensors")
    dims = _broadcast(one.dims, two.dims)
    if dims != one.dims and dims != two.dims and kind != "Mul":
        raise Unheld(f"it makes {dims} of {one.dims} and {two.dims}")
    shapes = step.walker.drafts.shapes
    made = [step.walker.made(each) for each in (one, two)]
    same = shapes[made[0]] == shapes[made[1]] and one.dims == two.dims
    if not same:
        rank = max(len(one.dims), len(two.dims))
        sizes = [(1,) * (rank - len(each.dims)) + each.dims for each in (one, two)]
        drop = 1 if rank > 1 and dims[0] == 1 else 0
        pair = [step.shaped(x, size[drop:]) for x, size in zip((one, two), _as_maps(sizes, drop))]
        return step.add(LAYERS[kind], *pair, dims=dims)
    return step.add(LAYERS[kind], one, two, dims=dims)


def _as_maps(sizes: list[Shape], drop: int) -> list[Shape]:
    """Signals of (batch, channels, length) as maps of one row."""
    if drop and len(sizes[0]) == 3:
        return [(size[0], size[1], 1, size[2]) for size in sizes]
    return sizes


def _of_channels(step: Step, kind: str, x: Held, constant: np.ndarray, first: bool) -> Held:
    """A number for each place along one axis, as an Affine of that axis."""
    found = [
        (axis, numbers)
        for axis in range(x.first, len(x.dims))
        if (numbers := _of_axis(constant, x.dims, axis)) is not None
    ]
    if not found:
        if x.first != 1 or len(x.dims) != 4:
            raise Unheld(f"no layer has a number for each place, as {constant.shape} here")
        # a number of its own for each pixel, as if each were a channel
        flat = x.viewed((1, math.prod(x.dims)))
        numbers = np.broadcast_to(constant, x.dims).reshape(flat.dims)
        made = _of_channels(step, kind, flat, numbers, first)
        return replace(made, dims=x.dims)
    axis, numbers = found[0]
    numbers = numbers.astype(np.float64)
    ones, zeros = np.ones_like(numbers), np.zeros_like(numbers)
    match kind, first:
        case (("Add" | "Sum"), _):
            scale, shift = ones, numbers
        case "Sub", True:
            scale, shift = ones, -numbers
        case "Sub", False:
            scale, shift = -ones, numbers
        case "Mul", _:
            scale, shift = numbers, zeros
        case "Div", True if (numbers != 0).all():
            scale, shift = 1 / numbers, zeros
        case _:
            raise Unheld("a number of its own for each channel")
    return affine(step, x, axis - x.first, scale, shift)


def affine(step: Step, x: Held, axis: int, scale: np.ndarray, shift: np.ndarray) -> Held:
    """scale * x + shift, numbers for each place along an axis of the shape: channels first."""
    shape, dims = x.shape, x.dims
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise Unheld("numbers that are infinite or none")
    order = (axis, *(each for each in range(len(shape)) if each != axis))
    moved = x if axis == 0 else step.moved(x, order)
    node = step.walker.drafts.shapes[step.walker.made(moved)]
    if node[0] != len(scale):
        moved = step.plain(moved)
    made = step.add(Affine(), moved, dims=moved.dims, weight=scale, bias=shift)
    if axis == 0:
        return replace(made, dims=dims)
    back = tuple(order.index(each) for each in range(len(shape)))
    return replace(step.moved(made.viewed((1, *(shape[each] for each in order))), back), dims=dims)


def _of_axis(constant: np.ndarray, dims: Shape, axis: int) -> np.ndarray | None:
    """(size,) numbers of a constant that broadcasts to dims and differs along one axis alone."""
    shape = (1,) * (len(dims) - constant.ndim) + constant.shape
    others = [size for n, size in enumerate(shape) if n != axis]
    if len(shape) > len(dims) or any(size != 1 for size in others):
        return None
    numbers = constant.reshape(-1)
    return np.broadcast_to(numbers, (dims[axis],)) if len(numbers) in (1, dims[axis]) else None


def _broadcast(one: Shape, two: Shape) -> Shape:
    try:
        return np.broadcast_shapes(one, two)
    except ValueError:
        raise Unheld(f"shapes {one} and {two}") from None
