"""What is in a TensorFlow Lite file: tensors, operators, constants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refq.importers import flatbuffer
from refq.importers.contents import LARGEST, MOST, mapped, refuse
from refq.importers.flatbuffer import Data, Table
from refq.importers.tflite.schema import CUSTOM, OPERATORS, READABLE, TYPES

MOST_AXES = 8
LARGEST_AXIS = 1 << 30


@dataclass(frozen=True)
class Tensor:
    """shape: with 1 for sizes that are open. open: axes whose size the file leaves open. begin,
    end: where its values lie; equal for one that is computed. scales: how many it is quantized
    by."""

    index: int
    name: str
    shape: tuple[int, ...]
    open: tuple[int, ...]
    kind: str
    begin: int
    end: int
    scales: int
    sparse: bool
    quantized: Table | None = None

    @property
    def constant(self) -> bool:
        return self.end > self.begin

    def __str__(self) -> str:
        return f"{self.name or f'tensor {self.index}'} ({self.kind})"


@dataclass(frozen=True)
class Node:
    """An operator. custom: the name of one that is not TensorFlow Lite's own. inputs, outputs:
    numbers of tensors, -1 for one that is left out."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    custom: bool = False

    def number(self, field: int, form: str = "i", default: float = 0) -> float:
        """A field of the options."""
        made: float = self.options.number(field, form, default) if self.options else default
        return made

    def whole(self, field: int, form: str = "i", default: int = 0) -> int:
        return int(self.number(field, form, default))


@dataclass(frozen=True)
class Model:
    data: Data
    name: str
    tensors: Sequence[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nodes: Sequence[Node]
    subgraphs: int

    def values(self, tensor: Tensor) -> np.ndarray:
        """A constant: numbers as the file stores them, halves and quantized ones as float32."""
        if tensor.kind not in READABLE or tensor.sparse:
            how = "sparse" if tensor.sparse else "of no numbers that refq reads"
            raise refuse(f"{tensor}: {how}", "plain numbers")
        bits = np.dtype("<u2" if tensor.kind == "bfloat16" else tensor.kind)
        count = math.prod(tensor.shape)
        if count * bits.itemsize > LARGEST or count * bits.itemsize != tensor.end - tensor.begin:
            told = f"{tensor.end - tensor.begin:,} bytes for {count:,} values"
            raise refuse(f"{tensor}: {told}", "as many as its shape says")
        flat = np.frombuffer(self.data, bits.newbyteorder("<"), count, tensor.begin)
        if tensor.kind == "bfloat16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        if tensor.kind in ("float16", "float64"):
            flat = flat.astype(np.float32)
        values = flat.reshape(tensor.shape)
        return _floats(tensor, values) if tensor.scales and flat.dtype.kind in "iu" else values


def _floats(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """(value - zero point) scale, one of each for all or for each place along an axis."""
    assert tensor.quantized is not None
    scales = np.array(tensor.quantized.numbers(2, "<f4"), np.float32)
    zeros = np.array(tensor.quantized.numbers(3, "<i8") or [0], np.int64)
    axis = tensor.quantized.number(6, "i")
    wide = len(scales) > 1
    good = values.ndim > axis >= 0 and len(scales) == values.shape[axis] if wide else True
    if not good or len(zeros) not in (1, len(scales)) or not np.isfinite(scales).all():
        raise refuse(f"{tensor}: {len(scales)} scales of axis {axis}", "one for each place of it")
    shape = [-1 if i == axis else 1 for i in range(values.ndim)] if wide else []
    zero = zeros.reshape(shape if len(zeros) > 1 else [])
    return ((values.astype(np.int64) - zero) * scales.reshape(shape)).astype(np.float32)


def opened(path: Path) -> Model:
    """Raises WeightsError for a file that is damaged."""
    data = mapped(path)
    root = flatbuffer.root(data)
    graphs = list(root.tables(2))
    if not graphs:
        raise refuse("a TensorFlow Lite file without a graph", "a model")
    codes = [_code(table) for table in root.tables(1)]
    buffers = [_place(data, table) for table in root.tables(4)]
    graph = graphs[0]
    tensors = [_tensor(table, index, buffers) for index, table in enumerate(graph.tables(0))]
    nodes = [_node(table, index, codes) for index, table in enumerate(graph.tables(3))]
    ends = [tuple(graph.numbers(field, "<i4")) for field in (1, 2)]
    for node in nodes:
        _check(node.inputs, len(tensors), f"operator {node.index} ({node.kind})", -1)
        _check(node.outputs, len(tensors), f"operator {node.index} ({node.kind})", 0)
    for word, numbers in zip(("inputs", "outputs"), ends):
        _check(numbers, len(tensors), f"the model's {word}", 0)
    return Model(data, graph.text(4), tensors, ends[0], ends[1], nodes, len(graphs))


def _check(numbers: Sequence[int], count: int, what: str, least: int) -> None:
    for number in numbers:
        if not least <= number < count:
            raise refuse(f"{what}: tensor {number}", f"{least} to {count - 1}")
    if len(numbers) > MOST:
        raise refuse(f"{what}: {len(numbers):,} tensors", f"{MOST:,} or less")


def _code(table: Table) -> tuple[str, bool]:
    """(name, whether it is a custom operator): its number grew out of the first field."""
    number = max(table.number(0, "b"), table.number(3, "i"))
    if number == CUSTOM:
        return table.text(1) or "CUSTOM", True
    known = 0 <= number < len(OPERATORS)
    return (OPERATORS[number] if known else f"operator {number}"), not known


def _place(data: Data, table: Table) -> tuple[int, int]:
    """(begin, end) of a buffer's bytes, in the file's end where they do not fit into it else."""
    begin, count = table.vector(0, 1)
    if not count:
        begin, count = table.number(1, "Q"), table.number(2, "Q")
        if begin <= 1:  # 1 for one that is empty
            return 0, 0
    if begin + count > len(data):
        raise refuse("a buffer beyond the end of the file", "a complete file")
    return begin, begin + count


def _tensor(table: Table, index: int, buffers: Sequence[tuple[int, int]]) -> Tensor:
    # of operators that a converter has joined, the last comes first
    name, kind = (
        table.text(3).partition(";")[0],
        TYPES.get(table.number(1, "b"), "of an unknown type"),
    )
    shape, signature = table.numbers(0, "<i4"), table.numbers(7, "<i4")
    place = table.number(2, "I")
    if place >= len(buffers):
        raise refuse(f"{name}: buffer {place}", f"one of {len(buffers)}")
    if len(shape) > MOST_AXES or not all(0 <= size < LARGEST_AXIS for size in shape):
        raise refuse(f"{name}: shape {shape[:MOST_AXES]}", f"sizes of up to {MOST_AXES} axes")
    same = len(signature) == len(shape)
    quantized = table.table(4)
    return Tensor(
        index=index,
        name=name,
        shape=tuple(shape),
        open=tuple(i for i, size in enumerate(signature) if size < 0) if same else (),
        kind=kind,
        begin=buffers[place][0],
        end=buffers[place][1],
        scales=quantized.vector(2, 4)[1] if quantized else 0,
        sparse=table.table(6) is not None,
        quantized=quantized,
    )


def _node(table: Table, index: int, codes: Sequence[tuple[str, bool]]) -> Node:
    code = table.number(0, "I")
    if code >= len(codes):
        raise refuse(f"operator {index}: code {code}", f"one of {len(codes)}")
    kind, custom = codes[code]
    inputs, outputs = (tuple(table.numbers(field, "<i4")) for field in (1, 2))
    return Node(index, kind, inputs, outputs, None if custom else table.table(4), custom)


def readers(model: Model) -> Mapping[int, list[Node]]:
    """{tensor: operators that read it}."""
    found: dict[int, list[Node]] = {}
    for node in model.nodes:
        for number in dict.fromkeys(node.inputs):
            found.setdefault(number, []).append(node)
    return found
