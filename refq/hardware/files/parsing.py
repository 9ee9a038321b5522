"""Text to words, whoever wrote it: runs of characters between separators, as numbers.

Text is cut into pieces, so that what is made on the way stays in the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from refq.errors import DataError
from refq.hardware.files.array import Array
from refq.hardware.files.files import bounded, cut_fill
from refq.hardware.files.words import (
    LITTLE,
    UNKNOWN,
    Packing,
    Words,
    as_found,
    from_hex,
    known_words,
    looked_up,
    worths,
)

PIECE = 1 << 19
# characters of the matrix that tokens of unequal length are gathered in
GATHERED = 1 << 24
# how many more digits than needed a number may have, all of them zeros
SPARE_DIGITS = 64
HEX, BINARY, OCTAL, UNSIGNED, DECIMAL = "hex", "binary", "octal", "unsigned", "decimal"
BASE = {OCTAL: 8, UNSIGNED: 10, DECIMAL: 10}
MOST_DIGITS = {OCTAL: 21, UNSIGNED: 19, DECIMAL: 19}
BLANKS = b" \t\r\n\f\v"
COMMENT = re.compile(rb"//[^\n]*|/\*.*?\*/", re.DOTALL)


def without(pattern: re.Pattern[bytes], data: bytes) -> bytes:
    """Text without what matches, in as many lines as before."""
    return pattern.sub(lambda found: b"\n" * found[0].count(b"\n") or b" ", data)


def readmemh(data: bytes, path: Path, array: Array, packing: Packing) -> Words:
    """Words of a $readmemh file: comments, addresses (@ and hex digits, in lines of the memory),
    underscores, digits x and z, blanks and lines as they please. Raises DataError."""
    if b"/" in data:
        data = without(COMMENT, data)
    if b"_" in data:
        data = data.replace(b"_", b"")
    if b"@" in data:
        return cut_fill(_addressed(data, path, array, packing), array, packing)
    return cut_fill(words_in(data, BLANKS, HEX, path, array, packing), array, packing)


def _addressed(data: bytes, path: Path, array: Array, packing: Packing) -> Words:
    """Words between addresses; those at no address are unknown."""
    pieces = re.split(rb"@([^\s@]*)", data)
    parts, line, reached = [], 1, 0
    for place, text in zip([b"0", *pieces[1::2]], pieces[::2]):
        if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", place):
            raise DataError(f"{path} line {line}: address @{_shown(place)}", "hex digits")
        address = int(place, 16)
        if address > packing.lines(array.words):
            raise DataError(
                f"{path} line {line}: address @{_shown(place)}",
                f"at most {packing.lines(array.words):x}, the number of lines",
            )
        words = words_in(text, BLANKS, HEX, path, array, packing, line)
        parts.append((address * packing.lanes, words))
        reached = max(reached, parts[-1][0] + words.codes.size)
        line += text.count(b"\n")
    return placed(parts, bounded(reached, array, path))


def placed(parts: list[tuple[int, Words]], size: int) -> Words:
    """Parts at their places, later ones over earlier ones; the rest is unknown."""
    codes, unknown = np.zeros(size, np.int64), np.ones(size, bool)
    for begin, words in parts:
        codes[begin : begin + words.codes.size] = words.codes
        unknown[begin : begin + words.codes.size] = False
        unknown[begin + words.unknown] = True
    return Words(codes, np.flatnonzero(unknown))


def words_in(
    data: bytes,
    separators: bytes,
    radix: str,
    path: Path,
    array: Array,
    packing: Packing,
    line: int = 1,
    ended: bool = True,
) -> Words:
    """The words of text that starts in that line. ended: False where the text stops in the middle
    of a file, so that the last number may have lost digits; it is left out then."""
    parts: list[Words] = []
    view, count = np.frombuffer(data, np.uint8), 0
    table = separator_table(separators)
    for offset, piece in pieces(view, table, path):
        matrix = _even_lines(piece) if radix == HEX else None
        if matrix is not None and _fits(matrix.shape[1], array, packing):
            found = from_hex(_lines(matrix, array, packing), array.bits, array.signed, packing)
            if found is not None:
                parts.append(found)
                count = bounded(count + found.codes.size, array, path)
                continue
        starts, stops = tokens(piece, table)
        last = offset + piece.size == view.size
        if last and starts.size and stops[-1] == piece.size:
            full = packing.lanes * packing.digits(array.bits)
            cut = radix == HEX and _loses_digits(starts, stops, full, count)
            if cut or not ended:
                starts, stops = starts[:-1], stops[:-1]
        for found in _blocks(
            piece, starts, stops, radix, path, array, packing, (data, offset, line)
        ):
            parts.append(found)
            count = bounded(count + found.codes.size, array, path)
    return placed_in_turn(parts)


def placed_in_turn(parts: list[Words]) -> Words:
    """Parts one after the other; the unknown words of each count from its own first."""
    if len(parts) == 1:
        return parts[0]
    places = np.cumsum([0] + [part.codes.size for part in parts])
    unknown = [part.unknown + place for part, place in zip(parts, places)]
    empty = np.zeros(0, np.int64)
    return Words(
        np.concatenate([empty, *(part.codes for part in parts)]), np.concatenate([empty, *unknown])
    )


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


def _even_lines(piece: np.ndarray) -> np.ndarray | None:
    """Text as a matrix, where each line is one word of the same length: the usual case."""
    head = piece[: 1 << 17]
    ends = np.flatnonzero(head == ord("\n"))
    if not ends.size or not ends[0] or piece.size % (ends[0] + 1):
        return None
    grid = piece.reshape(-1, ends[0] + 1)
    columns = ends[0]
    if (grid[:, columns] != ord("\n")).any():
        return None
    if columns > 1 and (grid[:, columns - 1] == ord("\r")).all():
        columns -= 1
    return grid[:, :columns]


def _fits(width: int, array: Array, packing: Packing) -> bool:
    full = packing.lanes * packing.digits(array.bits)
    return width == full or (packing.lanes == 1 and width > full)


def _lines(text: np.ndarray, array: Array, packing: Packing) -> np.ndarray:
    """Text whose little-endian lines have whole bytes."""
    odd = packing.byte_order == LITTLE and text.shape[1] % 2
    return np.pad(text, ((0, 0), (1, 0)), constant_values=ord("0")) if odd else text


def _loses_digits(starts: np.ndarray, stops: np.ndarray, full: int, before: int) -> bool:
    """Whether the file's last word alone has fewer digits than it should."""
    lengths = stops - starts
    return bool(
        lengths[-1] < full
        and lengths[:-1].min(initial=full) >= full
        and (before or lengths.size > 1)
    )


def _blocks(
    piece: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    radix: str,
    path: Path,
    array: Array,
    packing: Packing,
    origin: tuple[bytes, int, int],
) -> Iterator[Words]:
    """Tokens of unequal length, as words."""
    if not starts.size:
        return
    full = packing.lanes * packing.digits(array.bits)
    full = {HEX: full, BINARY: 4 * full}.get(radix, 1)
    longest = int((stops - starts).max())
    block = max(1, GATHERED // max(longest, full))
    for begin in range(0, starts.size, block):
        some = slice(begin, begin + block)
        text = gathered(piece, starts[some], stops[some], full)
        found = _numbers(text, radix, array, packing) if longest <= full + SPARE_DIGITS else None
        if found is None:
            index = begin + _first_wrong(text, radix, array, packing)
            data, offset, line = origin
            start, stop = int(starts[index]), int(stops[index])
            line += data.count(b"\n", 0, offset + start)
            token = _shown(data[offset + start : offset + stop])
            raise DataError(f"{path} line {line}: {token}", _wanted(radix, packing, full))
        yield found


def _shown(text: bytes) -> str:
    return repr(text[:40].decode("latin-1")) + ("..." if len(text) > 40 else "")


def _wanted(radix: str, packing: Packing, full: int) -> str:
    lanes = f", {full} digits in {packing.lanes} lanes" if packing.lanes > 1 else ""
    return f"a {radix} number below 2**63{lanes}"


def gathered(piece: np.ndarray, starts: np.ndarray, stops: np.ndarray, least: int) -> np.ndarray:
    """Tokens as lines of equal length, at least that many characters, zeros on the left; not
    longer than numbers may be."""
    lengths = stops - starts
    longest = int(lengths.max())
    width = min(max(least, longest), least + SPARE_DIGITS)
    out = np.full((width, starts.size), ord("0"), np.uint8)
    for place in range(min(width, longest)):
        digits = piece[np.maximum(stops - 1 - place, 0)]
        out[width - 1 - place] = np.where(lengths > place, digits, np.uint8(ord("0")))
    return out.T


def _numbers(text: np.ndarray, radix: str, array: Array, packing: Packing) -> Words | None:
    """Lines of digits as words; None where one is no number of that radix."""
    bits, signed = array.bits, array.signed
    if radix == BINARY:
        worth = worths(text)
        if ((worth > 1) & (worth != UNKNOWN)).any():
            return None
        text = _nibbles(text)
    if radix in (HEX, BINARY):
        full = packing.lanes * packing.digits(bits)
        if text.shape[1] > full and (packing.lanes > 1 or packing.byte_order == LITTLE):
            if (text[:, :-full] != ord("0")).any():
                return None
            text = text[:, -full:]
        return from_hex(text, bits, signed, packing)
    if packing.lanes > 1:
        return None
    values = whole_numbers(text, BASE[radix], MOST_DIGITS[radix], radix == DECIMAL)
    if values is None:
        return None
    return known_words(
        values if radix == DECIMAL else as_found(values.view(np.uint64), bits, signed)
    )


def _nibbles(text: np.ndarray) -> np.ndarray:
    """Binary digits as hex ones; with an unknown digit, x."""
    text = np.pad(text, ((0, 0), (-text.shape[1] % 4, 0)), constant_values=ord("0"))
    worth = worths(text).reshape(len(text), -1, 4)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[
        (np.where(worth > 1, 0, worth) * np.array([8, 4, 2, 1], np.uint8)).sum(axis=2)
    ]
    return np.where((worth == UNKNOWN).any(axis=2), np.uint8(ord("x")), digits)


def whole_numbers(text: np.ndarray, base: int, most: int, signs: bool) -> np.ndarray | None:
    """Lines of digits, with zeros on the left, as int64; None where one is no number or is beyond
    int64. signs: - and + may stand before the digits."""
    worth = worths(text)
    negative = None
    if signs:
        minus, plus = text == ord("-"), text == ord("+")
        marks = minus | plus
        if marks.any():
            # what is left of the sign has to be filling
            place = marks.argmax(axis=1)
            if (marks.sum(axis=1) > 1).any() or (place == text.shape[1] - 1).any():
                return None
            columns = np.arange(text.shape[1])
            if ((worth != 0) & (columns < place[:, None]) & marks.any(axis=1)[:, None]).any():
                return None
            negative = minus.any(axis=1)
            worth = np.where(marks, np.uint8(0), worth)
    if (worth >= base).any() or worth[:, :-most].any():
        return None
    values = np.zeros(len(text), np.uint64)
    for place in range(max(0, text.shape[1] - most), text.shape[1]):
        values = values * np.uint64(base) + worth[:, place]
    if values.max(initial=0) >> np.uint64(63):
        return None
    codes = values.view(np.int64)
    return codes if negative is None else np.where(negative, -codes, codes)


def _first_wrong(text: np.ndarray, radix: str, array: Array, packing: Packing) -> int:
    """The first line that makes no number, by halving."""
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        if _numbers(text[low:middle], radix, array, packing) is None:
            high = middle
        else:
            low = middle
    return low
