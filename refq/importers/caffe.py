"""Caffe's .caffemodel: a NetParameter, its layers in either form, V1 `layers` or V2 `layer`.

Field numbers are those of caffe.proto. The prototxt is another file, and not needed.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refq.importers import wire
from refq.importers.contents import (
    MOST,
    Contents,
    Tensor,
    Unit,
    checked_shape,
    float32,
    forget,
    mapped,
    refuse,
)
from refq.networks.layers import Shape

FORM = "Caffe caffemodel"
V1_LAYERS, V2_LAYERS = 2, 100
# numbers of name, type, blobs and batch_norm_param in a layer of either form
V1_NUMBERS, V2_NUMBERS = (4, 5, 6, -1), (1, 2, 7, 139)
EPS = 1e-5  # of BatchNormParameter


def sniff(head: bytes, path: Path) -> bool:
    # a NetParameter begins with its name (field 1), a layer, or inputs (field 3)
    return head[:1] in (b"\x0a", b"\x12", b"\x1a") or head[:2] == b"\xa2\x06"


def read(path: Path) -> Contents:
    data = mapped(path)
    units: dict[str, Unit] = {}
    order: list[str] = []
    for field in wire.fields(data, 0, len(data)):
        if field.number in (V1_LAYERS, V2_LAYERS) and field.kind == wire.BYTES:
            if len(order) >= MOST:
                raise refuse(f"a network of more than {MOST} layers")
            numbers = V1_NUMBERS if field.number == V1_LAYERS else V2_NUMBERS
            name, blobs, eps = _layer(data, field, numbers)
            order.append(name)
            if blobs:
                if name in units:
                    raise refuse(f"two layers with weights named {name}")
                units[name] = unit(name, blobs, eps)
    if not order:
        raise refuse(f"{path} has no layers", "a caffemodel")
    return Contents("caffe", FORM, units, tuple(order))


def unit(name: str, blobs: Sequence[Tensor], eps: float = EPS) -> Unit:
    """A layer by its blobs: BatchNorm has three one-dimensional ones, the last a single number;
    Scale has one or two; others have a weight with more dimensions, and a bias."""
    blobs = [Tensor.reshaped(blob, plain_shape(blob.shape)) for blob in blobs]
    flat = len(blobs[0].shape) == 1
    if flat and len(blobs) == 3 and blobs[2].shape == (1,):
        return Unit(name, dict(zip(("mean", "variance", "factor"), blobs)), eps)
    if len(blobs) > 2:
        raise refuse(f"{name}: a layer of {len(blobs)} arrays", "a weight and a bias")
    return Unit(name, dict(zip(("gamma", "beta") if flat else ("weight", "bias"), blobs)))


def plain_shape(shape: Shape) -> Shape:
    """Old blobs always have four dimensions: (1, 1, 1, O) for biases, (1, 1, O, K) dense."""
    if len(shape) == 4 and shape[:3] == (1, 1, 1):
        return shape[3:]
    return shape[2:] if len(shape) == 4 and shape[:2] == (1, 1) else shape


def _layer(
    data: mmap.mmap, layer: wire.Field, numbers: tuple[int, int, int, int]
) -> tuple[str, list[Tensor], float]:
    name, blobs, eps = "", [], EPS
    for field in wire.fields(data, layer.begin, layer.end):
        if field.number == numbers[0]:
            name = wire.text(data, field)
        elif field.number == numbers[2] and field.kind == wire.BYTES:
            blobs.append(_blob(data, field))
        elif field.number == numbers[3] and field.kind == wire.BYTES:
            for part in wire.fields(data, field.begin, field.end):
                if part.number == 3:
                    eps = wire.one_float(data, part)
    return name, blobs, eps


def _blob(data: mmap.mmap, blob: wire.Field) -> Tensor:
    """num, channels, height, width (1 to 4) or shape (7); data (5) or double_data (8)."""
    legacy, shape = {}, None
    parts: dict[int, list[wire.Field]] = {5: [], 8: []}
    for field in wire.fields(data, blob.begin, blob.end):
        if field.number <= 4:
            (legacy[field.number],) = wire.integers(data, field)[-1:]
        elif field.number == 7 and field.kind == wire.BYTES:
            shape = [
                size
                for part in wire.fields(data, field.begin, field.end)
                if part.number == 1
                for size in wire.integers(data, part)
            ]
        elif field.number in parts:
            parts[field.number].append(field)
    if shape is None:
        shape = [legacy.get(number, 1) for number in (1, 2, 3, 4)]
    size = 8 if parts[8] else 4
    values = parts[8] or parts[5]
    sizes = checked_shape("a blob", shape or [1], size)
    held = sum(wire.count_floats(field, size) for field in values)
    if held != math.prod(sizes):
        raise refuse(f"a blob of shape {sizes} with {held:,} values", f"{math.prod(sizes):,}")

    def load() -> np.ndarray:
        forget(data)
        return float32(wire.floats(data, values, size), "").reshape(sizes)

    return Tensor(sizes, load)
