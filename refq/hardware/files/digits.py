"""Digits to numbers: a matrix of characters, a number a line, in any radix that files use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refq.hardware.files.array import Array
from refq.hardware.files.words import (
    LITTLE,
    UNKNOWN,
    Packing,
    Words,
    as_found,
    from_hex,
    known_words,
    worths,
)


@dataclass(frozen=True)
class Radix:
    """How numbers are spelled. most: digits of the largest below 2**63; signs: whether - and + may
    stand before the digits."""

    name: str
    base: int
    most: int
    signs: bool = False


HEX, BINARY, OCTAL = Radix("hex", 16, 16), Radix("binary", 2, 63), Radix("octal", 8, 21)
UNSIGNED, DECIMAL = Radix("unsigned", 10, 19), Radix("decimal", 10, 19, signs=True)


def numbers(text: np.ndarray, radix: Radix, array: Array, packing: Packing) -> Words | None:
    """Lines of digits, uint8 (lines, characters), as words; None where one is no number of that
    radix. Decimal numbers are taken as they are, others as words of the array."""
    bits, signed = array.bits, array.signed
    if radix is BINARY:
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
    values = whole_numbers(text, radix)
    if values is None or radix is DECIMAL:
        return None if values is None else known_words(values)
    return known_words(as_found(values.view(np.uint64), bits, signed))


def _nibbles(text: np.ndarray) -> np.ndarray:
    """Binary digits as hex ones; with an unknown digit, x."""
    text = np.pad(text, ((0, 0), (-text.shape[1] % 4, 0)), constant_values=ord("0"))
    worth = worths(text).reshape(len(text), -1, 4)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[
        (np.where(worth > 1, 0, worth) * np.array([8, 4, 2, 1], np.uint8)).sum(axis=2)
    ]
    return np.where((worth == UNKNOWN).any(axis=2), np.uint8(ord("x")), digits)


def whole_numbers(text: np.ndarray, radix: Radix) -> np.ndarray | None:
    """Lines of digits, with zeros on the left, as int64; None where one is no number or is beyond
    int64."""
    worth = worths(text)
    negative = None
    if radix.signs:
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
    if (worth >= radix.base).any() or worth[:, : -radix.most].any():
        return None
    values = np.zeros(len(text), np.uint64)
    for place in range(max(0, text.shape[1] - radix.most), text.shape[1]):
        values = values * np.uint64(radix.base) + worth[:, place]
    if values.max(initial=0) >> np.uint64(63):
        return None
    codes = values.view(np.int64)
    return codes if negative is None else np.where(negative, -codes, codes)


def first_wrong(text: np.ndarray, radix: Radix, array: Array, packing: Packing) -> int:
    """The first line that makes no number, by halving."""
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        if numbers(text[low:middle], radix, array, packing) is None:
            high = middle
        else:
            low = middle
    return low
