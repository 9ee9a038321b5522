"""`.mem`: what Verilog's $readmemh reads, with a header of comments."""

from __future__ import annotations

from pathlib import Path

from refq.hardware.files import text
from refq.hardware.files.array import Array
from refq.hardware.files.files import FileWriter, Form, content
from refq.hardware.files.parsing import readmemh
from refq.hardware.files.words import BIG, Packing, Words

SUFFIX = ".mem"
SINGLE: str | None = None
TEXT = True
BYTE_ORDER = BIG


def _header(array: Array, packing: Packing) -> bytes:
    return text.commented(array, packing, "//").encode()


FORM = Form(SUFFIX, _header, text.hex_body, text.nothing, text.group)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the file, exactly."""
    lines = packing.lines(array.words) * (text.line_width(array, packing) + 1)
    return len(_header(array, packing)) + lines


def writer(folder: Path, packing: Packing) -> FileWriter:
    return FileWriter(FORM, folder, packing)


def read(path: Path, array: Array, packing: Packing) -> Words:
    """Hex words as any tool writes them for $readmemh: see refq.hardware.files.parsing."""
    return readmemh(content(path), path, array, packing)
