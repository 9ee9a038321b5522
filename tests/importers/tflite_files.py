"""Files of TensorFlow Lite, written by the schema: a FlatBuffer, parents before their parts."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refq.importers.tflite.schema import OPERATORS, TYPES

NUMBERS = {name: number for number, name in TYPES.items()}
CUSTOM = OPERATORS.index("CUSTOM")
# a table is {field: value}: ("i", 3) for a number, an array, a text, a table or a list of tables
Table = Mapping[int, Any]


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray(b"\0\0\0\0TFL3")

    def _align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def part(self, value: Any) -> int:
        if isinstance(value, Mapping):
            return self.table(value)
        if isinstance(value, list):
            return self.tables(value)
        array = np.frombuffer(value.encode(), np.uint8) if isinstance(value, str) else value
        self._align(16)
        self.data += bytes(12)
        begin = len(self.data)
        self.data += struct.pack("<I", len(array)) + array.tobytes() + b"\0"
        return begin

    def tables(self, values: Sequence[Table]) -> int:
        self._align(4)
        begin = len(self.data)
        self.data += struct.pack("<I", len(values)) + bytes(4 * len(values))
        for index, value in enumerate(values):
            self._refer(begin + 4 + 4 * index, self.table(value))
        return begin

    def table(self, fields: Table) -> int:
        self._align(8)
        vtable, count = len(self.data), max(fields, default=-1) + 1
        self.data += bytes(4 + 2 * count)
        self._align(8)
        begin = len(self.data)
        self.data += struct.pack("<i", begin - vtable) + bytes(4)
        waiting = {}
        for number, value in fields.items():
            place = len(self.data)
            struct.pack_into("<H", self.data, vtable + 4 + 2 * number, place - begin)
            if isinstance(value, tuple):
                self.data += struct.pack(f"<{value[0]}", value[1])
                self._align(8)
            else:
                self.data += bytes(8)
                waiting[place] = value
        struct.pack_into("<HH", self.data, vtable, 4 + 2 * count, len(self.data) - begin)
        for place, value in waiting.items():
            self._refer(place, self.part(value))
        return begin

    def _refer(self, place: int, part: int) -> None:
        struct.pack_into("<I", self.data, place, part - place)


@dataclass
class Model:
    """Tensors and operators, one after the other."""

    tensors: list[Table] = field(default_factory=list)
    buffers: list[Table] = field(default_factory=lambda: [{}])
    codes: list[Table] = field(default_factory=list)
    operators: list[Table] = field(default_factory=list)
    graphs: int = 1

    def tensor(
        self,
        shape: Sequence[int],
        kind: str = "float32",
        values: np.ndarray | None = None,
        scales: Table | None = None,
    ) -> int:
        """The number of a tensor; of a constant with values."""
        made = {
            0: np.array(shape, "<i4"),
            1: ("b", NUMBERS[kind]),
            2: ("I", len(self.buffers) if values is not None else 0),
            3: f"t{len(self.tensors)}",
        }
        if values is not None:
            self.buffers.append({0: np.frombuffer(values.tobytes(), np.uint8)})
        self.tensors.append({**made, 4: scales} if scales else made)
        return len(self.tensors) - 1

    def constant(self, values: Any, kind: str = "float32", scales: Table | None = None) -> int:
        array = np.array(values, kind)
        return self.tensor(array.shape, kind, array, scales)

    def add(
        self, kind: str, inputs: Sequence[int], shape: Sequence[int], options: Table | None = None
    ) -> int:
        """One more operator; the number of its output."""
        known = kind in OPERATORS
        number = OPERATORS.index(kind) if known else CUSTOM
        code = {0: ("b", min(number, 127)), 3: ("i", number)}
        self.codes.append(code if known else {**code, 1: kind})
        output = self.tensor(shape)
        self.operators.append(
            {
                0: ("I", len(self.codes) - 1),
                1: np.array(inputs, "<i4"),
                2: np.array([output], "<i4"),
                **({3: ("B", 1), 4: options} if options else {}),
            }
        )
        return output

    def save(self, path: Path, inputs: Sequence[int], outputs: Sequence[int]) -> Path:
        graph = {
            0: self.tensors,
            1: np.array(inputs, "<i4"),
            2: np.array(outputs, "<i4"),
            3: self.operators,
        }
        model = {0: ("I", 3), 1: self.codes, 2: [graph] * self.graphs, 4: self.buffers}
        writer = _Writer()
        struct.pack_into("<I", writer.data, 0, writer.table(model))
        path.write_bytes(writer.data)
        return path
