"""`.mif`: memory initialization files of Altera's and Intel's tools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from refq.errors import DataError
from refq.hardware.files import text
from refq.hardware.files.array import Array
from refq.hardware.files.digits import BINARY, DECIMAL, HEX, OCTAL, UNSIGNED
from refq.hardware.files.files import ArrayFile, FileWriter, bounded, content, cut_fill
from refq.hardware.files.parsing import (
    BLANKS,
    Passage,
    Reading,
    hidden,
    pieces,
    separator_table,
    tokens,
    without_comments,
    words_in,
)
from refq.hardware.files.words import (
    BIG,
    PLAIN,
    Packing,
    Words,
    hex_lines,
    joined,
    known_words,
    placed,
    scattered,
)

SUFFIX = ".mif"
SINGLE: str | None = None
TEXT = True
BYTE_ORDER = BIG
# entries that are read one by one
MOST_RANGES = 10_000

RADIX = {"HEX": HEX, "BIN": BINARY, "OCT": OCTAL, "UNS": UNSIGNED, "DEC": DECIMAL}
SEPARATORS = separator_table(BLANKS + b":;")
_FIELD = re.compile(rb"\b(ADDRESS_RADIX|DATA_RADIX|DEPTH|WIDTH)\s*=\s*(\w+)\s*;", re.IGNORECASE)
_CONTENT = re.compile(rb"\bCONTENT\s+BEGIN\b", re.IGNORECASE)
_END = re.compile(rb"\bEND\s*;", re.IGNORECASE)
_RANGE = re.compile(rb"\[\s*(\w+)\s*\.\.\s*(\w+)\s*\]|(\w+)")


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
    data = content(path, array)
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
    passage = Passage(body, 1 + data.count(b"\n", 0, begin.end()))
    reading = Reading(path, array, packing)
    words = _in_order(passage, names, reading)
    if words is None:
        words = _in_any_order(passage, names, reading)
    if words is None:
        parts = list(_entries(passage, names, reading))
        reached = max((at + part.codes.size for at, part in parts), default=0)
        words = placed(parts, bounded(reached, array, path))
    return cut_fill(words, array, packing)


def _in_order(passage: Passage, radices: Sequence[str], reading: Reading) -> Words | None:
    """Words of addresses 0, 1, 2, each with one of them, as most tools write; None for others.
    radices: of addresses, of words."""
    if b"[" in passage.text:
        return None
    view, parts = np.frombuffer(passage.text, np.uint8), [known_words(np.zeros(0, np.int64))]
    count, line = 0, passage.line
    for offset, piece in pieces(view, separator_table(b";"), reading.path):
        address = count // reading.packing.lanes
        words = _next_in_order(piece, address, line, radices, reading)
        if words is None:
            return None
        parts.append(words)
        count += words.codes.size
        line += passage.text.count(b"\n", offset, offset + piece.size)
    return joined(parts)


def _next_in_order(
    view: np.ndarray, address: int, line: int, radices: Sequence[str], reading: Reading
) -> Words | None:
    """The words of entries from that address on; None where they are others."""
    starts, stops = tokens(view, SEPARATORS)
    colons, ends = np.flatnonzero(view == ord(":")), np.flatnonzero(view == ord(";"))
    count = colons.size
    if starts.size != 2 * count or ends.size != count:
        return None
    tidy = (starts[::2] < colons) & (colons < starts[1::2]) & (starts[1::2] < ends)
    if not tidy.all() or (starts[2::2] < ends[:-1]).any():
        return None
    plain = Array(reading.array.name, (count,), ("address",), 62, False, "")
    only, between = Passage(hidden(view, starts[1::2], stops[1::2]), line), BLANKS + b":;"
    addresses = words_in(only, between, RADIX[radices[0]], Reading(reading.path, plain, PLAIN))
    if not np.array_equal(addresses.codes, np.arange(address, address + count)):
        return None
    data = Passage(hidden(view, starts[::2], stops[::2]), line)
    return words_in(data, between, RADIX[radices[1]], reading)


def _in_any_order(passage: Passage, radices: Sequence[str], reading: Reading) -> Words | None:
    """Words of single addresses, each with some of them, later ones over earlier ones; None for
    text with ranges, or entries that are none."""
    if b"[" in passage.text or b";" not in passage.text:
        return None
    view = np.frombuffer(passage.text, np.uint8)
    starts, stops = tokens(view, SEPARATORS)
    colons, ends = np.flatnonzero(view == ord(":")), np.flatnonzero(view == ord(";"))
    entry = np.searchsorted(ends, starts)
    tidy = colons.size == ends.size and entry.max(initial=-1) < ends.size
    if not tidy or (np.searchsorted(ends, colons) != np.arange(ends.size)).any():
        return None
    marks = starts < colons[entry]
    if not np.array_equal(entry[marks], np.arange(ends.size)):
        return None
    lanes, between = reading.packing.lanes, BLANKS + b":;"
    plain = Array(reading.array.name, (2 * starts.size,), ("address",), 62, False, "")
    line, most = passage.line, reading.lines - 1
    only = Passage(hidden(view, starts[~marks], stops[~marks]), line)
    addresses = words_in(only, between, RADIX[radices[0]], Reading(reading.path, plain, PLAIN))
    if addresses.unknown.size or not 0 <= addresses.codes.min() <= addresses.codes.max() <= most:
        return None
    data = Passage(hidden(view, starts[marks], stops[marks]), line)
    words = words_in(data, between, RADIX[radices[1]], reading)
    of, first = entry[~marks], np.searchsorted(entry[~marks], np.arange(ends.size))
    places = addresses.codes[of] + np.arange(of.size) - first[of]
    reached = bounded(int(places.max(initial=-1) + 1) * lanes, reading.array, reading.path)
    return scattered(words, (places[:, None] * lanes + np.arange(lanes)).reshape(-1), reached)


def _entries(
    passage: Passage, radices: Sequence[str], reading: Reading
) -> Iterator[tuple[int, Words]]:
    """(first word, words) of entries in any order."""
    line, lanes, count = passage.line, reading.packing.lanes, 0
    if passage.text.count(b";") > MOST_RANGES:
        found = f"{passage.text.count(b';')} entries, some with ranges or no address : data;"
        raise DataError(f"{reading.path}: {found}", f"at most {MOST_RANGES} of such files")
    for entry in passage.text.split(b";"):
        at = line + entry[: len(entry) - len(entry.lstrip())].count(b"\n")
        line += entry.count(b"\n")
        if not entry.strip():
            continue
        place, colon, values = entry.partition(b":")
        match = _RANGE.fullmatch(place.strip())
        if not colon or match is None:
            raise reading.refused(at, _shown(entry), "address : data;")
        try:
            bounds = [int(each, RADIX[radices[0]].base) for each in match.groups() if each]
        except ValueError:
            raise reading.refused(at, f"address {_shown(place)}", radices[0]) from None
        words = words_in(Passage(values, at), BLANKS, RADIX[radices[1]], reading)
        if not 0 <= bounds[0] <= bounds[-1] or bounds[-1] >= max(reading.lines, 1):
            raise reading.refused(at, f"address {bounds[-1]}", f"0 to {reading.lines - 1}")
        if len(bounds) == 2:
            words = _filled(words, (bounds[1] - bounds[0] + 1) * lanes)
        count = bounded(count + words.codes.size, reading.array, reading.path)
        yield bounds[0] * lanes, words


def _shown(text: bytes) -> str:
    return repr(text.strip()[:40].decode("latin-1"))


def _filled(words: Words, size: int) -> Words:
    """The words of a range of addresses: one value, or several over and over."""
    if not words.codes.size:
        return words
    unknown = np.zeros(words.codes.size, bool)
    unknown[words.unknown] = True
    return Words(np.resize(words.codes, size), np.flatnonzero(np.resize(unknown, size)))
