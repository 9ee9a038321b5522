"""`.coe`: what Xilinx's memory generators read, in radix 16."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from refq.errors import DataError
from refq.hardware.files import text
from refq.hardware.files.array import Array
from refq.hardware.files.digits import BINARY, DECIMAL, HEX
from refq.hardware.files.files import ArrayFile, FileWriter, cut_fill, text_content
from refq.hardware.files.parsing import BLANKS, Passage, Reading, words_in
from refq.hardware.files.words import BIG, Packing, Words

SUFFIX = ".coe"
SINGLE: str | None = None
TEXT = True
BYTE_ORDER = BIG

RADIX = {b"2": BINARY, b"10": DECIMAL, b"16": HEX}
_RADIX = re.compile(rb"memory_initialization_radix\s*=\s*(\w+)\s*;", re.IGNORECASE)
_VECTOR = re.compile(rb"memory_initialization_vector\s*=", re.IGNORECASE)
_COMMENT = re.compile(rb"^[ \t]*;[^\n]*", re.MULTILINE)


def _header(array: Array, packing: Packing) -> bytes:
    opening = "memory_initialization_radix=16;\nmemory_initialization_vector=\n"
    return (text.commented(array, packing, ";") + opening).encode()


def _body(codes: np.ndarray, line: int, array: Array, packing: Packing) -> np.ndarray:
    """Lines of digits and a comma; the last one ends with a semicolon."""
    lines = text.hex_body(codes, line, array, packing)
    out = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
    out[:, :-2], out[:, -2], out[:, -1] = lines[:, :-1], ord(","), ord("\n")
    if line + len(lines) == packing.lines(array.words):
        out[-1, -2] = ord(";")
    return out


def _footer(array: Array, packing: Packing) -> bytes:
    return b"" if array.words else b";\n"


FILE = ArrayFile(SUFFIX, _body, _header, _footer, text.group)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the file, exactly."""
    lines = packing.lines(array.words) * (text.line_width(array, packing) + 2)
    return len(_header(array, packing)) + lines + len(_footer(array, packing))


def writer(folder: Path, packing: Packing) -> FileWriter:
    return FileWriter(FILE, folder, packing)


def read(path: Path, array: Array, packing: Packing) -> Words:
    """Radix 2, 10 or 16; values between commas or blanks; lines that begin with ; are comments.
    Decimal numbers are taken as they are, others as words."""
    data = text_content(path, array)
    # a comment before the vector is a whole line; in the vector, ; ends it
    radix, vector = _RADIX.search(_COMMENT.sub(b"", data[: 1 << 16])), _VECTOR.search(data)
    if radix is None or vector is None:
        missing = "vector" if radix else "radix"
        raise DataError(f"{path}: no memory_initialization_{missing}", "a .coe file")
    if radix[1] not in RADIX:
        raise DataError(f"{path}: radix {radix[1].decode('latin-1')}", "2, 10 or 16")
    line = 1 + data.count(b"\n", 0, vector.end())
    body = data[vector.end() :]
    if b"\n" in body and b";" in body[:-3]:
        body = _COMMENT.sub(b"", body)
    body, end, rest = body.partition(b";")
    if rest.partition(b"\n")[2].strip():
        raise DataError(f"{path}: text after the ; that ends the vector", "nothing but comments")
    passage, reading = Passage(body, line, ended=bool(end)), Reading(path, array, packing)
    words = words_in(passage, BLANKS + b",", RADIX[radix[1]], reading)
    return cut_fill(words, array, packing)
