"""Operators whose inputs are all constant, computed: shape arithmetic, and weights that exporters
make of others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from refq.errors import ShapeError
from refq.importers.foreign import Operator
from refq.importers.lowering.expressions import UNARY
from refq.networks.layers.expressions import values

# values of a constant that operators may make
MOST_VALUES = 1 << 24
Inputs = Sequence["np.ndarray | None"]


class Unknown(Exception):  # noqa: N818 - a condition
    """An operator that is not computed on constants."""


def computed(operator: Operator, inputs: Inputs) -> list[np.ndarray]:
    """The outputs of an operator of constants. Raises Unknown for what is not known here, and
    ShapeError for inputs that do not fit it."""
    known = COMPUTED.get(operator.kind) if not operator.domain else None
    try:
        with np.errstate(all="ignore"):
            if known is not None:
                made = known(operator, list(inputs))
                return (
                    [np.asarray(each) for each in made]
                    if isinstance(made, list)
                    else [np.asarray(made)]
                )
            if operator.kind in UNARY and inputs[0] is not None:
                expression = UNARY[operator.kind](operator.attributes, "x")
                return [values(expression, np.asarray(inputs[0]))]
    except (ValueError, IndexError, TypeError, AttributeError, OverflowError) as error:
        shapes = [None if each is None else each.shape for each in inputs]
        raise ShapeError(f"constants of shapes {shapes} ({error})", "those that fit") from None
    raise Unknown


def _axes(operator: Operator, inputs: list[Any]) -> Any:
    given = (
        inputs[1] if len(inputs) > 1 and inputs[1] is not None else operator.attributes.get("axes")
    )
    return None if given is None else tuple(int(each) for each in np.asarray(given).reshape(-1))


def _bounded(shape: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(int(each) for each in shape)
    if min(sizes, default=0) < 0 or math.prod(sizes) > MOST_VALUES:
        raise ValueError(f"shape {sizes}")
    return sizes


def _slice(operator: Operator, inputs: list[Any]) -> np.ndarray:
    x, *rest = inputs
    given = [*rest, None, None, None, None][:4]
    for number, name in enumerate(("starts", "ends", "axes")):
        if given[number] is None:
            given[number] = operator.attributes.get(name)
    starts, ends, axes, steps = given
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    spans = [slice(None)] * x.ndim
    for axis, *span in zip(axes, starts, ends, steps):
        spans[int(axis)] = slice(*(int(each) for each in span))
    return np.asarray(x[tuple(spans)])


def _unsqueeze(operator: Operator, inputs: list[Any]) -> np.ndarray:
    return np.expand_dims(inputs[0], _axes(operator, inputs))


def _reshape(operator: Operator, inputs: list[Any]) -> np.ndarray:
    x, shape = inputs[0], [int(each) for each in inputs[1]]
    if not operator.attributes.get("allowzero", 0):
        shape = [x.shape[n] if each == 0 else each for n, each in enumerate(shape)]
    return np.reshape(x, shape)


def _split(operator: Operator, inputs: list[Any]) -> list[np.ndarray]:
    x, axis = inputs[0], operator.attributes.get("axis", 0)
    sizes = inputs[1] if len(inputs) > 1 else operator.attributes.get("split")
    if sizes is None:
        return list(np.array_split(x, len(operator.outputs), axis))
    return list(np.split(x, np.cumsum(sizes)[:-1].astype(int), axis))


def _fill(operator: Operator, inputs: list[Any]) -> np.ndarray:
    value = operator.attributes.get("value")
    number = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return np.full(_bounded(inputs[0]), number.reshape(-1)[0], number.dtype)


def _expand(operator: Operator, inputs: list[Any]) -> np.ndarray:
    shape = np.broadcast_shapes(inputs[0].shape, _bounded(inputs[1]))
    return np.broadcast_to(inputs[0], _bounded(shape))


def _tile(operator: Operator, inputs: list[Any]) -> np.ndarray:
    _bounded([a * int(b) for a, b in zip(inputs[0].shape, inputs[1])])
    return np.tile(inputs[0], [int(each) for each in inputs[1]])


def _range(operator: Operator, inputs: list[Any]) -> np.ndarray:
    start, stop, step = (each.reshape(-1)[0] for each in inputs)
    _bounded([max(0, math.ceil((stop - start) / step))])
    return np.arange(start, stop, step, dtype=inputs[0].dtype)


def _divide(operator: Operator, inputs: list[Any]) -> np.ndarray:
    one, two = inputs
    if one.dtype.kind in "iu":
        # towards zero, as ONNX divides whole numbers
        return np.asarray(np.trunc(one.astype(np.float64) / two).astype(one.dtype))
    return np.divide(one, two)


def _cast(operator: Operator, inputs: list[Any]) -> np.ndarray:
    kinds = {1: "f4", 2: "u1", 3: "i1", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8"}
    to = operator.attributes.get("to")
    if to not in kinds:
        raise Unknown
    return np.asarray(inputs[0].astype(kinds[to]))


def _reduce(function: Callable[..., Any]) -> Callable[[Operator, list[Any]], Any]:
    def made(operator: Operator, inputs: list[Any]) -> Any:
        keep, axes = bool(operator.attributes.get("keepdims", 1)), _axes(operator, inputs)
        if not axes and operator.attributes.get("noop_with_empty_axes", 0):
            return inputs[0]
        result = function(inputs[0], axis=axes or None, keepdims=keep)
        return np.asarray(result).astype(inputs[0].dtype)

    return made


def _folded(function: Callable[..., Any]) -> Callable[[Operator, list[Any]], Any]:
    def made(operator: Operator, inputs: list[Any]) -> Any:
        total = inputs[0]
        for each in inputs[1:]:
            total = function(total, each)
        return total

    return made


def _of(function: Callable[..., Any]) -> Callable[[Operator, list[Any]], Any]:
    return lambda operator, inputs: function(*inputs)


COMPUTED: dict[str, Callable[[Operator, list[Any]], Any]] = {
    "Add": _of(np.add),
    "And": _of(np.logical_and),
    "Cast": _cast,
    "Concat": lambda o, i: np.concatenate(i, o.attributes.get("axis", 0)),
    "ConstantOfShape": _fill,
    "Div": _divide,
    "Equal": _of(np.equal),
    "Expand": _expand,
    "Flatten": lambda o, i: i[0].reshape(math.prod(i[0].shape[: o.attributes.get("axis", 1)]), -1),
    "Gather": lambda o, i: np.take(i[0], i[1].astype(np.int64), o.attributes.get("axis", 0)),
    "Greater": _of(np.greater),
    "GreaterOrEqual": _of(np.greater_equal),
    "Identity": lambda o, i: i[0],
    "Dropout": lambda o, i: i[0],
    "Less": _of(np.less),
    "LessOrEqual": _of(np.less_equal),
    "MatMul": _of(np.matmul),
    "Max": _folded(np.maximum),
    "Min": _folded(np.minimum),
    "Mod": lambda o, i: (np.fmod if o.attributes.get("fmod", 0) else np.mod)(*i),
    "Mul": _of(np.multiply),
    "Not": _of(np.logical_not),
    "Or": _of(np.logical_or),
    "Pow": lambda o, i: np.power(i[0], i[1]).astype(i[0].dtype),
    "Range": _range,
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Shape": lambda o, i: np.array(
        i[0].shape[o.attributes.get("start", 0) : o.attributes.get("end", i[0].ndim)], np.int64
    ),
    "Size": lambda o, i: np.array(i[0].size, np.int64),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": lambda o, i: np.squeeze(i[0], _axes(o, i)),
    "Sub": _of(np.subtract),
    "Sum": _folded(np.add),
    "Tile": _tile,
    "Transpose": lambda o, i: np.transpose(i[0], o.attributes.get("perm")),
    "Unsqueeze": _unsqueeze,
    "Where": _of(np.where),
    "Xor": _of(np.logical_xor),
}
