"""`.hex`: bare lines of hex digits, for readers that know no comments."""

from __future__ import annotations

from pathlib import Path

from refq.hardware.files import text
from refq.hardware.files.array import Array
from refq.hardware.files.files import FileWriter, Form, content
from refq.hardware.files.parsing import readmemh
from refq.hardware.files.words import BIG, Packing, Words

SUFFIX = ".hex"
SINGLE: str | None = None
TEXT = True
BYTE_ORDER = BIG

FORM = Form(SUFFIX, text.nothing, text.hex_body, text.nothing, text.group)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the file, exactly."""
    return packing.lines(array.words) * (text.line_width(array, packing) + 1)


def writer(folder: Path, packing: Packing) -> FileWriter:
    return FileWriter(FORM, folder, packing)


def read(path: Path, array: Array, packing: Packing) -> Words:
    """As of .mem files, comments included."""
    return readmemh(content(path), path, array, packing)
