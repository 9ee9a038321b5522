"""Codes as machine words: two's complement, several lanes in a line of memory, as hex text.

A word of `bits` bits takes ceil(bits / 4) hex digits; unused bits of the first digit are 0. A line
holds `lanes` words, the first at its low (right) end or at its high end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refq.errors import DataError, OptionError

LOW_FIRST, HIGH_FIRST = "low-first", "high-first"
LITTLE, BIG = "little", "big"
MAX_LANES = 4096

# the two hex digits of every byte, the first at the lower address
_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), "<u2")
# what each character is worth as a hex digit; 255 for any other
_WORTH = np.full(256, 255, np.uint8)
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


def from_hex(text: np.ndarray, bits: int, signed: bool, packing: Packing = PLAIN) -> np.ndarray:
    """The words in lines of hex text, uint8 (lines, characters) without newlines: int64 (lines *
    lanes,). Raises DataError for what is no hex digit, and for digits beyond a word's bits."""
    digits = packing.digits(bits)
    worth = _WORTH[_turned(text, packing)].reshape(len(text), packing.lanes, digits)
    if worth.max(initial=0) > 15:
        line = int(np.argmax((worth > 15).any(axis=(1, 2))))
        raise DataError(f"{bytes(text[line]).decode('latin-1')!r}", f"hex digits in word {line}")
    if packing.lane_order == LOW_FIRST:
        worth = worth[:, ::-1]
    words = np.zeros(worth.shape[:2], np.uint64)
    for place in range(digits):
        words = words << np.uint64(4) | worth[:, :, place].astype(np.uint64)
    beyond = words > np.uint64((1 << bits) - 1)
    if beyond.any():
        line = int(np.argmax(beyond.any(axis=1)))
        raise DataError(f"{bytes(text[line]).decode('latin-1')!r}", f"words of {bits} bits")
    return as_signed(words.reshape(-1), bits, signed)


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
