"""Elementwise operations, by definition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat, Rounding
from refq.oracle.definitions import round_fraction


def add(arrays: Sequence[np.ndarray], shifts: Sequence[int] = ()) -> np.ndarray:
    operands = _operands(arrays, shifts)
    total = operands[0]
    for operand in operands[1:]:
        total = total + operand
    return _as(total, arrays[0])


def subtract(a: np.ndarray, b: np.ndarray, shifts: Sequence[int] = ()) -> np.ndarray:
    first, second = _operands((a, b), shifts)
    return _as(first - second, a)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    first, second = _operands((a, b), ())
    return _as(first * second, a)


def _operands(arrays: Sequence[np.ndarray], shifts: Sequence[int]) -> list[np.ndarray]:
    """float32, or Python's integers of any size; those of one size are repeated."""
    shape = tuple(max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True))
    operands = []
    for index, array in enumerate(arrays):
        wide = array if array.dtype == np.float32 else array.astype(object)
        for axis, size in enumerate(shape):
            if array.shape[axis] != size:
                wide = np.repeat(wide, size, axis)
        operands.append(wide * 2 ** (shifts[index]) if shifts else wide)
    return operands


def _as(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    if like.dtype == np.float32:
        return values.astype(np.float32)
    assert all(-(2**63) <= each < 2**63 for each in values.reshape(-1))
    return values.astype(np.int64)


def clip(x: np.ndarray, low: float, high: float) -> np.ndarray:
    flat = [min(max(float(value), low), high) for value in x.reshape(-1)]
    return np.array(flat, np.float32).reshape(x.shape)


def clip_integer(
    codes: np.ndarray, frac_bits: int, low: float, high: float, fmt: FixedPointFormat
) -> tuple[np.ndarray, int]:
    finer = max(frac_bits, fmt.frac_bits)

    def bound(value: float) -> int | None:
        """A bound's code with as many fraction bits as the result; None for no bound."""
        if math.isinf(value):
            return None
        code = round_fraction(Fraction(value) * Fraction(2) ** fmt.frac_bits, Rounding.TIES_EVEN)
        return code * 2 ** (finer - fmt.frac_bits)

    least, most = bound(low), bound(high)
    first, last = (end * 2 ** (finer - fmt.frac_bits) for end in (fmt.min_code, fmt.max_code))

    def clipped(code: int) -> int:
        code *= 2 ** (finer - frac_bits)
        if least is not None and least >= first:
            code = max(code, min(least, last))
        if most is not None and most <= last:
            code = min(code, max(most, first))
        return code

    flat = [clipped(int(code)) for code in codes.reshape(-1)]
    return np.array(flat, np.int64).reshape(codes.shape), finer


def prelu(x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    out = np.empty(x.shape, np.float32)
    for place in np.ndindex(x.shape):
        value = float(x[place])
        out[place] = value if value >= 0 else value * float(_slope(slopes, place[1]))
    return out


def prelu_integer(codes: np.ndarray, slopes: np.ndarray, slope_frac_bits: int) -> np.ndarray:
    one = Fraction(2) ** max(0, slope_frac_bits)
    out = np.empty(codes.shape, np.int64)
    for place in np.ndindex(codes.shape):
        slope = Fraction(int(_slope(slopes, place[1]))) / Fraction(2) ** slope_frac_bits
        value = int(codes[place])
        exact = one * value * (1 if value >= 0 else slope)
        assert exact.denominator == 1
        out[place] = int(exact)
    return out


def _slope(slopes: np.ndarray, channel: int) -> Any:
    return slopes[channel if len(slopes) > 1 else 0]
