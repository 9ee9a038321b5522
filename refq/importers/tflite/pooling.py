"""Pools, and images that are made larger or smaller."""

from __future__ import annotations

from typing import Any

from refq.importers.building import Value
from refq.importers.tflite.operation import Operation
from refq.importers.tflite.weighted import pads


def _pool(op: Operation, kind: str) -> Value:
    image = op.image()
    kernel = op.node.whole(4), op.node.whole(3)
    strides = op.node.whole(2), op.node.whole(1)
    if not all(0 < each < 1 << 20 for each in (*kernel, *strides)):
        raise op.refuse(f"a window {kernel}, strides {strides}", "1 or more")
    if op.tensor(0).index in op.made.spread:
        raise op.refuse("a pool within SPACE_TO_BATCH_ND", "a convolution")
    around = pads(op, kernel, strides, (1, 1))
    made = op.add(kind, [image], image, kernel_shape=kernel, strides=strides, **around)
    return op.followed(made, op.node.whole(5, "b"))


def largest(op: Operation) -> Value:
    return _pool(op, "MaxPool")


def mean(op: Operation) -> Value:
    """Zeros of the padding are not counted."""
    return _pool(op, "AveragePool")


def _resized(op: Operation, words: dict[str, Any]) -> Value:
    image = op.image()
    size = op.output().shape[1:3] if op.maybe(1) is None else op.whole(1)
    if len(size) != 2 or min(size) < 1:
        raise op.refuse(f"a size {size}", "rows and columns")
    nothing = Value("", 0)
    sizes = op.numbers(list(size), "size")
    return op.add("Resize", [image, nothing, nothing, sizes], image, axes=(2, 3), **words)


def _coordinates(op: Operation, aligned: int, half: int) -> str:
    if op.node.whole(aligned, "b"):
        return "align_corners"
    return "half_pixel" if op.node.whole(half, "b") else "asymmetric"


def bilinear(op: Operation) -> Value:
    said = _coordinates(op, 2, 3)
    return _resized(op, {"mode": "linear", "coordinate_transformation_mode": said})


def nearest(op: Operation) -> Value:
    """Halves up, but where places are neither of corners nor of centres: down."""
    said = _coordinates(op, 0, 1)
    how = "floor" if said == "asymmetric" else "round_prefer_ceil"
    return _resized(
        op, {"mode": "nearest", "coordinate_transformation_mode": said, "nearest_mode": how}
    )
