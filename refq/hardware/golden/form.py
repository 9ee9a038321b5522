"""How the arrays of a golden set become files."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from refq.hardware.files import file_format
from refq.hardware.files.array import Array, file_stem
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing
from refq.hardware.golden.arrays import PARAMETER, TENSOR, GoldenArray

# of parameters: outputs, inputs, rows, columns
AXES = {TENSOR: "NCHW", PARAMETER: "OIYX"}


@dataclass(frozen=True)
class Form:
    """A file format by its command-line name, a layout, a packing."""

    format: str
    layout: Layout
    packing: Packing

    @property
    def module(self) -> ModuleType:
        return file_format(self.format)

    def stored(self, array: GoldenArray) -> Array:
        """The array as it lies in its file."""
        axes = tuple(AXES[array.kind][: len(array.shape)])
        return Array(
            file_stem(array.name),
            self.layout.stored_shape(array.shape),
            self.layout.stored_axes(axes),
            array.bits,
            array.signed,
            array.format,
        )

    def file(self, array: GoldenArray) -> str:
        """The name of the file that an array lies in."""
        name: str = self.module.SINGLE or f"{file_stem(array.name)}{self.module.SUFFIX}"
        return name
