"""`.hex`: bare lines of hex digits, for readers that know no comments."""

from __future__ import annotations

from pathlib import Path

from refq.exporters import text
from refq.exporters.array import Array
from refq.exporters.files import FileWriter, Form, content
from refq.exporters.parsing import readmemh
from refq.exporters.words import BIG, Packing, Words

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
