"""`.hex`: bare lines of hex digits, for readers that know no comments."""

from __future__ import annotations

from pathlib import Path

from refq.hardware.files import mem, text
from refq.hardware.files.array import Array
from refq.hardware.files.files import ArrayFile, FileWriter
from refq.hardware.files.words import BIG, Packing, Words

SUFFIX = ".hex"
SINGLE: str | None = None
TEXT = True
BYTE_ORDER = BIG

FILE = ArrayFile(SUFFIX, text.hex_body, group=text.group)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the file, exactly."""
    return packing.lines(array.words) * (text.line_width(array, packing) + 1)


def writer(folder: Path, packing: Packing) -> FileWriter:
    return FileWriter(FILE, folder, packing)


def read(path: Path, array: Array, packing: Packing) -> Words:
    """As of .mem files, comments included."""
    return mem.read(path, array, packing)
