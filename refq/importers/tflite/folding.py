"""Operators of constants alone: the arithmetic of shapes, weights that are stored as halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

import numpy as np

from refq.importers.contents import LARGEST
from refq.importers.tflite.operation import Operation
from refq.importers.tflite.schema import TYPES

MOST = 1 << 16  # values of what is computed with; weights are only converted
Folded = Callable[[Operation], Union[np.ndarray, None]]
VALUE_BY_VALUE = {"ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SELECT", "SELECT_V2"}
VALUE_BY_VALUE |= {"GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "EQUAL"}


def _shape(op: Operation) -> np.ndarray | None:
    tensor = op.tensor(0)
    return None if set(tensor.open) - {0} else np.array(tensor.shape, np.int32)


def _zeros(op: Operation) -> np.ndarray | None:
    """One zero where it is read value by value, for images of any size."""
    tensor = op.output()
    readers = op.made.readers.get(tensor.index, [])
    if all(node.kind in VALUE_BY_VALUE for node in readers):
        return np.zeros((1,) * len(tensor.shape), np.float32)
    small = np.prod(tensor.shape, dtype=np.float64) <= MOST and not tensor.open
    return np.zeros(tensor.shape, np.float32) if small else None


def _strided(op: Operation) -> np.ndarray:
    array = op.array(0)
    begin, end, steps = (op.whole(place) for place in (1, 2, 3))
    no_begin, no_end, ellipsis, added, dropped = (op.node.whole(field) for field in range(5))
    if ellipsis or added or 0 in steps or not len(begin) == len(end) == len(steps) <= array.ndim:
        raise op.refuse("an ellipsis or new axes", "begin, end and strides of each axis")
    parts: list[int | slice] = []
    for axis, (first, last, step) in enumerate(zip(begin, end, steps)):
        if dropped >> axis & 1:
            parts.append(first)
        else:
            low = None if no_begin >> axis & 1 else first
            parts.append(slice(low, None if no_end >> axis & 1 else last, step))
    return np.asarray(array[tuple(parts)])


def _cast(op: Operation) -> np.ndarray:
    kind = TYPES.get(op.node.whole(1, "b"), "")
    array = op.array(0)
    return array.astype(np.float32 if kind.startswith("float") else np.int64)


def _of_output(op: Operation) -> np.ndarray:
    """The same values in the output's shape."""
    return op.array(0).reshape(op.output().shape)


def _fill(op: Operation) -> np.ndarray:
    shape = op.whole(0)
    if np.prod(shape, dtype=np.float64) > MOST or min(shape, default=0) < 0:
        raise op.refuse(f"{shape} equal values", f"{MOST:,} or less")
    return np.full(shape, op.array(1).reshape(()))


def _arithmetic(function: Callable[..., np.ndarray]) -> Folded:
    def fold(op: Operation) -> np.ndarray:
        left, right = op.array(0), op.array(1)
        shape = np.broadcast_shapes(left.shape, right.shape)
        if max(left.size, right.size) > MOST or np.prod(shape, dtype=np.float64) > MOST:
            raise op.refuse(f"arithmetic of {shape} constants", f"{MOST:,} or less")
        made = function(left, right)
        return made.astype(np.int64 if made.dtype.kind in "iu" else np.float32)

    return fold


def _joined(op: Operation) -> np.ndarray:
    arrays = [op.array(place) for place in range(len(op.node.inputs))]
    if sum(array.nbytes for array in arrays) > LARGEST or len(arrays) > MOST:
        raise op.refuse(f"{len(arrays)} constants in one", f"{LARGEST:,} bytes")
    if op.node.kind == "PACK":
        return np.stack(arrays, axis=op.node.whole(1))
    return np.concatenate(arrays, axis=op.node.whole(0))


FOLDED: dict[str, Folded] = {
    "ADD": _arithmetic(np.add),
    "CAST": _cast,
    "CONCATENATION": _joined,
    "DEQUANTIZE": lambda op: op.array(0),
    "DIV": _arithmetic(np.divide),
    "EXPAND_DIMS": _of_output,
    "FILL": _fill,
    "FLOOR_DIV": _arithmetic(np.floor_divide),
    "GATHER": lambda op: np.take(op.array(0), op.array(1), axis=op.node.whole(0)),
    "MAXIMUM": _arithmetic(np.maximum),
    "MINIMUM": _arithmetic(np.minimum),
    "MUL": _arithmetic(np.multiply),
    "PACK": _joined,
    "RANK": lambda op: np.array(len(op.tensor(0).shape), np.int32),
    "REDUCE_PROD": lambda op: np.prod(op.array(0), keepdims=bool(op.node.whole(0, "b"))),
    "RESHAPE": _of_output,
    "SHAPE": _shape,
    "SQUEEZE": _of_output,
    "STRIDED_SLICE": _strided,
    "SUB": _arithmetic(np.subtract),
    "ZEROS_LIKE": _zeros,
    "TRANSPOSE": lambda op: op.array(0).transpose(op.whole(1)),
}
OF_SHAPES = {"SHAPE", "RANK", "ZEROS_LIKE"}  # their inputs need not be constant


def folded(op: Operation) -> np.ndarray | None:
    """What an operator computes of constants; None where it reads others."""
    fold = FOLDED.get(op.node.kind)
    if fold is None or len(op.node.outputs) != 1 or op.node.custom:
        return None
    if op.node.kind not in OF_SHAPES:
        if any(number >= 0 and op.made.array(number) is None for number in op.node.inputs):
            return None
        if op.node.kind in ("ADD", "SUB", "MUL", "DIV") and op.node.whole(0, "b"):
            return None
    return fold(op)
