"""Fixed-point arithmetic: round, shift, saturate, wrap (contract section 1).

All rounding works on the magnitude: whole part, remainder against the midpoint, sign. The same
decision `_rounds_up` serves real values, shifts and divisions, so the modes cannot drift apart.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from refq.errors import FormatError
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels.compiling import njit, prange

MODE = {mode: index for index, mode in enumerate(Rounding)}
EVEN, AWAY, POS, TO_NEG, TO_ZERO, TO_POS, STOCHASTIC = range(7)
SAT, SAT_SYM, WRAP = range(3)
OVERFLOW = {Overflow.SAT: SAT, Overflow.SAT_SYM: SAT_SYM, Overflow.WRAP: WRAP}

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
ONE = np.uint64(1)
INT64_MAX = np.uint64(2**63 - 1)


class Rule(NamedTuple):
    """How compiled code rounds and brings codes into range.

    mode, overflow: as MODE and OVERFLOW number them; low, high: codes of the format, bits wide;
    seed, offset: of the first element's place in the stochastic mode's random sequence.
    """

    mode: int
    low: int
    high: int
    overflow: int
    bits: int
    signed: bool
    seed: np.uint64
    offset: int


def rule_of(
    fmt: FixedPointFormat, rounding: Rounding, overflow: Overflow, seed: int, offset: int
) -> Rule:
    return Rule(
        MODE[rounding],
        fmt.min_code,
        fmt.max_code,
        OVERFLOW[overflow],
        fmt.bits,
        fmt.signed,
        np.uint64(seed % 2**64),
        offset,
    )


@njit()
def _random(seed, index):
    """SplitMix64 (Steele, Lea, Flood 2014) at a position: 64 random bits."""
    z = seed + (np.uint64(index) + ONE) * GOLDEN
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


@njit()
def _noise(rule, index):
    """64 random bits for an element, which the stochastic mode alone looks at."""
    return _random(rule.seed, rule.offset + index) if rule.mode == STOCHASTIC else np.uint64(0)


@njit()
def _rounds_up(mode, negative, odd, half, inexact, lucky):
    """Whether the magnitude grows by one; half is -1, 0, 1: below, at, above the midpoint."""
    if mode == EVEN:
        return half > 0 or (half == 0 and odd)
    if mode == AWAY:
        return half >= 0
    if mode == POS:
        return half > 0 or (half == 0 and not negative)
    if mode == TO_NEG:
        return negative and inexact
    if mode == TO_POS:
        return inexact and not negative
    if mode == STOCHASTIC:
        return lucky
    return False  # TO_ZERO


@njit()
def _shift_right(magnitude, negative, shift, mode, noise):
    """magnitude * 2**-shift (uint64, shift >= 1), rounded."""
    if shift < 64:
        s = np.uint64(shift)
        whole = magnitude >> s
        rest = magnitude - (whole << s)
        middle = ONE << np.uint64(shift - 1)
        lucky = (rest << np.uint64(64 - shift)) > noise
    else:
        whole = np.uint64(0)
        rest = magnitude
        # the midpoint of a shift beyond 64 lies above every 64-bit magnitude
        middle = ONE << np.uint64(63)
        if shift > 64 and rest >= middle:
            rest = middle - ONE
        # rest / 2**shift > noise / 2**64, without leaving 64 bits
        beyond = np.uint64(min(shift - 64, 63))
        lucky = rest > 0 and noise <= ((rest - ONE) >> beyond)
    half = 0
    if rest > middle:
        half = 1
    elif rest < middle:
        half = -1
    odd = (whole & ONE) != 0
    if _rounds_up(mode, negative, odd, half, rest != 0, lucky):
        whole += ONE
    return whole


@njit()
def _divide(magnitude, negative, divisor, mode, noise):
    """magnitude / divisor (both uint64, divisor below 2**63), rounded."""
    whole = magnitude // divisor
    rest = magnitude - whole * divisor
    half = 0
    if rest > divisor - rest:
        half = 1
    elif rest < divisor - rest:
        half = -1
    lucky = False
    if mode == STOCHASTIC:
        # 32 fraction bits, by long division, against 32 random bits
        fraction, left = np.uint64(0), rest
        for _ in range(32):
            left, fraction = left << ONE, fraction << ONE
            if left >= divisor:
                left, fraction = left - divisor, fraction + ONE
        lucky = fraction > (noise >> np.uint64(32))
    if _rounds_up(mode, negative, (whole & ONE) != 0, half, rest != 0, lucky):
        whole += ONE
    return whole


@njit()
def _limit(code, rule):
    """A code brought into range, for codes that fit int64."""
    if rule.overflow == WRAP:
        if rule.bits < 64:
            code &= (1 << rule.bits) - 1
            if rule.signed and code >> (rule.bits - 1):
                code -= 1 << rule.bits
        return code
    low = -rule.high if rule.overflow == SAT_SYM and rule.signed else rule.low
    return min(max(code, low), rule.high)


@njit()
def _shift_code(code, shift, noise, rule):
    """code * 2**shift, rounded, then brought into range: (code, whether it was outside)."""
    negative = code < 0
    magnitude = np.uint64(-code) if negative else np.uint64(code)
    if shift < 0:
        magnitude = _shift_right(magnitude, negative, -shift, rule.mode, noise)
    elif shift > 0:
        s = np.uint64(min(shift, 63))
        if magnitude != 0 and (shift > 62 or magnitude > (INT64_MAX >> s)):
            # beyond int64, so beyond any format: only wrapping needs the low bits
            if rule.overflow == WRAP:
                kept = np.int64(0)
                if shift < rule.bits:
                    kept = np.int64(code << shift)
                return _limit(kept, rule), True
            return _limit(rule.low if negative else rule.high, rule), True
        magnitude = magnitude << s
    value = -np.int64(magnitude) if negative else np.int64(magnitude)
    limited = _limit(value, rule)
    return limited, limited != value


@njit(parallel=True)
def _requantize(codes, out, shift, rule):
    outside = 0
    for i in prange(codes.size):
        code, over = _shift_code(np.int64(codes[i]), shift, _noise(rule, i), rule)
        out[i] = code
        outside += over
    return outside


@njit()
def _real_code(x, scale, noise, rule):
    """x * scale rounded and brought into range: (code, outside); exact in float64."""
    negative = x < 0
    magnitude = -x * scale if negative else x * scale
    if magnitude >= 2.0**62:
        # an integer beyond int64's safe range, or scaled to infinity: a multiple of 2**64 then
        if rule.overflow == WRAP:
            kept = np.int64(0) if math.isinf(magnitude) else np.int64(magnitude % 2.0**rule.bits)
            return _limit(-kept if negative else kept, rule), True
        return _limit(rule.low if negative else rule.high, rule), True
    if magnitude == 0.0 and x != 0.0:
        magnitude = 5e-324  # scaled below float64, and still no integer
    whole = math.floor(magnitude)
    rest = magnitude - whole  # exact: both have the same exponent range
    half = 0
    if rest > 0.5:
        half = 1
    elif rest < 0.5:
        half = -1
    odd = whole - 2.0 * math.floor(whole * 0.5) != 0.0
    lucky = rest > float(noise >> np.uint64(11)) * 2.0**-53
    if _rounds_up(rule.mode, negative, odd, half, rest > 0.0, lucky):
        whole += 1.0
    code = -np.int64(whole) if negative else np.int64(whole)
    limited = _limit(code, rule)
    return limited, limited != code


@njit(parallel=True)
def _quantize(x, out, scale, rule):
    outside = 0
    unusable = 0
    for i in prange(x.size):
        value = np.float64(x[i])
        if math.isnan(value) or (rule.overflow == WRAP and math.isinf(value)):
            unusable += 1
        elif math.isinf(value):
            out[i] = _limit(rule.low if value < 0 else rule.high, rule)
            outside += 1
        else:
            code, over = _real_code(value, scale, _noise(rule, i), rule)
            out[i] = code
            outside += over
    return outside, unusable


@njit(parallel=True)
def _quantize_to_even(x, out, scale, low, high):
    """The default, rounding to even and saturating, in code that has no branches."""
    outside = 0
    unusable = 0
    for i in prange(x.size):
        code = np.rint(np.float64(x[i]) * scale)
        limited = min(max(code, low), high)
        outside += code != limited
        unusable += code != code
        out[i] = np.int64(limited if code == code else low)
    return outside, unusable


def quantize(
    x: np.ndarray,
    fmt: FixedPointFormat,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    """Codes of real values: round(x * 2**F), brought into range (contract section 1).

    x: float32 or float64, any shape. Returns (codes of fmt.dtype, how many lay outside).
    seed and offset place the elements in the stochastic mode's random sequence.
    Raises FormatError for NaN, and for infinities that cannot wrap.
    """
    x = np.asarray(x, order="C")
    if x.dtype not in (np.float32, np.float64):
        raise FormatError(f"values of dtype {x.dtype}", "float32 or float64")
    out = np.empty(x.shape, fmt.dtype)
    with np.errstate(over="ignore"):
        if rounding is Rounding.TIES_EVEN and overflow is not Overflow.WRAP:
            outside, unusable = _quantize_to_even(
                x.reshape(-1),
                out.reshape(-1),
                2.0**fmt.frac_bits,
                *map(float, fmt.limits(overflow)),
            )
        else:
            outside, unusable = _quantize(
                x.reshape(-1),
                out.reshape(-1),
                2.0**fmt.frac_bits,
                rule_of(fmt, rounding, overflow, seed, offset),
            )
    if unusable:
        raise FormatError(f"{unusable} NaN or infinite values", "finite values to quantize")
    return out, int(outside)


def dequantize(codes: np.ndarray, frac_bits: int) -> np.ndarray:
    """Values code * 2**-frac_bits, float64 (exact below 2**53), same shape."""
    return np.ldexp(np.asarray(codes, np.float64), -frac_bits)


def requantize(
    codes: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    """Codes with frac_bits fraction bits as codes of fmt, in pure integer arithmetic.

    codes: int32 or int64, any shape, magnitudes up to 2**62. Shifts by F differences of any size,
    rounds, then brings into range (contract section 1).
    Returns (codes of fmt.dtype, how many lay outside the range).
    """
    codes = np.asarray(codes, order="C")
    if codes.dtype not in (np.int32, np.int64):
        raise FormatError(f"codes of dtype {codes.dtype}", "int32 or int64")
    out = np.empty(codes.shape, fmt.dtype)
    with np.errstate(over="ignore"):
        outside = _requantize(
            codes.reshape(-1),
            out.reshape(-1),
            fmt.frac_bits - frac_bits,
            rule_of(fmt, rounding, overflow, seed, offset),
        )
    return out, int(outside)
