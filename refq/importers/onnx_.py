"""Weights of ONNX models, and the graph that says which layer each one belongs to.

Values outside the file are refused: a model could name any file of the machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from refq.errors import listed
from refq.importers import onnx_attributes, onnx_graph, onnx_proto, onnx_tensors
from refq.importers.contents import LARGEST, Contents, Step, Tensor, floats, forget, mapped, refuse
from refq.importers.onnx_constants import MOST
from refq.importers.onnx_noted import notes
from refq.importers.onnx_proto import Graph, Stored

FORM = "ONNX model"
# int32, int64, bool
INTEGERS = {6, 7, 9}


@dataclass(frozen=True)
class Node:
    """kind: behind its domain where that is not ONNX's own. attributes: numbers, lists of integers
    and text, others in words."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def sniff(head: bytes, path: Path) -> bool:
    # ModelProto begins with ir_version (field 1, a varint); some writers put other fields first
    return head[:1] == b"\x08" or (path.suffix == ".onnx" and head[:1] in b"\x12\x1a\x22\x3a\x42")


def read(path: Path) -> Contents:
    data = mapped(path)
    model = onnx_proto.model(data)
    graph = model.graph
    if graph.sparse is not None:
        raise refuse("a graph with sparse weights", "weights with all their values")
    tensors: dict[str, Tensor] = {}
    integers: dict[str, list[int]] = {}
    for name, tensor in graph.tensors.items():
        _enter(name, tensor, tensors, integers)
    nodes = [_node(node, tensors, integers) for node in graph.nodes]
    images = [each for name, each in graph.inputs.items() if name not in tensors | integers]
    image = [size or 0 for size in images[0].shape or ()] if images else []
    found = onnx_graph.contents(
        FORM, model.producer, nodes, tensors, integers, image, graph.outputs
    )
    # what no step makes is the image, and nothing else is
    more = tuple(Step(value.name, "another input", ("",)) for value in images[1:])
    kinds = {
        value.name: onnx_tensors.NAMES.get(value.kind, "another type")
        for value in images[:1]
        if value.kind not in (0, 1)
    }
    told = (*found.notes, *notes(model, kinds), *_unread(model))
    return _bounded(replace(found, graph=(*more, *found.graph), notes=told), len(data))


def _unread(model: onnx_proto.Model) -> list[str]:
    """What is told of a model whose weights alone are read."""
    told, outputs = [], model.graph.outputs
    if model.functions:
        told.append("functions of its own, which no layer here is")
    if len(outputs) > 1:
        told.append(f"{len(outputs)} outputs ({listed(outputs)}), and refq has one")
    return [f"the model states {line}" for line in told]


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


def _node(
    node: onnx_proto.Node, tensors: dict[str, Tensor], integers: dict[str, list[int]]
) -> Node:
    """The tensor of a Constant goes under the name of the node's output."""
    said = onnx_attributes.checked(node)
    kind = f"{node.domain}.{node.kind}" if node.domain else node.kind
    for value in said.values():
        if isinstance(value, Stored):
            _enter(next(iter(node.outputs), ""), value, tensors, integers)
    plain = {
        name: onnx_attributes.in_words(value) if not isinstance(value, (Stored, Graph)) else None
        for name, value in said.items()
    }
    if kind in onnx_attributes.WINDOWS:
        onnx_attributes.check_window(node.told, kind, plain)
    return Node(kind, node.name, node.inputs, node.outputs, plain)


def _enter(
    name: str, tensor: Stored, tensors: dict[str, Tensor], integers: dict[str, list[int]]
) -> None:
    """Other than floats and integers are left out."""
    if name in tensors or name in integers:
        raise refuse(f"two tensors named {name}", "one of each name")
    named = replace(tensor, name=name)
    if tensor.kind not in onnx_tensors.FLOATS | INTEGERS:
        if tensor.external is not None:
            onnx_tensors.refuse_outside(name)
        return
    onnx_tensors.checked(named, None)
    if tensor.kind in INTEGERS:
        few = math.prod(tensor.shape) <= MOST
        values = onnx_tensors.load(named).reshape(-1) if few else ()
        integers[name] = [int(value) for value in values]
    elif 0 not in tensor.shape:

        def load() -> Any:
            forget(tensor.data)
            return floats(onnx_tensors.load(named), "")

        tensors[name] = Tensor(tensor.shape, load)
