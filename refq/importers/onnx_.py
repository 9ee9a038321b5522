"""ONNX models: initializers, and the graph that says which layer each one belongs to.

Field numbers are those of onnx.proto. Values outside the file are refused: a model could name any
file of the machine.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from refq.errors import listed
from refq.importers import onnx_graph, wire
from refq.importers.contents import (
    LARGEST,
    MOST,
    Contents,
    Step,
    Tensor,
    checked_shape,
    float32,
    mapped,
    refuse,
    stored,
)

FORM = "ONNX model"
# TensorProto.DataType of floats: float, double, float16, bfloat16
KINDS = {1: "<f4", 11: "<f8", 10: "<f2", 16: "bfloat16"}
INTEGERS = {6: "<i4", 7: "<i8"}


@dataclass(frozen=True)
class Node:
    """A NodeProto; attributes are numbers, lists of integers and text."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


NEWEST = 26  # version of ONNX's operators


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
            inputs[_value_name(data, part)] = _dimensions(data, part)
        elif part.number == 12:
            outputs.append(_value_name(data, part))
        elif part.number == 14:
            notes.quantized += 1
        elif part.number == 15:
            raise refuse("a graph with sparse weights", "weights with all their values")
    constants = tensors.keys() | integers.keys()
    images = {name: sizes for name, sizes in inputs.items() if name not in constants}
    image = next(iter(images.values()), [])
    found = onnx_graph.contents(FORM, producer, nodes, tensors, integers, image, outputs)
    # what no step makes is the image, and nothing else is
    more = tuple(Step(name, "another input", ("",)) for name in list(images)[1:])
    graph, told = (*more, *found.graph), (*found.notes, *notes.lines(outputs))
    return _bounded(replace(found, graph=graph, notes=told), len(data))


@dataclass
class Noted:
    """What a model states besides its graph, which is told and not read. opset: the version of
    ONNX's own operators."""

    opset: int = 0
    metadata: list[str] = field(default_factory=list)
    functions: int = 0
    training: int = 0
    quantized: int = 0

    def enter(self, data: mmap.mmap, part: wire.Field) -> None:
        inner = list(wire.fields(data, part.begin, part.end)) if part.number in (8, 14) else []
        texts = {each.number: each for each in inner}
        if part.number == 8:
            domain = wire.text(data, texts[1]) if 1 in texts else ""
            if domain in ("", "ai.onnx") and 2 in texts:
                self.opset = texts[2].value
        elif part.number == 14 and 1 in texts and len(self.metadata) < MOST:
            self.metadata.append(wire.text(data, texts[1]))
        self.functions += part.number == 25
        self.training += part.number == 20

    def lines(self, outputs: Sequence[str]) -> list[str]:
        keys = ", ".join(self.metadata[:5])
        more = f" and {len(self.metadata) - 5} more" if len(self.metadata) > 5 else ""
        told = {
            f"operators of version {self.opset}, where refq knows those to {NEWEST}": self.opset
            > NEWEST,
            f"metadata ({keys}{more}), which refq does not read": self.metadata,
            "functions of its own, which no layer here is": self.functions,
            "how it is trained, which refq does not read": self.training,
            "how tensors are quantized, which refq does not read": self.quantized,
            f"{len(outputs)} outputs ({listed(outputs)}), and refq has one": len(outputs) > 1,
        }
        return [f"the model states {line}" for line, there in told.items() if there]


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


def _dimensions(data: mmap.mmap, part: wire.Field) -> list[int]:
    """Of a ValueInfoProto: type, tensor_type, shape, dim, and a dim_value where it is known."""
    parts = [part]
    for number in (2, 1, 2, 1):
        parts = [
            inner
            for outer in parts
            for inner in wire.fields(data, outer.begin, outer.end)
            if inner.number == number and inner.kind == wire.BYTES
        ]
    found = []
    for each in parts[:8]:
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
        elif each.number == 7:
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
            shape, lambda: float32(wire.floats(data, values_at, size), "").reshape(shape)
        )
