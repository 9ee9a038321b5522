"""Fixed point: every mode against the oracle and against expectations written out here.

The expectations floor-divide signed integers; the kernels round magnitudes, the oracle
fractions. Nothing is shared but the definition of the modes.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from refq import kernels, oracle
from refq.errors import FormatError
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels import avg_pool_integer, dequantize, quantize, requantize
from tests.machine import COMPILED

STOCHASTIC = Rounding.STOCHASTIC
DEFINITE = [mode for mode in Rounding if mode is not STOCHASTIC]
SMALL = [FixedPointFormat(bits, 0, sign) for bits in range(2, 7) for sign in (True, False)]
ENDS = [FixedPointFormat(b, 0, b % 2 == 0) for b in (2, 1, 32)] + [FixedPointFormat(32, 0, False)]


def rounded(value: int, shift: int, mode: Rounding) -> int:
    """value * 2**shift, rounded to an integer."""
    if shift >= 0:
        return value << shift
    whole, rest, divisor = value >> -shift, value & ((1 << -shift) - 1), 1 << -shift
    up = {
        Rounding.TO_NEG: False,
        Rounding.TO_POS: rest > 0,
        Rounding.TO_ZERO: rest > 0 and value < 0,
        Rounding.TIES_POS: 2 * rest >= divisor,
        Rounding.TIES_AWAY: 2 * rest > divisor or (2 * rest == divisor and value > 0),
        Rounding.TIES_EVEN: 2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1),
    }[mode]
    return whole + up


def limited(code: int, bits: int, signed: bool, overflow: Overflow) -> int:
    low = -(2 ** (bits - 1)) if signed else 0
    high = 2 ** (bits - signed) - 1
    if overflow is Overflow.WRAP:
        return (code - low) % 2**bits + low
    return min(max(code, low + (signed and overflow is Overflow.SAT_SYM)), high)


def expect(
    got: tuple[np.ndarray, int], exact: list[int], fmt: FixedPointFormat, overflow: Overflow
) -> None:
    wanted = [limited(code, fmt.bits, fmt.signed, overflow) for code in exact]
    assert got[0].dtype == fmt.dtype
    np.testing.assert_array_equal(got[0], wanted)
    assert got[1] == sum(a != b for a, b in zip(exact, wanted))


def expect_same(got: tuple[np.ndarray, int], wanted: tuple[np.ndarray, int]) -> None:
    np.testing.assert_array_equal(got[0], wanted[0])
    assert got[0].dtype == wanted[0].dtype and got[1] == wanted[1]


@pytest.mark.parametrize("difference", range(-8, 9))
def test_requantize_all_small_codes(difference: int) -> None:
    codes = np.arange(-64, 64, dtype=np.int32 if difference % 2 else np.int64)
    for mode in Rounding:
        if mode is not STOCHASTIC:
            exact = [rounded(int(code), difference, mode) for code in codes]
        for plain, overflow in itertools.product(SMALL, Overflow):
            fmt = FixedPointFormat(plain.bits, difference - 3, plain.signed)
            got = requantize(codes, -3, fmt, mode, overflow, seed=5, offset=9)
            if mode is not STOCHASTIC:
                expect(got, exact, fmt, overflow)
            if plain.bits in (2, 5):
                expect_same(got, oracle.requantize(codes, -3, fmt, mode, overflow, 5, 9))


@pytest.mark.parametrize("frac_bits", range(-8, 9) if COMPILED else (-8, 3))
@pytest.mark.parametrize("kind", (np.float32, np.float64))
def test_quantize_all_eighths(frac_bits: int, kind: Any) -> None:
    eighths = np.arange(-70 * 8, 70 * 8 + 1)
    x = np.ldexp(eighths, -3 - frac_bits).astype(kind)
    for mode in Rounding:
        if mode is not STOCHASTIC:
            exact = [rounded(int(n), -3, mode) for n in eighths]
        for plain, overflow in itertools.product(SMALL, Overflow):
            fmt = FixedPointFormat(plain.bits, frac_bits, plain.signed)
            got = quantize(x, fmt, mode, overflow, seed=3, offset=1000)
            if mode is not STOCHASTIC:
                expect(got, exact, fmt, overflow)
            if plain.bits == 3 and frac_bits % 4 == 0:
                expect_same(got, oracle.quantize(x, fmt, mode, overflow, 3, 1000))


TIES = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)
DOWN, UP, INWARD = (-3, -2, -1, 0, 1, 2), (-2, -1, 0, 1, 2, 3), (-2, -1, 0, 0, 1, 2)
# mode: codes of values just below the ties, of the ties, just above them
TIE_TABLE = {
    Rounding.TIES_EVEN: (DOWN, (-2, -2, 0, 0, 2, 2), UP),
    Rounding.TIES_AWAY: (DOWN, (-3, -2, -1, 1, 2, 3), UP),
    Rounding.TIES_POS: (DOWN, (-2, -1, 0, 1, 2, 3), UP),
    Rounding.TO_NEG: (DOWN, DOWN, DOWN),
    Rounding.TO_ZERO: (INWARD, INWARD, INWARD),
    Rounding.TO_POS: (UP, UP, UP),
}


@pytest.mark.parametrize("mode", DEFINITE)
def test_ties(mode: Rounding) -> None:
    fmt, ties = FixedPointFormat(4, 0), np.array(TIES)
    for side, wanted in zip((-1, 0, 1), TIE_TABLE[mode]):
        for kind in (np.float32, np.float64):
            values = ties.astype(kind)
            near = np.nextafter(values, kind(side * np.inf)) if side else values
            assert quantize(near, fmt, mode)[0].tolist() == list(wanted)
        for bits in (1, 2, 31, 50, 60):
            if side and bits == 1:
                continue  # one fraction bit has no room for a neighbour
            codes = (ties * 2**bits).astype(np.int64) + side
            assert requantize(codes, bits, fmt, mode)[0].tolist() == list(wanted)
        for count in (2, 6, 14):  # means: the sum of `count` codes over their count
            window = np.zeros((6, 1, 1, count), np.int32)
            window[:, 0, 0, 0] = ties * count + (side if count > 2 else 0)
            if side == 0 or count > 2:
                got = avg_pool_integer(window, 0, fmt, (1, count), rounding=mode)[0]
                assert got.reshape(-1).tolist() == list(wanted)


SHIFTS = (0, 1, 2, 3, 29, 31, 32, 33, 61, 62, 63, 64, 65, 66, 100, 127)


@pytest.mark.parametrize("shift", sorted({*SHIFTS, *(-s for s in SHIFTS)}))
def test_requantize_around_powers_of_two(shift: int) -> None:
    near = {s * 2**k + d for k in range(63) for s in (-1, 1) for d in (-2, -1, 0, 1, 2)}
    codes = np.array(sorted(near), np.int64)
    for mode, overflow in itertools.product(Rounding, Overflow):
        for fmt in ENDS if COMPILED else ENDS[2:]:
            got = requantize(codes, -shift, fmt, mode, overflow, seed=17)
            if mode is STOCHASTIC:
                expect_same(got, oracle.requantize(codes, -shift, fmt, mode, overflow, 17))
            else:
                expect(got, [rounded(int(c), shift, mode) for c in codes], fmt, overflow)


@pytest.mark.parametrize("frac_bits", (-64, -7, 0, 9, 64))
def test_quantize_around_powers_of_two(frac_bits: int) -> None:
    exponents = np.array([-1074, -1073, -1023, -1022, *range(-130, 131), 1000, 1022, 1023])
    powers = np.concatenate([np.ldexp(1.0, exponents), np.ldexp(1.5, exponents[4:])])
    x = np.concatenate([powers, np.nextafter(powers, 0), np.nextafter(powers, np.inf)])
    x = np.concatenate([x, [0.49999999999999994, 2.0**52 - 0.5, 2.0**53 - 1, 1.7e308]])
    x = np.concatenate([x, -x, [0.0, -0.0]])
    ratios = [value.as_integer_ratio() for value in x.tolist()]  # denominators: powers of two
    for mode in Rounding:
        if mode is not STOCHASTIC:
            shifts = [frac_bits - bottom.bit_length() + 1 for _, bottom in ratios]
            exact = [rounded(top, shift, mode) for (top, _), shift in zip(ratios, shifts)]
        for plain, overflow in itertools.product(ENDS, Overflow):
            fmt = FixedPointFormat(plain.bits, frac_bits, plain.signed)
            got = quantize(x, fmt, mode, overflow, seed=23)
            if mode is STOCHASTIC:
                expect_same(got, oracle.quantize(x, fmt, mode, overflow, 23))
            else:
                expect(got, exact, fmt, overflow)


@pytest.mark.parametrize("signed", (True, False))
def test_range_ends(signed: bool) -> None:
    for bits in range(2, 33):
        fmt = FixedPointFormat(bits, 1, signed)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        assert (fmt.min_code, fmt.max_code) == (low, high)
        quarters = [4 * end + d for end in (low, high) for d in (-4, -3, -2, -1, 0, 1, 2, 3, 4)]
        for mode, overflow in itertools.product(DEFINITE, Overflow):
            exact = [rounded(n, -2, mode) for n in quarters]
            expect(quantize(np.array(quarters) / 8.0, fmt, mode, overflow), exact, fmt, overflow)
            expect(requantize(np.array(quarters), 3, fmt, mode, overflow), exact, fmt, overflow)


def test_dequantize_is_exact_and_inverse() -> None:
    for bits, signed in itertools.product((2, 3, 5, 9, 13), (True, False)):
        for frac_bits in (-64, -3, 0, 4, 17, 64):
            fmt = FixedPointFormat(bits, frac_bits, signed)
            codes = np.arange(fmt.min_code, fmt.max_code + 1, dtype=fmt.dtype)
            values = dequantize(codes, frac_bits)
            assert values.dtype == np.float64
            np.testing.assert_array_equal(values, codes * 2.0**-frac_bits)
            np.testing.assert_array_equal(values, oracle.dequantize(codes, frac_bits))
            for mode, overflow in itertools.product(Rounding, (Overflow.SAT, Overflow.WRAP)):
                got, outside = quantize(values, fmt, mode, overflow, seed=1)
                np.testing.assert_array_equal(got, codes)
                assert outside == 0
    wide = np.array([[2**53, -(2**62)]])
    assert dequantize(wide, 60).tolist() == [[2.0**-7, -4.0]]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3, 5)])
def test_shapes_are_kept(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 1.25)
    assert quantize(x, FixedPointFormat(8, 2))[0].shape == shape
    assert quantize(x.T[::-1] if x.ndim else x, FixedPointFormat(8, 2))[0].shape == shape[::-1]
    assert requantize(x.astype(np.int32), 0, FixedPointFormat(8, 2))[0].shape == shape
    assert dequantize(x.astype(np.int32), 1).shape == shape


def test_infinities_saturate_and_bad_values_are_refused() -> None:
    x, fmt = np.array([np.inf, -np.inf, 1.0]), FixedPointFormat(5, 1)
    for overflow, least in ((Overflow.SAT, -16), (Overflow.SAT_SYM, -15)):
        codes, outside = quantize(x, fmt, overflow=overflow)
        assert codes.tolist() == [15, least, 2] and outside == 2
    assert quantize(x, FixedPointFormat(5, 1, False))[0].tolist() == [31, 0, 2]
    for module in (kernels, oracle):
        with pytest.raises(FormatError, match="2 NaN or infinite values; expected finite values"):
            module.quantize(x, fmt, overflow=Overflow.WRAP)
        with pytest.raises(FormatError, match="1 NaN or infinite values"):
            module.quantize(np.array([1.0, np.nan]), fmt)
    for kind in (np.int32, np.float16, np.bool_):
        with pytest.raises(FormatError, match="; expected float32 or float64"):
            quantize(np.zeros(3, kind), fmt)
    for kind in (np.int8, np.uint64, np.float64):
        with pytest.raises(FormatError, match="; expected int32 or int64"):
            requantize(np.zeros(3, kind), 0, fmt)


def test_sums_that_could_leave_64_bits_are_refused() -> None:
    """Also where the weights' own magnitudes add up beyond int64."""
    x, bias = np.ones((2, 3, 1, 1), np.int32), np.array([-(2**61)])
    for module in (kernels, oracle):
        fits = np.array([[2**61, -(2**60), 1]])[:, :, None, None]
        sums, _ = module.conv_integer(x, fits, bias)
        assert sums.reshape(-1).tolist() == [-(2**60) + 1] * 2
        for weights in ([2**62, 2**62, 2**62], [-(2**63), 0, 0], [2**62, -(2**62), 0]):
            with pytest.raises(FormatError, match="sums of up to 65 bits; expected sums within 64"):
                module.conv_integer(x, np.array([weights])[:, :, None, None])
