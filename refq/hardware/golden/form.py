"""How the arrays of a golden set become files."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from refq.hardware.files.array import Array, file_stem
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing
from refq.hardware.golden.arrays import PARAMETER, TENSOR, GoldenArray

# of parameters: outputs, inputs, rows, columns
AXES = {TENSOR: "NCHW", PARAMETER: "OIYX"}


@dataclass(frozen=True)
class Form:
    """An exporter and its command-line name, a layout, a packing."""

    exporter: ModuleType
    name: str
    layout: Layout
    packing: Packing

    def array(self, own: GoldenArray) -> Array:
        """The array as it lies in its file."""
        axes = tuple(AXES[own.kind][: len(own.shape)])
        return Array(
            file_stem(own.name),
            self.layout.stored_shape(own.shape),
            self.layout.stored_axes(axes),
            own.bits,
            own.signed,
            own.format,
        )

    def file(self, own: GoldenArray) -> str:
        """The file that an array lies in."""
        name: str = self.exporter.SINGLE or f"{file_stem(own.name)}{self.exporter.SUFFIX}"
        return name
