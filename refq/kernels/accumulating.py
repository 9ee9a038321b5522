"""Declared accumulators: what they hold, and exact sums brought into them (contract section 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refq.errors import FormatError, ShapeError
from refq.formats.fixed import Accumulator, Overflow, Rounding
from refq.kernels.compiling import njit, prange


class Limits(NamedTuple):
    """A declared accumulator of every output: int64 (O,) each.

    low, high: the least and greatest sum it holds; bits: of it; drop: fraction bits that products
    have and it has not; always, even, negative: what to add before an arithmetic right shift by
    drop so that it rounds by the rule: always, where the shifted code is odd, where it is negative.
    """

    low: np.ndarray
    high: np.ndarray
    bits: np.ndarray
    drop: np.ndarray
    always: np.ndarray
    even: np.ndarray
    negative: np.ndarray

    def part(self, rows: slice) -> Limits:
        return Limits(*(array[rows] for array in self))

    @property
    def terms(self) -> tuple[np.ndarray, ...]:
        return self.drop, self.always, self.even, self.negative

    @property
    def rounds(self) -> bool:
        return bool(self.drop.any())


def limits(
    accumulator: Accumulator, outputs: int, drop: np.ndarray | None, bound: int
) -> Limits | None:
    """None for an exact accumulator. drop: int64 (O,) or None; bound: of the sums.

    Raises ShapeError for numbers of other than the outputs' count, FormatError where rounding
    could leave 64 bits.
    """
    if accumulator.bits is None:
        return None
    bits = np.atleast_1d(np.array(accumulator.bits, np.int64))
    if len(bits) not in (1, outputs) or (drop is not None and drop.shape != (outputs,)):
        raise ShapeError(f"accumulators of {len(bits)} widths", f"1 or {outputs}, one a kernel")
    bits = np.broadcast_to(bits, (outputs,)).copy()
    drop = np.zeros(outputs, np.int64) if drop is None else drop.astype(np.int64)
    most = int(drop.max(initial=0))
    if drop.min(initial=0) < 0 or most > 61 or bound + (1 << most) >= 2**63:
        raise FormatError(
            f"sums of {bound.bit_length() + 1} bits shifted right by {most}",
            "sums within 63 bits and shifts of 0 to 61",
        )
    low, high = np.broadcast_to(accumulator.limits(), (2, outputs)).copy()
    return Limits(low, high, bits, drop, *rounding_terms(accumulator.rounding, drop))


def rounding_terms(
    rounding: Rounding, drop: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(always, even, negative) as in Limits, int64 of drop's shape, for a shift right by drop."""
    half, rest = (np.int64(1) << drop) >> 1, (np.int64(1) << drop) - 1
    none = np.zeros_like(drop)
    shifted = (drop > 0).astype(np.int64)
    return {
        Rounding.TIES_EVEN: (half - shifted, shifted, none),
        Rounding.TIES_AWAY: (half, none, -shifted),
        Rounding.TIES_POS: (half, none, none),
        Rounding.TO_NEG: (none, none, none),
        Rounding.TO_ZERO: (none, none, rest),
        Rounding.TO_POS: (rest, none, none),
    }[rounding]


def saturates_every_mac(accumulator: Accumulator) -> bool:
    """Wrapping does not depend on the order of MACs, so only saturation needs it."""
    return (
        accumulator.bits is not None
        and accumulator.every_mac
        and accumulator.overflow is not Overflow.WRAP
    )


@njit(inline="always")
def _shifted(code, drop, always, even, negative):
    """code * 2**-drop, rounded as Limits tells; int64."""
    return (code + always + (even & (code >> drop)) + (negative & (code >> 63))) >> drop


@njit(inline="always")
def _terms(limits, o):
    """How output o's codes are shifted: Limits.terms in compiled code."""
    return limits.drop[o], limits.always[o], limits.even[o], limits.negative[o]


@njit(parallel=True)
def _keep(sums, limits, wrap):
    """Brings exact sums (N, O, P) into their accumulators in place; counts those outside."""
    outside = 0
    for task in prange(sums.shape[0] * sums.shape[1]):
        line, o = sums[task // sums.shape[1], task % sums.shape[1]], task % sums.shape[1]
        low, high, bits = limits.low[o], limits.high[o], limits.bits[o]
        drop, always, even, negative = _terms(limits, o)
        for i in range(line.size):
            value = _shifted(line[i], drop, always, even, negative)
            if value < low or value > high:
                outside += 1
                if wrap:
                    value &= (1 << bits) - 1
                    if value >> (bits - 1):
                        value -= 1 << bits
                else:
                    value = low if value < low else high
            line[i] = value
    return outside


def keep_sums(sums: np.ndarray, held: Limits, overflow: Overflow) -> int:
    """Brings int64 sums (N, O, ...) into their accumulators in place; returns the overflows."""
    flat = sums.reshape(*sums.shape[:2], -1)
    outside: int = _keep(flat, held, overflow is Overflow.WRAP)
    return outside


def add_limited(
    sums: np.ndarray, more: np.ndarray, accumulator: Accumulator, drop: np.ndarray
) -> tuple[np.ndarray, int]:
    """Sums of one accumulator, int64 (N, O, ...), added to those of another, and brought into a
    declared one: (int64, overflows).

    accumulator: one width for all outputs. drop: int64 (O,), fraction bits that it has fewer.
    """
    total = sums + more
    bound = max(int(total.max(initial=0)), -int(total.min(initial=0)))
    held = limits(accumulator, total.shape[1], drop, bound)
    return total, keep_sums(total, held, accumulator.overflow) if held else 0


@njit(parallel=True)
def _rounded_products(w, x, start, limits, out):
    """out (O, P) = start (O,) + the sum of products of w (O, K) and x (K, P), each rounded."""
    for o in prange(w.shape[0]):
        line = out[o]
        line[:] = start[o]
        drop, always, even, negative = _terms(limits, o)
        for k in range(w.shape[1]):
            factor = w[o, k]
            for p in range(x.shape[1]):
                line[p] += _shifted(factor * x[k, p], drop, always, even, negative)


def rounded_products(w: np.ndarray, x: np.ndarray, bias: np.ndarray, held: Limits) -> np.ndarray:
    """int64 (O, P): the bias and every product shifted right and rounded on its own.

    w int64 (O, K), x int64 (K, P), bias int64 (O,).
    """
    out = np.empty((len(w), x.shape[1]), np.int64)
    _rounded_products(w, x, _shifted(bias, *held.terms), held, out)
    return out
