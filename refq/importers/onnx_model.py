"""Whole ONNX models as operators of version 21 (foreign.Foreign).

What is quantized, what only training does, and what lies outside of the file without leave are
refused; operators that no network holds pass, for `lowering` to tell or to cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from refq.errors import clipped
from refq.importers import onnx_, onnx_proto, onnx_quantized
from refq.importers.contents import mapped, one_line, refuse
from refq.importers.foreign import Asked, Foreign, Operator
from refq.importers.onnx_external import Outside
from refq.importers.onnx_flat import Flat, reads
from refq.importers.onnx_noted import notes
from refq.importers.onnx_opsets import Old
from refq.importers.onnx_proto import Graph, Value
from refq.importers.onnx_tensors import FLOATS, NAMES
from refq.importers.onnx_values import Values

FORM, ORDER = onnx_.FORM, 2
sniff = onnx_.sniff
# numbers that images may have, each an integer's type or bool
WHOLE = {2, 3, 4, 5, 6, 7, 9, 12, 13}
# operators that leave values as they are, whatever their type
MOVING = {"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split"}
MOVING |= {"Concat", "Expand", "Tile", "Pad", "DepthToSpace", "SpaceToDepth", "Gather"}
OF_SHAPES = {"Shape", "Size"}


def read(path: Path, asked: Asked) -> Foreign:
    """Raises WeightsError, in one line, for files that are no models, and for quantized ones."""
    with one_line(path, "an ONNX model"):
        data = mapped(path)
        model = onnx_proto.model(data)
        onnx_quantized.check(model)
        values = Values(Outside(path, asked.external_data), len(data))
        inputs = _inputs(model.graph)
        names = {name for node in model.graph.nodes for name in (*node.inputs, *node.outputs)}
        flat = Flat(model, values, Old(0, values.arrays, names | {*inputs, *model.graph.tensors}))
        operators = flat.graph()
        _check_order(operators, {*inputs, *values.arrays})
        whole = {name: NAMES[value.kind] for name, value in inputs.items() if value.kind in WHOLE}
        unread = [
            name
            for name in model.graph.inputs
            if name not in inputs and name not in model.graph.tensors
        ]
        idle = tuple(f"input {clipped(name)} is read by nothing, and left out" for name in unread)
        told = (*notes(model, whole), *values.notes(), *idle)
        return Foreign(
            "ONNX",
            path.stem,
            tuple(_of_floats(operators, whole)),
            values.arrays,
            {
                name: _with_channels(name, value.shape or (), operators, values.arrays)
                for name, value in inputs.items()
            },
            model.graph.outputs,
            notes=tuple(told),
        )


def _inputs(graph: Graph) -> dict[str, Value]:
    """Inputs that something reads and that are no constants. Raises WeightsError for other than
    tensors of numbers with a known count of axes."""
    read = {name for node in graph.nodes for name in reads(node)} | set(graph.outputs)
    found = {
        name: value
        for name, value in graph.inputs.items()
        if name not in graph.tensors and name in read
    }
    for name, value in found.items():
        kind = value.form if value.form != "tensor" else NAMES.get(value.kind, "another type")
        if value.form != "tensor" or value.kind not in FLOATS | WHOLE:
            raise refuse(f"{name}: an input of {kind}", "tensors of numbers")
        if value.shape is None or len(value.shape) > 8:
            axes = "no stated shape" if value.shape is None else "more than 8 axes"
            raise refuse(
                f"{name}: an input with {axes}",
                "a batch, channels, rows and columns",
                "onnx.shape_inference or the exporter can state it",
            )
    if not found:
        raise refuse("a model without inputs", "one that computes something of an image")
    return found


def _with_channels(
    name: str,
    shape: tuple[int | None, ...],
    operators: Sequence[Operator],
    arrays: Mapping[str, np.ndarray],
) -> tuple[int | None, ...]:
    """The shape; channels that it leaves open are as many as the layers that read them have."""
    if len(shape) < 3 or shape[1] is not None:
        return shape
    for operator in operators:
        weight = arrays.get(operator.inputs[1]) if len(operator.inputs) > 1 else None
        if weight is None or operator.inputs[0] != name or weight.ndim < 1:
            continue
        if operator.kind == "Conv" and weight.ndim == len(shape):
            group = operator.attributes.get("group", 1)
            return (shape[0], weight.shape[1] * group, *shape[2:])
        if operator.kind == "BatchNormalization":
            return (shape[0], len(weight), *shape[2:])
    return shape


def _check_order(operators: Sequence[Operator], known: set[str]) -> None:
    """Raises WeightsError where an operator reads what a later one makes, or makes it again."""
    made = set(known)
    for operator in operators:
        late = [name for name in operator.inputs if name and name not in made]
        if late:
            raise refuse(
                f"{operator.name}: reads {late[0]}, which no node before it makes",
                "nodes in the order in which they compute",
                "onnx.checker.check_model tells more",
            )
        twice = [name for name in operator.outputs if name in made]
        if twice:
            raise refuse(f"{twice[0]}, which two nodes make", "one maker of each tensor")
        made.update(filter(None, operator.outputs))


def _of_floats(operators: Sequence[Operator], whole: dict[str, str]) -> Iterator[Operator]:
    """The operators; those that compute with integers, as their inputs are, under names that say
    so: no layer computes what they do. whole: types of tensors, by name."""
    whole = dict(whole)
    for operator in operators:
        kinds = [whole[name] for name in operator.inputs[:1] if name in whole]
        if operator.kind in MOVING:
            whole.update(dict.fromkeys(operator.outputs, kinds[0]) if kinds else {})
        elif operator.kind == "Cast" and kinds:
            to = operator.attributes.get("to", 1)
            if to not in FLOATS:
                whole[operator.outputs[0]] = NAMES.get(to, f"type {to}")
        elif operator.kind in ("ArgMax", "ArgMin"):
            whole[operator.outputs[0]] = "int64"
        elif operator.kind not in OF_SHAPES:
            kinds = [whole[name] for name in operator.inputs if name in whole]
            if kinds:
                operator = replace(operator, kind=f"{operator.kind} of {kinds[0]}")
                whole.update(dict.fromkeys(filter(None, operator.outputs), kinds[0]))
        yield operator
