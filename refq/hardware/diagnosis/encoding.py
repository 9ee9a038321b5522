"""Words that went wrong one by one: signs, stuck bits, shifts, ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refq.formats.fixed import Overflow, Rounding
from refq.hardware.diagnosis.case import Case, Guess
from refq.hardware.diagnosis.naming import overflow_name, rounding_name
from refq.hardware.diagnosis.rescaling import MOST_BITS, limited, rescaled
from refq.hardware.files.words import as_signed

Change = Callable[..., np.ndarray]


def _by_word(case: Case, name: str, text: str, change: Change, *arguments: Any) -> Guess:
    """change(golden codes, *arguments) -> the codes that the device has instead."""
    return Guess(name, text, lambda places: change(case.expected[places], *arguments))


def _pattern(codes: np.ndarray, bits: int) -> np.ndarray:
    """The words that stand for codes, as numbers of so many bits."""
    return codes & ((1 << bits) - 1)


def _word(codes: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Codes cut to words of so many bits."""
    return as_signed(_pattern(codes, bits).view(np.uint64), bits, signed)


def constant(case: Case) -> Iterator[Guess]:
    """The same word everywhere, as in a memory that nobody wrote."""
    value = int(case.found[case.wrong[0]])
    what = "zero, as if never written" if value == 0 else str(value)
    if (case.found[case.wrong] == value).all() and case.wrong.size > 1:
        yield _by_word(
            case, "constant", f"every word is {what}", lambda codes: np.full_like(codes, value)
        )


def one_bit(case: Case) -> Iterator[Guess]:
    """One bit of one word."""
    if case.wrong.size != 1:
        return
    place = int(case.wrong[0])
    wanted, came = int(case.expected[place]), int(case.found[place])
    flipped = (wanted ^ came) & ((1 << case.array.bits) - 1)
    if flipped.bit_count() != 1:
        return
    bit = flipped.bit_length() - 1
    text = (
        f"one flipped bit: bit {bit} of word {place}, {wanted >> bit & 1} became {came >> bit & 1}"
    )
    yield Guess(
        "bit-flip", text, lambda places: np.where(places == place, came, case.expected[places])
    )


def signs(case: Case) -> Iterator[Guess]:
    """Other ways to write a sign, or a word."""
    bits, signed = case.array.bits, case.array.signed
    if bits > MOST_BITS:
        return
    if signed:
        for wide in dict.fromkeys((bits, 8, 16, 32)):
            if wide >= bits:
                extra = f"extended to {wide} bits and " if wide > bits else ""
                text = f"missing sign extension: negative words {extra}read as unsigned"
                yield _by_word(case, "sign-extension", text, _pattern, wide)
    else:
        text = "sign-extended, though the words are unsigned"
        yield _by_word(case, "sign-extension", text, _word, bits, True)
    spellings: list[tuple[str, str, Change]] = [
        ("negated", "signs: negated", np.negative),
        ("inverted", "every bit is inverted", np.invert),
    ]
    if signed:
        spellings += [
            ("sign-magnitude", "signs: written as sign and magnitude", _sign_magnitude),
            ("ones-complement", "signs: written as ones' complement", _ones_complement),
            ("offset-binary", "signs: the sign bit is inverted (offset binary)", _offset_binary),
            ("magnitude", "signs: magnitude alone, the sign is lost", np.abs),
        ]
    for name, text, change in spellings:
        yield _by_word(case, name, text, _cut, change, bits, signed)
    yield _by_word(case, "negated", "signs: negated", np.negative)
    yield _by_word(case, "magnitude", "signs: magnitude alone, the sign is lost", np.abs)
    yield _by_word(
        case, "bit-order", "bits of each word from last to first", _mirrored, bits, signed
    )


def _cut(codes: np.ndarray, change: Change, bits: int, signed: bool) -> np.ndarray:
    """What a change makes of codes, as words."""
    needs_bits = change in (_sign_magnitude, _offset_binary)
    return _word(change(codes, bits) if needs_bits else change(codes), bits, signed)


def _sign_magnitude(codes: np.ndarray, bits: int) -> np.ndarray:
    return np.where(codes < 0, (1 << (bits - 1)) - codes, codes)


def _ones_complement(codes: np.ndarray) -> np.ndarray:
    return codes - (codes < 0)


def _offset_binary(codes: np.ndarray, bits: int) -> np.ndarray:
    return codes ^ (1 << (bits - 1))


def _mirrored(codes: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    out = np.zeros_like(codes)
    for bit in range(bits):
        out |= (codes >> bit & 1) << (bits - 1 - bit)
    return _word(out, bits, signed)


def stuck_bits(case: Case) -> Iterator[Guess]:
    """One bit that is always 0, always 1, or always wrong."""
    bits, signed = case.array.bits, case.array.signed
    if case.wrong.size < 2 or bits > MOST_BITS:
        return
    for bit in range(bits):
        for how in ("stuck at 0", "stuck at 1", "inverted"):
            text = f"bit {bit} is {how} in every word"
            yield _by_word(case, "stuck-bit", text, _stuck, how, bit, bits, signed)


def _stuck(codes: np.ndarray, how: str, bit: int, bits: int, signed: bool) -> np.ndarray:
    one = np.int64(1 << bit)
    changed = {"stuck at 0": codes & ~one, "stuck at 1": codes | one, "inverted": codes ^ one}[how]
    return _word(changed, bits, signed)


def shifts(case: Case) -> Iterator[Guess]:
    """Finished words shifted by one or more places."""
    bits, signed = case.array.bits, case.array.signed
    if bits >= MOST_BITS:
        return
    for step in (1, 2, 3, 4):
        start = f"shift: {step} place{'s' * (step > 1)} too far"
        for overflow in Overflow:
            if overflow is Overflow.SAT_SYM and not signed:
                continue
            text = f"{start} left, {overflow_name(overflow)}"
            yield _by_word(
                case, "shift", text, rescaled, step, bits, signed, Rounding.TO_NEG, overflow
            )
        yield _by_word(case, "shift", f"{start} left, without a limit", np.left_shift, step)
        for rounding in list(Rounding)[:6]:
            text = f"{start} right, {rounding_name(rounding)}"
            yield _by_word(
                case, "shift", text, rescaled, -step, bits, signed, rounding, Overflow.SAT
            )


def ranges(case: Case) -> Iterator[Guess]:
    """Words limited to fewer bits, or at zero, or short of the least code."""
    bits, signed = case.array.bits, case.array.signed
    for fewer in range(min(bits, MOST_BITS) - 1, int(signed), -1):
        for overflow in (Overflow.SAT, Overflow.WRAP, Overflow.SAT_SYM):
            text = f"range: {overflow_name(overflow)} at {fewer} bits of {bits}"
            if signed or overflow is not Overflow.SAT_SYM:
                yield _by_word(case, "range", text, limited, fewer, signed, overflow)
    if signed:
        text = f"range: {overflow_name(Overflow.SAT_SYM)}, the least code does not occur"
        yield _by_word(case, "range", text, limited, bits, signed, Overflow.SAT_SYM)
        text = "negative words are 0: a ReLU where there is none"
        yield _by_word(case, "relu", text, np.maximum, 0)
