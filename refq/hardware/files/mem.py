"""`.mem`: what Verilog's $readmemh reads, with a header of comments."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refq.hardware.files import text
from refq.hardware.files.array import Array
from refq.hardware.files.digits import HEX
from refq.hardware.files.files import ArrayFile, FileWriter, bounded, cut_fill, text_content
from refq.hardware.files.parsing import (
    BLANKS,
    Passage,
    Reading,
    hidden,
    separator_table,
    shown,
    tokens,
    without_comments,
    words_in,
)
from refq.hardware.files.words import BIG, Packing, Words, from_hex, scattered, worths

SUFFIX = ".mem"
SINGLE: str | None = None
TEXT = True
BYTE_ORDER = BIG
# of an address
MOST_DIGITS = 17


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
    data, reading = text_content(path, array), Reading(path, array, packing)
    if b"/" in data:
        data = without_comments(data, b"//", b"/*", b"*/")
    if b"_" in data:
        data = data.replace(b"_", b"")
    if b"@" in data:
        return cut_fill(_addressed(data, reading), array, packing)
    return cut_fill(words_in(Passage(data), BLANKS, HEX, reading), array, packing)


def _addressed(data: bytes, reading: Reading) -> Words:
    """Words between addresses, later ones over earlier ones; those at no address are unknown."""
    view = np.frombuffer(data.replace(b"@", b" @"), np.uint8)
    starts, stops = tokens(view, separator_table(BLANKS))
    marks = view[starts] == ord("@")
    addresses = _addresses(view, starts[marks], stops[marks], reading)
    words = words_in(Passage(hidden(view, starts[marks], stops[marks])), BLANKS, HEX, reading)
    # the address before each line of words, and how many lines there are since
    lanes, lines = reading.packing.lanes, words.codes.size // reading.packing.lanes
    before = np.cumsum(marks)[~marks][:lines]
    begins = np.cumsum(np.concatenate([[False], ~marks]))[np.flatnonzero(marks)]
    since = np.arange(lines) - np.concatenate([[0], begins])[before]
    places = np.concatenate([[0], addresses])[before] + since
    reached = bounded(int(places.max(initial=-1) + 1) * lanes, reading.array, reading.path)
    return scattered(words, (places[:, None] * lanes + np.arange(lanes)).reshape(-1), reached)


def _addresses(
    view: np.ndarray, starts: np.ndarray, stops: np.ndarray, reading: Reading
) -> np.ndarray:
    """The addresses that tokens are, int64. Raises DataError for what is none within the memory."""
    lengths, most = stops - starts, reading.lines
    digits = np.full((starts.size, MOST_DIGITS), ord("0"), np.uint8)
    for place in range(1, min(MOST_DIGITS, lengths.max()) + 1):
        digits[:, -place] = np.where(lengths > place, view[stops - place], ord("0"))
    found = from_hex(digits, 62, False)
    wrong = (lengths < 2) | (lengths > MOST_DIGITS)
    codes = np.zeros(starts.size, np.int64) if found is None else found.codes
    if found is None:
        wrong |= (worths(digits) > 15).any(axis=1)
    else:
        wrong[found.unknown] = True
    for bad, wanted in (
        (wrong, "hex digits"),
        (codes > most, f"at most {most:x}, the number of lines"),
    ):
        if bad.any():
            at = int(bad.argmax())
            line = 1 + view[: starts[at]].tobytes().count(b"\n")
            name = shown(view[starts[at] + 1 : stops[at]].tobytes())
            raise reading.refused(line, f"address @{name}", wanted)
    return codes
