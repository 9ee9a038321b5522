"""float32 values rounded to the nearest ones of a format (contract section 11)."""

from __future__ import annotations

import math

import numpy as np

from refq.errors import FormatError
from refq.formats.fixed import FixedPointFormat, Rounding
from refq.formats.floats import ROUNDINGS, Affine, Buckets, MiniFloat, Number, PowerOfTwo
from refq.kernels.compiling import njit, prange

FRACTION_BITS = 23
BIAS = 127


@njit(inline="always")
def _nearest(value, even):
    """A real value's nearest integer; ties to even or away from zero."""
    if even:
        return np.rint(value)
    magnitude = abs(value)
    whole = math.floor(magnitude)
    if magnitude - whole >= 0.5:
        whole += 1.0
    return math.copysign(whole, value)


@njit(parallel=True)
def _affine(values, mean, step, first, last, even):
    """In place: mean + step * k, k the nearest in [first, last]. Fixed point is this with a power
    of two for a step, and then every operation is exact."""
    outside = 0
    unusable = 0
    for row in prange(values.shape[0]):
        for i in range(values.shape[1]):
            k = _nearest((np.float64(values[row, i]) - mean) / step, even)
            kept = min(max(k, first), last)
            outside += k != kept
            unusable += k != k
            values[row, i] = np.float32(mean + step * kept)
    return outside, unusable


@njit(parallel=True)
def _buckets(values, low, high, width, count):
    """In place, all in float32, as the original computes."""
    outside = 0
    unusable = 0
    half = np.float32(0.5)
    for row in prange(values.shape[0]):
        for i in range(values.shape[1]):
            value = values[row, i]
            outside += value < low or value > high
            unusable += value != value
            if width > 0:
                number = np.floor((min(max(value, low), high) - low) / width)
                number = min(number, count - np.float32(1.0))
                values[row, i] = low + width * (number + half)
            else:
                values[row, i] = low
    return outside, unusable


@njit(parallel=True)
def _minifloat(values, patterns, bias, top, mantissa_bits, even):
    """In place, on patterns, the uint32 view of values: (saturated, NaN)."""
    outside = 0
    unusable = 0
    drop = FRACTION_BITS - mantissa_bits
    half = (1 << drop) >> 1
    greatest = (top + BIAS - bias) << FRACTION_BITS | ((1 << mantissa_bits) - 1) << drop
    for row in prange(values.shape[0]):
        for i in range(values.shape[1]):
            unusable += values[row, i] != values[row, i]
            pattern = np.int64(patterns[row, i])
            magnitude = pattern & 0x7FFFFFFF
            exponent = (magnitude >> FRACTION_BITS) - BIAS + bias
            if exponent < 0 or magnitude >> FRACTION_BITS == 0:
                patterns[row, i] = 0
                continue
            if exponent > top:
                outside += 1
                magnitude = greatest
            elif drop:
                # the hidden bit is no part of the mantissa: with 0 bits of it, ties go down
                odd = (magnitude >> drop) & 1 if mantissa_bits else 0
                magnitude += half - 1 + odd if even else half
                magnitude = magnitude >> drop << drop
            patterns[row, i] = np.uint32((pattern & 0x80000000) | magnitude)
    return outside, unusable


@njit(parallel=True)
def _powers(values, least, most, even):
    """In place: rounded in the logarithm, which is a float32; zero becomes 2**least."""
    outside = 0
    unusable = 0
    for row in prange(values.shape[0]):
        for i in range(values.shape[1]):
            value = np.float64(values[row, i])
            unusable += value != value
            exponent = least
            if value != 0.0:
                exponent = _nearest(np.float64(np.float32(np.log2(abs(value)))), even)
            outside += exponent > most
            power = 2.0 ** min(max(exponent, least), most)
            values[row, i] = np.float32(power if value >= 0 else -power)
    return outside, unusable


def round_rows(values: np.ndarray, fmt: Number, rounding: Rounding = Rounding.TIES_EVEN) -> int:
    """round_values in place, on float32 (rows, columns) of any strides; returns how many saturated.

    A MiniFloat's until_zero is not looked at: rows have no order.
    """
    if rounding not in ROUNDINGS:
        raise FormatError(f"rounding {rounding.value} of real values", "ties-even or ties-away")
    even = rounding is Rounding.TIES_EVEN
    match fmt:
        case FixedPointFormat():
            step = math.ldexp(1.0, -fmt.frac_bits)
            found = _affine(values, 0.0, step, float(fmt.min_code), float(fmt.max_code), even)
        case Affine():
            ends = float(fmt.first), float(fmt.last)
            found = _affine(values, fmt.mean, fmt.step, *ends, even)
        case Buckets():
            low, high = np.float32(fmt.low), np.float32(fmt.high)
            width = (high - low) / np.float32(1 << fmt.bits)
            found = _buckets(values, low, high, width, np.float32(1 << fmt.bits))
        case MiniFloat():
            top = (1 << fmt.exponent_bits) - 1
            found = _minifloat(
                values, values.view(np.uint32), fmt.bias, top, fmt.mantissa_bits, even
            )
        case PowerOfTwo():
            found = _powers(values, float(fmt.least), float(fmt.most), even)
        case _:
            raise FormatError(f"values in {fmt}", "a format of refq.formats.floats or fixed point")
    outside, unusable = found
    if unusable:
        raise FormatError(f"{unusable} NaN values", "numbers to round")
    return int(outside)


def round_values(
    x: np.ndarray, fmt: Number, rounding: Rounding = Rounding.TIES_EVEN
) -> tuple[np.ndarray, int]:
    """The nearest values of a format, and how many lay outside its range (contract section 11).

    x: float32, any shape. Returns (float32 of that shape, count). rounding: ties-even or ties-away;
    buckets have no ties. Raises FormatError for NaN, other types and other roundings.
    """
    x = np.asarray(x)
    if x.dtype != np.float32:
        raise FormatError(f"values of dtype {x.dtype}", "float32")
    out = np.array(x, order="C")
    rows = out.reshape(math.prod(out.shape[: max(1, out.ndim - 2)]), -1) if out.size else out
    if out.size == 0:
        return out, 0
    if isinstance(fmt, MiniFloat) and fmt.until_zero:
        return _until_zero(out, fmt, rounding)
    return out, round_rows(rows, fmt, rounding)


def _until_zero(out: np.ndarray, fmt: MiniFloat, rounding: Rounding) -> tuple[np.ndarray, int]:
    """Values after the first that becomes zero stay as they are."""
    flat = out.reshape(-1)
    small = np.flatnonzero(np.abs(flat) < np.float32(2.0**-fmt.bias))
    stop = int(small[0]) + 1 if small.size else flat.size
    return out, round_rows(flat[None, :stop], fmt, rounding)
