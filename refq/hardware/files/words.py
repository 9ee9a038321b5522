"""Codes as machine words: two's complement, several lanes in a line of memory, as hex text.

A word of `bits` bits takes ceil(bits / 4) hex digits; unused bits of the first digit are 0. A line
holds `lanes` words, the first at its low (right) end or at its high end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refq.errors import OptionError

LOW_FIRST, HIGH_FIRST = "low-first", "high-first"
LITTLE, BIG = "little", "big"
MAX_LANES = 4096

# the two hex digits of every byte, the first at the lower address
_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), "<u2")
# what each character is worth as a hex digit; simulators show a bit of unknown value as x or z
NO_DIGIT, UNKNOWN = 255, 254
_WORTH = np.full(256, NO_DIGIT, np.uint8)
_WORTH[list(b"xXzZ?")] = UNKNOWN
_WORTH[list(b"0123456789abcdef")] = range(16)
_WORTH[list(b"ABCDEF")] = range(10, 16)


@dataclass(frozen=True)
class Packing:
    """How words lie in a file.

    lanes: words in a line of text; lane_order: where the first of them is. byte_order: of binary
    words; in text, of the bytes of a line, BIG being as numbers are written and LITTLE the same
    bytes from the last to the first, words taking whole bytes then.
    """

    lanes: int = 1
    lane_order: str = LOW_FIRST
    byte_order: str = LITTLE

    def __post_init__(self) -> None:
        if not 1 <= self.lanes <= MAX_LANES:
            raise OptionError(f"{self.lanes} lanes", f"1 to {MAX_LANES}")
        if self.lane_order not in (LOW_FIRST, HIGH_FIRST):
            raise OptionError(f"lane order {self.lane_order!r}", f"{LOW_FIRST} or {HIGH_FIRST}")
        if self.byte_order not in (LITTLE, BIG):
            raise OptionError(f"byte order {self.byte_order!r}", f"{LITTLE} or {BIG}")

    def digits(self, bits: int) -> int:
        """Hex digits of a word in text."""
        return 2 * -(-bits // 8) if self.byte_order == LITTLE else -(-bits // 4)

    def lines(self, words: int) -> int:
        """Lines of text that so many words take."""
        return -(-words // self.lanes)


@dataclass(frozen=True)
class Words:
    """What a file holds. codes: int64 (words,). unknown: int64, which of them have digits x or z
    (their codes are 0 in those digits), or are not given by the file."""

    codes: np.ndarray
    unknown: np.ndarray


def known_words(codes: np.ndarray) -> Words:
    """Words of which none is unknown."""
    return Words(codes, np.zeros(0, np.int64))


def joined(parts: Sequence[Words]) -> Words:
    """Parts one after the other; the unknown words of each count from its own first."""
    if len(parts) == 1:
        return parts[0]
    places = np.cumsum([0] + [part.codes.size for part in parts])
    unknown = [part.unknown + place for part, place in zip(parts, places)]
    empty = np.zeros(0, np.int64)
    return Words(
        np.concatenate([empty, *(part.codes for part in parts)]), np.concatenate([empty, *unknown])
    )


def scattered(words: Words, places: np.ndarray, size: int) -> Words:
    """Words each at its place, of two at one place the later; the rest is unknown."""
    codes, unknown = np.zeros(size, np.int64), np.ones(size, bool)
    flags = np.zeros(words.codes.size, bool)
    flags[words.unknown] = True
    codes[places], unknown[places] = words.codes, flags
    return Words(codes, np.flatnonzero(unknown))


# text as numbers are written
PLAIN = Packing(byte_order=BIG)


def container(bits: int, signed: bool) -> np.dtype:
    """The narrowest integer type that holds a word."""
    size = next(size for size in (1, 2, 4, 8) if bits <= 8 * size)
    return np.dtype(f"{'i' if signed else 'u'}{size}")


def hex_lines(codes: np.ndarray, bits: int, packing: Packing = PLAIN) -> np.ndarray:
    """Codes, an integer array taken in C order, as hex text: uint8 (lines, characters), the last
    character of each a newline. The last line is filled up with zero words."""
    digits, lines = packing.digits(bits), packing.lines(codes.size)
    words = np.zeros(lines * packing.lanes, np.uint64)
    words[: codes.size] = codes.reshape(-1).astype(np.int64, copy=False).view(np.uint64)
    words &= np.uint64((1 << bits) - 1)
    size = next(size for size in (1, 2, 4, 8) if bits <= 8 * size)
    pairs = _PAIRS[words.astype(f">u{size}").view(np.uint8)]
    text = pairs.view(np.uint8).reshape(lines, packing.lanes, 2 * size)[:, :, 2 * size - digits :]
    if packing.lane_order == LOW_FIRST:
        text = text[:, ::-1]
    out = np.full((lines, packing.lanes * digits + 1), ord("\n"), np.uint8)
    out[:, :-1] = _turned(text.reshape(lines, -1), packing)
    return out


def from_hex(text: np.ndarray, bits: int, signed: bool, packing: Packing = PLAIN) -> Words | None:
    """The words in lines of hex text, uint8 (lines, characters) without newlines, filled up with 0
    on the left: Words of lines * lanes codes; None where a character is no digit or a number has
    more than 63 bits. Digits beyond a word's bits stay: a device's mistake is to be seen.

    A line has lanes * digits characters; with one lane it may have more.
    """
    worth = worths(_turned(text, packing)).reshape(len(text), packing.lanes, -1)
    if packing.lane_order == LOW_FIRST:
        worth = worth[:, ::-1]
    most, unknown = int(worth.max(initial=0)), np.zeros(0, np.int64)
    if most == NO_DIGIT or worth[:, :, :-16].any():
        return None
    if most == UNKNOWN:
        unknown = np.flatnonzero((worth == UNKNOWN).any(axis=2).reshape(-1))
        worth = np.where(worth == UNKNOWN, np.uint8(0), worth)
    # half as wide integers are twice as fast
    wide = np.uint32 if worth.shape[2] <= 8 else np.uint64
    words = np.zeros(worth.shape[:2], wide)
    for place in range(max(0, worth.shape[2] - 16), worth.shape[2]):
        words <<= wide(4)
        words |= worth[:, :, place]
    if wide is np.uint64 and words.max(initial=0) >> np.uint64(63):
        return None
    return Words(as_found(words.reshape(-1).astype(np.uint64), bits, signed), unknown)


def worths(text: np.ndarray) -> np.ndarray:
    """What characters, uint8 of any shape, are worth as hex digits; else NO_DIGIT or UNKNOWN."""
    return looked_up(text, _WORTH)


def looked_up(text: np.ndarray, table: np.ndarray) -> np.ndarray:
    """table[text], both uint8: bytes.translate is several times as fast as indexing."""
    translated = text.tobytes().translate(table.tobytes())
    return np.frombuffer(translated, np.uint8).reshape(text.shape)


def as_found(words: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """uint64 numbers below 2**63 as int64 codes: those that fit a signed word's bits are its two's
    complement, larger ones stay."""
    codes = words.view(np.int64)
    if not signed:
        return codes
    if not codes.size or codes.max() < 1 << bits:
        return as_signed(words, bits, signed)
    return np.where(codes < 1 << bits, as_signed(words, bits, signed), codes)


def as_signed(words: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """uint64 words of so many bits as int64 codes."""
    codes = words.view(np.int64)
    if not signed or bits == 64:
        return codes
    half = 1 << (bits - 1)
    return (codes ^ half) - half


def _turned(text: np.ndarray, packing: Packing) -> np.ndarray:
    """Lines of digits with the bytes of each in the other order, where the packing says so."""
    if packing.byte_order == BIG:
        return text
    return text.reshape(len(text), -1, 2)[:, ::-1].reshape(text.shape)
