"""A function of one stored value: a table over its codes (contract section 4)."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import numpy as np

from refq.errors import FormatError
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels import decimals
from refq.kernels.bounds import bounds
from refq.kernels.fixed import SAT, WRAP, Rule, _quantize, quantize, rule_of
from refq.networks.layers.expressions import Expression, spelled, values

# codes in a table over a whole range; of wider ranges those that occur
MOST_ENTRIES = 1 << 17
# codes that float64 has, and rounded values that int64 has with room
EXACT, SAFE = 2**53, 2**62


def function(x: np.ndarray, expression: Expression) -> np.ndarray:
    """An expression's values (refq.networks.layers.expressions) in float32, any shape."""
    return values(expression, np.asarray(x, np.float32))


def function_integer(
    codes: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    expression: Expression,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    """Codes of an expression's values: at each exact code * 2**-frac_bits the value, correctly
    rounded to float64, then quantized (contract section 4).

    codes: int32 or int64, any shape. Returns (codes of fmt.dtype, how many lay outside). Raises
    FormatError where the expression has no value at a code that occurs, or none that wraps.
    """
    if codes.dtype not in (np.int32, np.int64):
        raise FormatError(f"codes of dtype {codes.dtype}", "int32 or int64")
    rule = _wide(rule_of(fmt, rounding, overflow, seed, offset))
    low, high = _span(codes)
    if high - low < MOST_ENTRIES and rounding is not Rounding.STOCHASTIC:
        found = _table(expression, frac_bits, (low, high), fmt.frac_bits, rule)[codes - low]
    else:
        flat = codes.reshape(-1).astype(np.int64)
        found = _values(expression, frac_bits, flat, fmt.frac_bits, rule)
    found = found.reshape(codes.shape)
    wrong = np.isnan(found) | (np.isinf(found) & (overflow is Overflow.WRAP))
    if wrong.any():
        at = np.ldexp(float(codes[wrong][0]), -frac_bits)
        raise FormatError(
            f"{spelled(expression)}, which is {found[wrong][0]:g} at {at:g}",
            "a value at every code that occurs",
            "use a format without that code" if overflow is not Overflow.WRAP else "use sat",
        )
    return quantize(found, fmt, rounding, overflow, seed, offset)


def _span(codes: np.ndarray) -> tuple[int, int]:
    """All codes of so few bits that these are among them, so that batches share a table."""
    low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
    bits = max(high.bit_length(), (-low - 1).bit_length() if low else 0)
    return (-(1 << bits) if low else 0), (1 << bits) - 1


@lru_cache(maxsize=64)
def _table(
    expression: Expression, frac_bits: int, span: tuple[int, int], places: int, rule: Rule
) -> np.ndarray:
    """_values of all codes of a span, ascending."""
    codes = np.arange(span[0], span[1] + 1, dtype=np.int64)
    return _values(expression, frac_bits, codes, places, rule)


def _values(
    expression: Expression, frac_bits: int, codes: np.ndarray, places: int, rule: Rule
) -> np.ndarray:
    """float64 (len(codes),): the expression's values, or others that round to the same.

    Where both bounds of a value round to one code, before any limit, so does the value, which then
    need not be computed to more digits. places: fraction bits of the result; NaN where it has none.
    """
    low, high = bounds(expression, np.ldexp(codes.astype(np.float64), -frac_bits))
    ends = [_rounded(each, 2.0**places, rule) for each in (low, high)]
    known = (ends[0] == ends[1]) & ~np.isnan(low) & (np.abs(codes) < EXACT)
    if rule.overflow == WRAP:
        known &= np.abs(ends[0]) < SAFE
    own, which = np.unique(codes[~known], return_inverse=True)
    found: np.ndarray = low.copy()
    found[~known] = np.array([exact(expression, int(code), frac_bits) for code in own])[which]
    return found


def exact(expression: Expression, code: int, frac_bits: int) -> float:
    """An expression at one code, correctly rounded to float64."""
    scaled = decimals.WORK.multiply(Decimal(code), decimals.WORK.power(Decimal(2), -frac_bits))
    return float(decimals.value(expression, scaled))


def _wide(rule: Rule) -> Rule:
    """The same rounding into as many bits as there are."""
    return rule._replace(low=-SAFE, high=SAFE, bits=64, signed=True)


def _rounded(x: np.ndarray, scale: float, rule: Rule) -> np.ndarray:
    """int64: x * scale, rounded; of NaN 0."""
    out = np.zeros(x.shape, np.int64)
    with np.errstate(over="ignore"):
        _quantize(x, out, scale, rule._replace(overflow=SAT))
    return out
