"""Caffe's .caffemodel: a NetParameter, its layers in any form: V2 `layer`, V1 `layers`, V0 in V1.

Here are names and arrays; caffe_graph.py says what the layers compute. The prototxt is another
file, and not needed.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path

import numpy as np

from refq.importers import caffe_graph, caffe_images, caffe_v0, wire
from refq.importers import caffe_messages as messages
from refq.importers import caffe_schema as schema
from refq.importers.caffe_layer import Layer, Net
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
LAYERS = {"layer": schema.V2_LAYER, "layers": schema.V1_LAYER}
V0_BLOBS = 50
OWN = 100  # numbers of V2's messages begin here; below 1000 those of V1's
# they say nothing of what a layer computes
BESIDE = {"transform_param", "param", "other"}


def sniff(head: bytes, path: Path) -> bool:
    # a NetParameter begins with its name (field 1), a layer, or inputs (field 3)
    return head[:1] in (b"\x0a", b"\x12", b"\x1a") or head[:2] == b"\xa2\x06"


def read(path: Path) -> Contents:
    network = net(mapped(path))
    if not network.layers:
        raise refuse(f"{path} has no layers", "a caffemodel")
    if any(layer.bottoms for layer in network.layers):
        return caffe_graph.contents(FORM, network)
    return caffe_graph.bare(FORM, network.layers)


def net(data: mmap.mmap) -> Net:
    """The network of a .caffemodel; layers of version 0 as newer ones."""
    found = Net()
    for field in wire.fields(data, 0, len(data)):
        part = schema.NET.get(field.number)
        if part is None:
            raise refuse(f"field {field.number} of the network, which refq does not know")
        if part in LAYERS and field.kind == wire.BYTES:
            if len(found.layers) >= MOST:
                raise refuse(f"a network of more than {MOST} layers")
            found.layers.append(_layer(data, field, part))
        elif part == "name":
            found.name = wire.text(data, field)
        elif part == "input":
            found.inputs.append(wire.text(data, field))
        elif part == "input_dim":
            wire.more_integers(found.input_dim, data, field)
        elif part == "input_shape":
            found.input_shape.append(messages.shape(data, field))
    found.layers = caffe_v0.without_padding(found.layers)
    return found


def _layer(data: mmap.mmap, part: wire.Field, form: str) -> Layer:
    layer, raw = Layer(), dict[str, list[wire.Field]]()
    for field in wire.fields(data, part.begin, part.end):
        name = LAYERS[form].get(field.number, f"field {field.number}")
        if name in ("bottom", "top"):
            getattr(layer, f"{name}s").append(wire.text(data, field))
        elif name == "name":
            layer.name = wire.text(data, field)
        elif name == "type":
            number = f"V1 type {field.value}"
            v1 = form == "layers"
            layer.type = schema.V1_TYPES.get(field.value, number) if v1 else wire.text(data, field)
        elif name == "phase":
            layer.phase = field.value
        elif name == "loss_weight":
            layer.loss_weights += wire.floats(data, [field], 4).tolist()
        elif name in ("include", "exclude") and field.kind == wire.BYTES:
            layer.rules.append((name, messages.stated(data, name, [field])))
        elif name == "blobs" and field.kind == wire.BYTES:
            layer.blobs.append(_blob(data, field))
        elif field.kind == wire.BYTES or name.startswith("field "):
            raw.setdefault(name, []).append(field)
    if "layer" in raw:
        blobs = [
            _blob(data, each)
            for part in raw["layer"]
            for each in wire.fields(data, part.begin, part.end)
            if each.number == V0_BLOBS and each.kind == wire.BYTES
        ]
        return caffe_v0.layer(layer, messages.stated(data, "layer", raw["layer"]), blobs)
    _decode(data, layer, raw)
    return layer


def _decode(data: mmap.mmap, layer: Layer, raw: dict[str, list[wire.Field]]) -> None:
    """The messages that its type of layer has; of others it is known that they are there."""
    message = schema.OF_TYPE.get(layer.type)
    if message in schema.FORKS and message not in raw:
        others = [name for name, parts in raw.items() if _stands_for(name, parts)]
        if len(others) == 1:
            raw[message] = raw.pop(others[0])
    wanted = {message, *(caffe_images.MESSAGES if layer.is_data else ())}
    for name, parts in raw.items():
        known = name in wanted and name in messages.MESSAGES
        if name.startswith("field "):
            layer.unknown = name
        else:
            layer.parameters[name] = messages.stated(data, name, parts) if known else {}


def _stands_for(name: str, parts: list[wire.Field]) -> bool:
    """Whether a message can be one that a fork of Caffe has under that number."""
    return name not in BESIDE and all(
        part.kind == wire.BYTES and part.number >= OWN for part in parts
    )


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
