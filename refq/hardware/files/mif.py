"""`.mif`: memory initialization files of Altera's and Intel's tools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from refq.errors import DataError
from refq.hardware.files import text
from refq.hardware.files.array import Array
from refq.hardware.files.digits import BINARY, DECIMAL, HEX, OCTAL, UNSIGNED
from refq.hardware.files.files import ArrayFile, FileWriter, bounded, cut_fill, text_content
from refq.hardware.files.parsing import (
    BLANKS,
    PIECE,
    Passage,
    Reading,
    hidden,
    separator_table,
    shown,
    tokens,
    without_comments,
    words_in,
)
from refq.hardware.files.words import BIG, PLAIN, Packing, Words, hex_lines, looked_up

SUFFIX = ".mif"
SINGLE: str | None = None
TEXT = True
BYTE_ORDER = BIG

RADIX = {"HEX": HEX, "BIN": BINARY, "OCT": OCTAL, "UNS": UNSIGNED, "DEC": DECIMAL}
SIGNS = b":;[.]"
SEPARATORS = separator_table(BLANKS + SIGNS)
_SIGNS, WORD = separator_table(b""), ord("w")
_SIGNS[list(SIGNS)] = list(SIGNS)
_FIELD = re.compile(rb"\b(ADDRESS_RADIX|DATA_RADIX|DEPTH|WIDTH)\s*=\s*(\w+)\s*;", re.IGNORECASE)
_CONTENT = re.compile(rb"\bCONTENT\s+BEGIN\b", re.IGNORECASE)
_END = re.compile(rb"\bEND\s*;", re.IGNORECASE)
# where an entry begins that is neither empty nor address : data; of signs, and w for anything else
_WRONG = re.compile(rb"(?<![^;])(?!(?:(?:w|\[w\.\.w\]):w*)?;).", re.DOTALL)


def _digits(array: Array, packing: Packing) -> int:
    """Hex digits of the largest address."""
    return max(1, -(-max(0, packing.lines(array.words) - 1).bit_length() // 4))


def _header(array: Array, packing: Packing) -> bytes:
    width = (
        packing.lanes * array.bits if packing.lanes == 1 else 4 * text.line_width(array, packing)
    )
    return (
        text.commented(array, packing, "--")
        + f"WIDTH={width};\nDEPTH={packing.lines(array.words)};\n"
        + "ADDRESS_RADIX=HEX;\nDATA_RADIX=HEX;\nCONTENT BEGIN\n"
    ).encode()


def _body(codes: np.ndarray, line: int, array: Array, packing: Packing) -> np.ndarray:
    """`00f : 2a;`"""
    lines, digits = text.hex_body(codes, line, array, packing), _digits(array, packing)
    addresses = hex_lines(np.arange(line, line + len(lines)), 4 * digits)
    out = np.empty((len(lines), digits + 3 + lines.shape[1] + 1), np.uint8)
    out[:, :digits] = addresses[:, :-1]
    out[:, digits : digits + 3] = np.frombuffer(b" : ", np.uint8)
    out[:, digits + 3 : -2], out[:, -2], out[:, -1] = lines[:, :-1], ord(";"), ord("\n")
    return out


def _footer(array: Array, packing: Packing) -> bytes:
    return b"END;\n"


FILE = ArrayFile(SUFFIX, _body, _header, _footer, text.group)


def size(array: Array, packing: Packing) -> int:
    """Bytes of the file, exactly."""
    line = _digits(array, packing) + 3 + text.line_width(array, packing) + 2
    ends = len(_header(array, packing)) + len(_footer(array, packing))
    return ends + packing.lines(array.words) * line


def writer(folder: Path, packing: Packing) -> FileWriter:
    return FileWriter(FILE, folder, packing)


def read(path: Path, array: Array, packing: Packing) -> Words:
    """Radices HEX, BIN, OCT, UNS, DEC; ranges of addresses; several words after an address;
    comments. Words at no address are unknown. DEC numbers are taken as they are."""
    data = text_content(path, array)
    if b"--" in data or b"%" in data:
        data = without_comments(data, b"--", b"%", b"%")
    begin = _CONTENT.search(data)
    if begin is None:
        raise DataError(f"{path}: no CONTENT BEGIN", "a .mif file")
    fields = {
        key.decode().upper(): value.decode("latin-1").upper()
        for key, value in _FIELD.findall(data[: begin.start()])
    }
    names = [fields.get(key, "HEX") for key in ("ADDRESS_RADIX", "DATA_RADIX")]
    for name in names:
        if name not in RADIX:
            raise DataError(f"{path}: radix {name}", f"one of {', '.join(RADIX)}")
    end = _END.search(data, max(begin.end(), len(data) - 200)) or _END.search(data, begin.end())
    # in a file that was cut off, what has no semicolon is no word
    body = data[begin.end() : end.start() if end else max(begin.end(), data.rfind(b";") + 1)]
    passage = Passage(body + b";", 1 + data.count(b"\n", 0, begin.end()))
    return cut_fill(_words(passage, names, Reading(path, array, packing)), array, packing)


@dataclass(frozen=True)
class _Entries:
    """Entries as they follow each other in a file. places: int64 (entries,), the first word of
    each; sizes: how many words it fills; counts: how many it gives for that, over and over. words:
    all that are given."""

    places: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    words: Words

    def fill(self, codes: np.ndarray, unknown: np.ndarray) -> None:
        """Writes all words, later ones over earlier ones, and which of them are unknown."""
        entry = np.repeat(np.arange(self.sizes.size), self.sizes)
        step = np.arange(entry.size) - (np.cumsum(self.sizes) - self.sizes)[entry]
        given = (np.cumsum(self.counts) - self.counts)[entry] + step % self.counts[entry]
        places = self.places[entry] + step
        flags = np.zeros(self.words.codes.size, bool)
        flags[self.words.unknown] = True
        codes[places], unknown[places] = self.words.codes[given], flags[given]


def _words(passage: Passage, radices: Sequence[str], reading: Reading) -> Words:
    """The words of all entries; those that none fills are unknown. radices: of addresses, of
    words."""
    parts, count, line = [], 0, passage.line
    for piece in _pieces(passage.text):
        parts.append(_entries(Passage(piece, line), radices, reading))
        count = bounded(count + int(parts[-1].sizes.sum()), reading.array, reading.path)
        line += piece.count(b"\n")
    reached = max(int((part.places + part.sizes).max(initial=0)) for part in parts)
    size = bounded(reached, reading.array, reading.path)
    codes, unknown = np.zeros(size, np.int64), np.ones(size, bool)
    for part in parts:
        part.fill(codes, unknown)
    return Words(codes, np.flatnonzero(unknown))


def _pieces(text: bytes) -> Iterator[bytes]:
    """Text in pieces that end with an entry, longer ones where an entry is."""
    begin = 0
    while begin < len(text):
        end = text.rfind(b";", begin, begin + PIECE) + 1 or text.find(b";", begin + PIECE) + 1
        yield text[begin:end]
        begin = end


def _entries(passage: Passage, radices: Sequence[str], reading: Reading) -> _Entries:
    """The entries of a piece. Raises DataError for what is none, naming its line."""
    view = np.frombuffer(passage.text, np.uint8)
    starts, stops = tokens(view, SEPARATORS)
    shape = looked_up(view, _SIGNS).copy()
    shape[starts] = WORD
    dots = np.pad(view == ord("."), 1)
    shape[dots[1:-1] & ~dots[:-2] & ~dots[2:]] = ord("?")  # one alone: no part of a range
    at = np.flatnonzero(shape)
    shape = shape[at]
    if wrong := _WRONG.search(shape.tobytes()):
        begin = int(at[wrong.start()])
        found = shown(passage.text[begin : passage.text.index(b";", begin)].rstrip())
        raise reading.refused(passage.line_of(begin), found, "address : data;")
    before = np.append(np.uint8(ord(";")), shape[:-1])[shape == WORD]
    last, data = before == ord("."), (before == ord(":")) | (before == WORD)
    entry = np.cumsum(~(last | data)) - 1
    only = replace(passage, text=hidden(view, starts[data], stops[data]))
    bounds = _bounds(only, (starts[~data], stops[~data], last[~data]), radices[0], reading)
    only = replace(passage, text=hidden(view, starts[~data], stops[~data]))
    words = words_in(only, BLANKS + SIGNS, RADIX[radices[1]], reading)
    lanes = reading.packing.lanes
    counts = lanes * np.bincount(entry[data], minlength=len(bounds))
    sizes, ranges = counts.copy(), entry[last]
    sizes[ranges] = lanes * (bounds[ranges, 1] - bounds[ranges, 0] + 1) * (counts[ranges] > 0)
    return _Entries(bounds[:, 0] * lanes, sizes, counts, words)


def _bounds(
    passage: Passage, found: Sequence[np.ndarray], radix: str, reading: Reading
) -> np.ndarray:
    """First and last address of each entry, int64 (entries, 2). found: where addresses start and
    stop, and which of them are the last of a range."""
    starts, stops, last = found
    plain = Array(reading.array.name, starts.shape, ("address",), 62, False, "")
    addresses = words_in(passage, BLANKS + SIGNS, RADIX[radix], Reading(reading.path, plain, PLAIN))
    for place in addresses.unknown[:1]:
        address = shown(passage.text[starts[place] : stops[place]])
        line = passage.line_of(int(starts[place]))
        raise reading.refused(line, f"address {address}", f"a {RADIX[radix].name} number")
    bounds = addresses.codes[~last].repeat(2).reshape(-1, 2)
    bounds[(np.cumsum(~last) - 1)[last], 1] = addresses.codes[last]
    most = max(reading.lines, 1) - 1
    beyond = (bounds < 0) | (bounds > most)
    beyond[:, 1] |= bounds[:, 0] > bounds[:, 1]
    for entry in np.flatnonzero(beyond.any(axis=1))[:1]:
        low, high = bounds[entry]
        line = passage.line_of(int(starts[~last][entry]))
        if low > high:
            raise reading.refused(line, f"addresses {low}..{high}", "the lower one first")
        raise reading.refused(line, f"address {low if low < 0 else high}", f"0 to {most}")
    return bounds
