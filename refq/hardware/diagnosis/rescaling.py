"""Codes shifted, rounded and limited at any width, to recompute what a device should have."""

from __future__ import annotations

import numpy as np

from refq.formats.fixed import Accumulator, Overflow, Rounding
from refq.kernels import add_limited

# codes stay below 2**62, so that sums and shifts of them fit int64
MOST_BITS = 62


def rescaled(
    codes: np.ndarray,
    left: np.ndarray | int,
    bits: int,
    signed: bool,
    rounding: Rounding,
    overflow: Overflow,
) -> np.ndarray:
    """codes * 2**left, rounded, then brought into so many bits (contract section 1): int64 (k,).

    codes: int64 (k,), of up to MOST_BITS bits. left: one for all or int (k,); negative ones shift
    right. rounding: any but stochastic.
    """
    shifts = np.broadcast_to(np.asarray(left, np.int64), codes.shape)
    out = np.empty(codes.shape, np.int64)
    for shift in np.unique(shifts):
        here = shifts == shift
        out[here] = _shifted(codes[here], int(shift), rounding, overflow)
    return limited(out, bits, signed, overflow)


def _shifted(codes: np.ndarray, left: int, rounding: Rounding, overflow: Overflow) -> np.ndarray:
    if left < 0:
        wide = Accumulator(MOST_BITS, rounding=rounding)
        drop = np.array([min(-left, MOST_BITS - 1)])
        sums = codes.reshape(1, 1, -1)
        return add_limited(sums, np.zeros_like(sums), wide, drop)[0].reshape(-1)
    left = min(left, 63)
    if overflow is not Overflow.WRAP:
        most = (1 << MOST_BITS) >> left
        codes = np.clip(codes, -most, most)
    return np.left_shift(codes, left)


def limited(codes: np.ndarray, bits: int, signed: bool, overflow: Overflow) -> np.ndarray:
    """Codes brought into range by the overflow rule; wrapped ones from int64's low bits."""
    half = 1 << (bits - 1)
    if overflow is Overflow.WRAP:
        low_bits = codes & (2 * half - 1)
        return (low_bits ^ half) - half if signed else low_bits
    most = half - 1 if signed else 2 * half - 1
    least = (-most if overflow is Overflow.SAT_SYM else -half) if signed else 0
    return np.clip(codes, least, most)
