"""What a file of words is told, and tells, of the array in it."""

from __future__ import annotations

import math
from dataclasses import dataclass


def file_stem(name: str) -> str:
    """An array's name as files have it: layers' slashes make no folders."""
    return name.replace("/", "_")


@dataclass(frozen=True)
class Array:
    """One array of codes, as it lies in a file.

    name: of the file, without its suffix, such as conv1_2.sum. shape: with layout and tiles, in the
    order of the words; axes: a name for each dimension. bits, signed: of a word. format: the codes'
    fixed-point format in both spellings.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    bits: int
    signed: bool
    format: str

    @property
    def words(self) -> int:
        return math.prod(self.shape)
