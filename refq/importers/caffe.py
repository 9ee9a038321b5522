"""Caffe's .caffemodel: a NetParameter, its layers in either form, V1 `layers` or V2 `layer`.

Here are names and arrays; caffe_graph.py says what the layers compute. The prototxt is another
file, and not needed.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path

import numpy as np

from refq.importers import caffe_graph, wire
from refq.importers import caffe_schema as schema
from refq.importers.caffe_layer import Layer
from refq.importers.contents import (
    MOST,
    Contents,
    Tensor,
    checked_shape,
    floats,
    forget,
    mapped,
    refuse,
)

FORM = "Caffe caffemodel"
V0 = 1  # the field of a V1LayerParameter that holds an older one


def sniff(head: bytes, path: Path) -> bool:
    # a NetParameter begins with its name (field 1), a layer, or inputs (field 3)
    return head[:1] in (b"\x0a", b"\x12", b"\x1a") or head[:2] == b"\xa2\x06"


def read(path: Path) -> Contents:
    data = mapped(path)
    layers: list[Layer] = []
    net: dict[str, list[wire.Field]] = {}
    for field in wire.fields(data, 0, len(data)):
        part = schema.NET.get(field.number)
        if part is None:
            raise refuse(f"field {field.number} of the network, which refq does not know")
        if part in ("layer", "layers") and field.kind == wire.BYTES:
            if len(layers) >= MOST:
                raise refuse(f"a network of more than {MOST} layers")
            layers.append(_layer(data, field, part == "layers"))
        elif part.startswith("input"):
            net.setdefault(part, []).append(field)
    if not layers:
        raise refuse(f"{path} has no layers", "a caffemodel")
    if any(layer.bottoms for layer in layers):
        return caffe_graph.contents(data, FORM, layers, net)
    return caffe_graph.bare(data, FORM, layers)


def _layer(data: mmap.mmap, part: wire.Field, v1: bool) -> Layer:
    layer, known = Layer(), schema.V1_LAYER if v1 else schema.V2_LAYER
    for field in wire.fields(data, part.begin, part.end):
        name = known.get(field.number)
        if v1 and field.number == V0:
            raise refuse(
                "a net of version 0, with layers within layers",
                "layers of caffe.proto since 2013",
                "Caffe's upgrade_net_proto_binary writes them",
            )
        if name is None:
            layer.unknown = field.number
        elif name == "name":
            layer.name = wire.text(data, field)
        elif name == "type":
            number = f"V1 type {field.value}"
            layer.type = schema.V1_TYPES.get(field.value, number) if v1 else wire.text(data, field)
        elif name == "bottom":
            layer.bottoms.append(wire.text(data, field))
        elif name == "top":
            layer.tops.append(wire.text(data, field))
        elif name == "phase":
            layer.phase = field.value
        elif field.kind == wire.BYTES:
            if name == "blobs":
                layer.blobs.append(_blob(data, field))
            else:
                layer.parameters.setdefault(name, []).append(field)
    return layer


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
        return floats(wire.floats(data, values, size), "").reshape(sizes)

    return Tensor(sizes, load)
