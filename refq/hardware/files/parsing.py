"""Text to words, whoever wrote it: runs of characters between separators, as numbers.

Text is cut into pieces, so that what is made on the way stays in the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refq.errors import DataError
from refq.hardware.files.array import Array
from refq.hardware.files.digits import BINARY, HEX, Radix, first_wrong, numbers
from refq.hardware.files.files import bounded
from refq.hardware.files.words import LITTLE, Packing, Words, from_hex, joined, looked_up

PIECE = 1 << 19
# characters of the matrix that tokens of unequal length are gathered in
GATHERED = 1 << 24
# how many more digits than needed a number may have, all of them zeros
SPARE_DIGITS = 64
BLANKS = b" \t\r\n\f\v"


@dataclass(frozen=True)
class Reading:
    """A file that is read. array: what is asked of it; packing: how its words lie in lines."""

    path: Path
    array: Array
    packing: Packing

    @property
    def digits(self) -> int:
        """Hex digits of a line."""
        return self.packing.lanes * self.packing.digits(self.array.bits)

    @property
    def lines(self) -> int:
        """Lines that the array takes."""
        return self.packing.lines(self.array.words)

    def refused(self, line: int, found: str, expected: str) -> DataError:
        return DataError(f"{self.path} line {line}: {found}", expected)


@dataclass(frozen=True)
class Passage:
    """Text of a file that starts in that line. ended: False where it stops in the middle of the
    file, so that its last number may have lost digits; that is left out then."""

    text: bytes
    line: int = 1
    ended: bool = True

    def line_of(self, place: int) -> int:
        return self.line + self.text.count(b"\n", 0, place)


def without_comments(data: bytes, line: bytes, begin: bytes, end: bytes) -> bytes:
    """Text without comments, in as many lines as before: those that begin so and end with their
    line, and those between two marks. One without an end stays."""
    if begin not in data:
        return re.sub(re.escape(line) + rb"[^\n]*", b"", data)
    opening, parts, at = re.compile(re.escape(line) + b"|" + re.escape(begin)), [], 0
    while match := opening.search(data, at):
        parts.append(data[at : match.start()])
        at = data.find(b"\n" if match[0] == line else end, match.end())
        if at < 0:
            return b"".join(parts) + (b"" if match[0] == line else data[match.start() :])
        if match[0] == begin:
            parts.append(b"\n" * data.count(b"\n", match.end(), at) or b" ")
            at += len(end)
    return b"".join([*parts, data[at:]])


def shown(text: bytes) -> str:
    """The beginning of a file's text, for messages."""
    return repr(text[:40].decode("latin-1")) + ("..." if len(text) > 40 else "")


def words_in(passage: Passage, separators: bytes, radix: Radix, reading: Reading) -> Words:
    """The words of a passage. Raises DataError for what is no number, naming its line."""
    parts: list[Words] = []
    view, count = np.frombuffer(passage.text, np.uint8), 0
    table = separator_table(separators)
    for offset, piece in pieces(view, table, reading.path):
        words = _in_even_lines(piece, reading) if radix is HEX else None
        if words is not None:
            parts.append(words)
            count = bounded(count + words.codes.size, reading.array, reading.path)
            continue
        starts, stops = tokens(piece, table)
        last = offset + piece.size == view.size
        if last and starts.size and stops[-1] == piece.size:
            cut = radix is HEX and _loses_digits(stops - starts, reading.digits, count)
            if cut or not passage.ended:
                starts, stops = starts[:-1], stops[:-1]
        for words in _blocks(passage, offset + starts, offset + stops, radix, reading):
            parts.append(words)
            count = bounded(count + words.codes.size, reading.array, reading.path)
    return joined(parts)


def separator_table(separators: bytes) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    table[list(separators)] = 1
    return table


def pieces(view: np.ndarray, table: np.ndarray, path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """(offset, text) of pieces that end after a separator, or at the end."""
    begin = 0
    while begin < view.size:
        end = min(begin + PIECE, view.size)
        if end < view.size:
            gaps = np.flatnonzero(looked_up(view[begin:end], table))
            if not gaps.size:
                raise DataError(f"{path}: {PIECE} characters without a blank", "words")
            end = begin + int(gaps[-1]) + 1
        yield begin, view[begin:end]
        begin = end


def tokens(piece: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of characters that are no separators starts and stops."""
    inside = np.zeros(piece.size + 2, bool)
    inside[1:-1] = looked_up(piece, table) == 0
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    return edges[::2], edges[1::2]


def hidden(view: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> bytes:
    """Text with blanks in place of some tokens."""
    change = np.zeros(view.size + 1, np.int8)
    change[starts], change[stops] = 1, -1
    hidden = np.cumsum(change[:-1], dtype=np.int8).astype(bool)
    return np.where(hidden, np.uint8(ord(" ")), view).tobytes()


def _in_even_lines(piece: np.ndarray, reading: Reading) -> Words | None:
    """The words of text whose lines are one word of the same length each, the usual case; None
    for other text."""
    ends = np.flatnonzero(piece[: 1 << 17] == ord("\n"))
    if not ends.size or not ends[0] or piece.size % (ends[0] + 1):
        return None
    grid = piece.reshape(-1, ends[0] + 1)
    columns = ends[0]
    if (grid[:, columns] != ord("\n")).any():
        return None
    if columns > 1 and (grid[:, columns - 1] == ord("\r")).all():
        columns -= 1
    packing, array = reading.packing, reading.array
    if columns != reading.digits and (packing.lanes > 1 or columns < reading.digits):
        return None
    text = grid[:, :columns]
    if packing.byte_order == LITTLE and columns % 2:
        # whole bytes
        text = np.pad(text, ((0, 0), (1, 0)), constant_values=ord("0"))
    return from_hex(text, array.bits, array.signed, packing)


def _loses_digits(lengths: np.ndarray, full: int, before: int) -> bool:
    """Whether the file's last word alone has fewer digits than it should."""
    return bool(
        lengths[-1] < full
        and lengths[:-1].min(initial=full) >= full
        and (before or lengths.size > 1)
    )


def _blocks(
    passage: Passage, starts: np.ndarray, stops: np.ndarray, radix: Radix, reading: Reading
) -> Iterator[Words]:
    """Tokens of unequal length, as words."""
    if not starts.size:
        return
    view, array, packing = np.frombuffer(passage.text, np.uint8), reading.array, reading.packing
    full = 4 * reading.digits if radix is BINARY else reading.digits if radix is HEX else 1
    longest = int((stops - starts).max())
    block = max(1, GATHERED // max(longest, full))
    for begin in range(0, starts.size, block):
        some = slice(begin, begin + block)
        text = _gathered(view, starts[some], stops[some], full)
        words = numbers(text, radix, array, packing) if longest <= full + SPARE_DIGITS else None
        if words is None:
            wrong = begin + first_wrong(text, radix, array, packing)
            start, stop = int(starts[wrong]), int(stops[wrong])
            lanes = f", {full} digits in {packing.lanes} lanes" if packing.lanes > 1 else ""
            raise reading.refused(
                passage.line_of(start),
                shown(passage.text[start:stop]),
                f"a {radix.name} number below 2**63{lanes}",
            )
        yield words


def _gathered(view: np.ndarray, starts: np.ndarray, stops: np.ndarray, least: int) -> np.ndarray:
    """Tokens as lines of equal length, at least that many characters, zeros on the left; not
    longer than numbers may be."""
    lengths = stops - starts
    longest = int(lengths.max())
    width = min(max(least, longest), least + SPARE_DIGITS)
    out = np.full((width, starts.size), ord("0"), np.uint8)
    for place in range(min(width, longest)):
        digits = view[np.maximum(stops - 1 - place, 0)]
        out[width - 1 - place] = np.where(lengths > place, digits, np.uint8(ord("0")))
    return out.T
