"""Files of hex words: what the text formats share when they write."""

from __future__ import annotations

import numpy as np

from refq.hardware.files.array import Array
from refq.hardware.files.words import HIGH_FIRST, LITTLE, Packing, hex_lines


def group(array: Array, packing: Packing) -> int:
    """Words in a line."""
    return packing.lanes


def described(array: Array, packing: Packing) -> list[str]:
    """What a reader of the file should know, a line each."""
    shape = " x ".join(map(str, array.shape)) or "1"
    lines = [
        array.name,
        f"format {array.format}, {'signed' if array.signed else 'unsigned'}, {array.bits} bits",
        f"shape {shape}, axes {' '.join(array.axes)}",
        f"{array.words} words in {packing.lines(array.words)} lines, "
        f"{packing.digits(array.bits)} hex digits a word",
    ]
    if packing.lanes > 1:
        end = "left, high" if packing.lane_order == HIGH_FIRST else "right, low"
        lines.append(f"{packing.lanes} lanes, {packing.lane_order}: first word at the {end} end")
    if packing.byte_order == LITTLE:
        lines.append("bytes of a line in little-endian order")
    return lines


def commented(array: Array, packing: Packing, mark: str) -> str:
    """The same as comments."""
    return "".join(f"{mark} {line}\n" for line in described(array, packing))


def hex_body(codes: np.ndarray, line: int, array: Array, packing: Packing) -> np.ndarray:
    """Lines of bare hex digits."""
    return hex_lines(codes, array.bits, packing)


def line_width(array: Array, packing: Packing) -> int:
    """Characters of a line of words, without what surrounds it."""
    return packing.lanes * packing.digits(array.bits)
