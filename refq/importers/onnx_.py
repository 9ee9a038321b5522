"""ONNX models: initializers, and the graph that says which layer each one belongs to.

Field numbers are those of onnx.proto. Values outside the file are refused: a model could name any
file of the machine.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from refq.importers import onnx_graph, wire
from refq.importers.contents import (
    LARGEST,
    MOST,
    Contents,
    Step,
    Tensor,
    checked_shape,
    floats,
    mapped,
    refuse,
    stored,
)
from refq.importers.onnx_attributes import UNREAD
from refq.importers.onnx_noted import HALVES, NAMES, Noted

FORM = "ONNX model"
# TensorProto.DataType of floats: float, double, float16, bfloat16
KINDS = {1: "<f4", 11: "<f8", 10: "<f2", 16: "bfloat16"}
# int32, int64, bool
INTEGERS = {6: "<i4", 7: "<i8", 9: "?"}


@dataclass(frozen=True)
class Node:
    """A NodeProto; attributes are numbers, lists of integers and text."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


def sniff(head: bytes, path: Path) -> bool:
    # ModelProto begins with ir_version (field 1, a varint); some writers put other fields first
    return head[:1] == b"\x08" or (path.suffix == ".onnx" and head[:1] in b"\x12\x1a\x22\x3a\x42")


def read(path: Path) -> Contents:
    data = mapped(path)
    graphs, producer, notes = [], "", Noted()
    for part in wire.fields(data, 0, len(data)):
        if part.number == 7 and part.kind == wire.BYTES:
            graphs.append(part)
        elif part.number in (8, 14, 20, 25) and part.kind == wire.BYTES:
            notes.enter(data, part)
        elif part.number == 2:
            producer = wire.text(data, part)
    if len(graphs) != 1:
        raise refuse(f"{len(graphs)} graphs", "an ONNX model, which has one")
    nodes: list[Node] = []
    tensors: dict[str, Tensor] = {}
    integers: dict[str, list[int]] = {}
    inputs: dict[str, list[int]] = {}
    types: dict[str, int] = {}
    outputs: list[str] = []
    for part in wire.fields(data, graphs[0].begin, graphs[0].end):
        if max(len(nodes), len(tensors), len(integers)) > MOST:
            raise refuse(f"a graph of more than {MOST} nodes or tensors")
        if part.kind != wire.BYTES:
            continue
        if part.number == 1:
            nodes.append(_node(data, part, tensors, integers))
        elif part.number == 5:
            _tensor(data, part, "", tensors, integers)
        elif part.number == 11:
            name = _value_name(data, part)
            inputs[name], types[name] = _dimensions(data, part), _type(data, part)
        elif part.number == 12:
            outputs.append(_value_name(data, part))
        elif part.number == 14:
            notes.quantized += 1
        elif part.number == 15:
            raise refuse("a graph with sparse weights", "weights with all their values")
    constants = tensors.keys() | integers.keys()
    images = {name: sizes for name, sizes in inputs.items() if name not in constants}
    image = next(iter(images.values()), [])
    notes.images = NAMES.get(types[next(iter(images))], "") if images else ""
    notes.halves = sorted(
        {NAMES[to] for each in nodes if (to := each.attributes.get("to")) in HALVES}
    )
    found = onnx_graph.contents(FORM, producer, nodes, tensors, integers, image, outputs)
    # what no step makes is the image, and nothing else is
    more = tuple(Step(name, "another input", ("",)) for name in list(images)[1:])
    graph, told = (*more, *found.graph), (*found.notes, *notes.lines(outputs))
    return _bounded(replace(found, graph=graph, notes=told), len(data))


def _bounded(contents: Contents, size: int) -> Contents:
    """The same. Raises WeightsError where the layers hold much more than a file of `size` bytes: a
    model may fill constants with one number, and may use one array for many layers."""
    held = sum(math.prod(t.shape) for unit in contents.units.values() for t in unit.arrays.values())
    # half precision doubles on reading; one GiB of constants is enough for VGG-19
    if 4 * held > 2 * size + LARGEST:
        raise refuse(
            f"layers of {4 * held:,} bytes in a model of {size:,}", "weights that are in the file"
        )
    return contents


def _value_name(data: mmap.mmap, part: wire.Field) -> str:
    names = [each for each in wire.fields(data, part.begin, part.end) if each.number == 1]
    return wire.text(data, names[0]) if names else ""


def _within(data: mmap.mmap, part: wire.Field, *numbers: int) -> list[wire.Field]:
    """The messages that a message has under field numbers, one within the other."""
    parts = [part]
    for number in numbers:
        parts = [
            inner
            for outer in parts
            for inner in wire.fields(data, outer.begin, outer.end)
            if inner.number == number and inner.kind == wire.BYTES
        ]
    return parts


def _type(data: mmap.mmap, part: wire.Field) -> int:
    """Of a ValueInfoProto: type, tensor_type, elem_type; 0 where it is not stated."""
    for each in _within(data, part, 2, 1):
        stated = [f.value for f in wire.fields(data, each.begin, each.end) if f.number == 1]
        return stated[0] if stated else 0
    return 0


def _dimensions(data: mmap.mmap, part: wire.Field) -> list[int]:
    """Of a ValueInfoProto: type, tensor_type, shape, dim, and a dim_value where it is known."""
    found = []
    for each in _within(data, part, 2, 1, 2, 1)[:8]:
        stated = [f.value for f in wire.fields(data, each.begin, each.end) if f.number == 1]
        found.append(stated[0] if stated else 0)
    return found


def _node(
    data: mmap.mmap, part: wire.Field, tensors: dict[str, Tensor], integers: dict[str, list[int]]
) -> Node:
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: [], 7: []}
    attributes: dict[str, Any] = {}
    for each in wire.fields(data, part.begin, part.end):
        if each.number in texts:
            texts[each.number].append(wire.text(data, each))
        elif each.number == 5 and each.kind == wire.BYTES:
            output = texts[2][0] if texts[2] else ""
            name, value = _attribute(data, each, output, tensors, integers)
            attributes[name] = value
    (kind,), (name,) = texts[4] or [""], texts[3] or [""]
    domain = "".join(texts[7])
    # what others call by the same name may compute something else
    kind = kind if domain in ("", "ai.onnx") else f"{domain}.{kind}"
    return Node(kind, name, tuple(texts[1]), tuple(texts[2]), attributes)


def _attribute(
    data: mmap.mmap,
    part: wire.Field,
    output: str,
    tensors: dict[str, Tensor],
    integers: dict[str, list[int]],
) -> tuple[str, Any]:
    """(name, value). A tensor is a Constant's: it goes under the name of the node's output."""
    value: Any = None
    name, ints = "", list[int]()
    for each in wire.fields(data, part.begin, part.end):
        if each.number == 1:
            name = wire.text(data, each)
        elif each.number == 2:
            value = wire.one_float(data, each)
        elif each.number == 3:
            (value,) = wire.integers(data, each)
        elif each.number == 4:
            value = wire.text(data, each)
        elif each.number == 5 and each.kind == wire.BYTES:
            _tensor(data, each, output, tensors, integers)
        elif each.number == 8:
            wire.more_integers(ints, data, each)
        elif each.number in UNREAD:
            value = UNREAD[each.number]
    return name, ints or value


def _tensor(
    data: mmap.mmap,
    part: wire.Field,
    name: str,
    tensors: dict[str, Tensor],
    integers: dict[str, list[int]],
) -> None:
    """Enters a TensorProto under its name, or the given one; other than floats and integers are
    left out."""
    dims: list[int] = []
    kind, raw, own = 0, None, ""
    parts: dict[int, list[wire.Field]] = {4: [], 10: []}
    listed: list[int] = []
    for each in wire.fields(data, part.begin, part.end):
        if each.number == 1:
            wire.more_integers(dims, data, each)
        elif each.number == 2:
            kind = each.value
        elif each.number in parts:
            parts[each.number].append(each)
        elif each.number == 7 or (each.number == 5 and each.kind in (wire.VARINT, wire.BYTES)):
            wire.more_integers(listed, data, each)
        elif each.number == 8:
            own = wire.text(data, each)
        elif each.number == 9 and each.kind == wire.BYTES:
            raw = each
        elif each.number == 13 or (each.number == 14 and each.value):
            raise refuse(
                f"{own or name}: values in another file",
                "all values in the model",
                "save it with onnx.save and save_as_external_data=False",
            )
    name = name or own
    if name in tensors or name in integers:
        raise refuse(f"two tensors named {name}", "one of each name")
    if kind in INTEGERS:
        if raw is not None and raw.end - raw.begin <= 1 << 10:
            values = np.frombuffer(data[raw.begin : raw.end], INTEGERS[kind])
            listed = [int(value) for value in values]
        integers[name] = listed
    elif kind in KINDS and 0 not in dims:
        shape = checked_shape(name, dims)
        dtype = KINDS[kind]
        if raw is not None:
            size = np.dtype("<u2" if dtype == "bfloat16" else dtype).itemsize
            if math.prod(shape) * size != raw.end - raw.begin:
                raise refuse(f"{name}: {raw.end - raw.begin:,} bytes for shape {shape}")
            tensors[name] = stored(data, raw.begin, shape, dtype)
            return
        size = 8 if kind == 11 else 4
        values_at = parts[10 if kind == 11 else 4]
        held = sum(wire.count_floats(each, size) for each in values_at)
        if held != math.prod(shape):
            raise refuse(f"{name}: {held:,} values for shape {shape}", f"{math.prod(shape):,}")
        tensors[name] = Tensor(
            shape, lambda: floats(wire.floats(data, values_at, size), "").reshape(shape)
        )
