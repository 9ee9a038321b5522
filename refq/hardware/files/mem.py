"""`.mem`: what Verilog's $readmemh reads, with a header of comments."""

from __future__ import annotations

import re
from pathlib import Path

from refq.hardware.files import text
from refq.hardware.files.array import Array
from refq.hardware.files.digits import HEX
from refq.hardware.files.files import ArrayFile, FileWriter, bounded, content, cut_fill
from refq.hardware.files.parsing import BLANKS, COMMENT, Passage, Reading, shown, without, words_in
from refq.hardware.files.words import BIG, Packing, Words, placed

SUFFIX = ".mem"
SINGLE: str | None = None
TEXT = True
BYTE_ORDER = BIG


def _header(array: Array, packing: Packing) -> bytes:
    return text.commented(array, packing, "//").encode()


FILE = ArrayFile(SUFFIX, text.hex_body, _header, group=text.group)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the file, exactly."""
    lines = packing.lines(array.words) * (text.line_width(array, packing) + 1)
    return len(_header(array, packing)) + lines


def writer(folder: Path, packing: Packing) -> FileWriter:
    return FileWriter(FILE, folder, packing)


def read(path: Path, array: Array, packing: Packing) -> Words:
    """Words as any tool writes them for $readmemh: comments, addresses (@ and hex digits, in lines
    of the memory), underscores, digits x and z, blanks and lines as they please."""
    data, reading = content(path), Reading(path, array, packing)
    if b"/" in data:
        data = without(COMMENT, data)
    if b"_" in data:
        data = data.replace(b"_", b"")
    if b"@" in data:
        return cut_fill(_addressed(data, reading), array, packing)
    return cut_fill(words_in(Passage(data), BLANKS, HEX, reading), array, packing)


def _addressed(data: bytes, reading: Reading) -> Words:
    """Words between addresses; those at no address are unknown."""
    pieces = re.split(rb"@([^\s@]*)", data)
    parts: list[tuple[int, Words]] = []
    line, reached, lanes = 1, 0, reading.packing.lanes
    for place, lines in zip([b"0", *pieces[1::2]], pieces[::2]):
        if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", place):
            raise reading.refused(line, f"address @{shown(place)}", "hex digits")
        first = int(place, 16)
        if first > reading.lines:
            most = f"at most {reading.lines:x}, the number of lines"
            raise reading.refused(line, f"address @{shown(place)}", most)
        words = words_in(Passage(lines, line), BLANKS, HEX, reading)
        parts.append((first * lanes, words))
        reached = max(reached, first * lanes + words.codes.size)
        line += lines.count(b"\n")
    return placed(parts, bounded(reached, reading.array, reading.path))
