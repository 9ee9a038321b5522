"""`.h`: an array as C source, with its shape and format as macros."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from refq.errors import DataError
from refq.hardware.files.array import Array
from refq.hardware.files.digits import DECIMAL
from refq.hardware.files.files import ArrayFile, FileWriter, bounded, text_content
from refq.hardware.files.parsing import (
    BLANKS,
    Passage,
    Reading,
    separator_table,
    tokens,
    without_comments,
    words_in,
)
from refq.hardware.files.words import BIG, PLAIN, Packing, Words, container, known_words

SUFFIX = ".h"
SINGLE: str | None = None
TEXT = False
BYTE_ORDER = BIG

ACROSS = 12
# characters of a number: what is longer is none below 2**63
LONGEST_NUMBER = 99
_FRACTION = re.compile(r"fxp-[su]\d+/(-?\d+) = ")
# braces between dimensions, and the letters after a number that tell its type
_BETWEEN = BLANKS + b",{}uUlL"


def identifier(array: Array) -> str:
    """The array's name in C."""
    name = re.sub(r"\W", "_", array.name, flags=re.ASCII)
    return f"_{name}" if name[0].isdigit() else name


def _header(array: Array, packing: Packing) -> bytes:
    name = identifier(array)
    macro, fraction = name.upper(), _FRACTION.match(array.format)
    axes = [re.sub(r"\W", "_", axis, flags=re.ASCII).upper() for axis in array.axes]
    shape = list(zip(axes, array.shape))
    if len(set(axes)) < len(axes):
        shape = [(f"DIM{i}", length) for i, length in enumerate(array.shape)]
    numbers = [
        *shape,
        ("SIZE", array.words),
        ("BITS", array.bits),
        ("SIGNED", int(array.signed)),
        *([("FRAC_BITS", int(fraction[1]))] if fraction else []),
    ]
    kind = container(array.bits, array.signed)
    c_type = f"{'int' if array.signed else 'uint'}{8 * kind.itemsize}_t"
    product = " * ".join(map(str, array.shape)) or "1"
    lines = [
        f"/* {array.name}: {array.format}; axes {' '.join(array.axes)} */",
        f"#ifndef REFQ_{macro}_H",
        f"#define REFQ_{macro}_H",
        "",
        "#include <stdint.h>",
        "",
        *(f"#define {macro}_{key} {number}" for key, number in numbers),
        "",
        f"static const {c_type} {name}[{product}] = {{",
    ]
    return ("\n".join(lines) + "\n").encode()


def _width(array: Array) -> int:
    """Characters of the longest code."""
    if array.signed:
        return len(str(-(1 << (array.bits - 1))))
    return len(str((1 << array.bits) - 1))


def decimal_columns(codes: np.ndarray, width: int) -> np.ndarray:
    """Integers as decimal numbers, uint8 (codes, width), blanks on the left."""
    wide = codes.astype(np.int64)
    negative = wide < 0
    left = np.abs(wide).astype(np.uint64 if width > 9 else np.uint32)
    out = np.full((codes.size, width), ord(" "), np.uint8)
    out[:, -1] = ord("0")
    filled = np.ones(codes.size, np.int64)
    for place in range(1, width + 1):
        rest = left // 10
        digit = (left - rest * 10).astype(np.uint8) + np.uint8(ord("0"))
        here = left > 0
        out[:, -place] = np.where(here, digit, out[:, -place])
        filled = np.where(here, place, filled)
        left = rest
        if not left.any():
            break
    signed = np.flatnonzero(negative)
    out[signed, width - 1 - filled[signed]] = ord("-")
    return out


def _body(codes: np.ndarray, line: int, array: Array, packing: Packing) -> np.ndarray:
    """Twelve numbers a line, in columns."""
    width = _width(array)
    rows = -(-codes.size // ACROSS)
    out = np.full((rows * ACROSS, width + 2), ord(" "), np.uint8)
    out[: codes.size, 1:-1] = decimal_columns(codes, width)
    out[: codes.size, -1] = ord(",")
    lines = np.full((rows, 3 + ACROSS * (width + 2) + 1), ord(" "), np.uint8)
    lines[:, 3:-1], lines[:, -1] = out.reshape(rows, -1), ord("\n")
    return lines


def _footer(array: Array, packing: Packing) -> bytes:
    return f"}};\n\n#endif /* REFQ_{identifier(array).upper()}_H */\n".encode()


def _group(array: Array, packing: Packing) -> int:
    return ACROSS


FILE = ArrayFile(SUFFIX, _body, _header, _footer, _group)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the file, exactly."""
    line = 3 + ACROSS * (_width(array) + 2) + 1
    ends = len(_header(array, packing)) + len(_footer(array, packing))
    return ends + -(-array.words // ACROSS) * line


def writer(folder: Path, packing: Packing) -> FileWriter:
    return FileWriter(FILE, folder, packing)


def read(path: Path, array: Array, packing: Packing) -> Words:
    """The initializer of the array of that name, or of the only one: decimal or hex numbers between
    braces, as they are."""
    data = without_comments(text_content(path, array), b"//", b"/*", b"*/")
    begin = _initializer(data, path, array)
    reading = Reading(path, array, PLAIN)
    end = re.compile(rb"\}\s*;").search(data, begin)
    body = data[begin : end.start() if end else len(data)]
    passage = Passage(body, 1 + data.count(b"\n", 0, begin), ended=end is not None)
    if b"x" in body or b"X" in body:
        return _mixed(passage, reading)
    if octal := re.search(rb"(?<![\w.])0\d", body):
        line, found = passage.line_of(octal.start()), "a number that begins with 0"
        raise reading.refused(line, found, "decimal or 0x...")
    return words_in(passage, _BETWEEN, DECIMAL, reading)


def _initializer(data: bytes, path: Path, array: Array) -> int:
    """Where the numbers begin."""
    name = re.escape(identifier(array).encode())
    # a dimension is a short expression: what has no end is not looked for through the whole file
    match = re.search(rb"\b" + name + rb"\s{0,99}(\[[^\[\]]{0,999}\]\s{0,99})*=\s*\{", data)
    if match is None:
        several = list(re.finditer(rb"\]\s{0,99}=\s{0,99}\{", data))
        if len(several) != 1:
            raise DataError(f"{path}: {len(several)} arrays, none {identifier(array)}", "one")
        match = several[0]
    return match.end()


def _mixed(passage: Passage, reading: Reading) -> Words:
    """Numbers of which some are hex, one by one: nobody writes millions of them so."""
    text = passage.text
    starts, stops = tokens(np.frombuffer(text, np.uint8), separator_table(_BETWEEN))
    bounded(starts.size, reading.array, reading.path)
    codes = np.zeros(starts.size, np.int64)
    for i, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist())):
        try:
            codes[i] = int(text[start : min(stop, start + LONGEST_NUMBER)], 0)
        except (ValueError, OverflowError):
            found = text[start : start + 40].split()[0].decode("latin-1")
            line, expected = passage.line_of(start), "a number below 2**63"
            raise reading.refused(line, repr(found), expected) from None
    return known_words(codes)
