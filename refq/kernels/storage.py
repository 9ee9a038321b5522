"""Storage codes: how an activation is kept between layers in fewer bits (paper A, section III)."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from refq.errors import FormatError


@njit(cache=True, nogil=True, parallel=True)
def _shift_encode(codes, out, drop, half, high):
    for i in prange(codes.size):
        out[i] = min((np.int64(codes[i]) + half) >> drop, high)


def shift_encode(codes: np.ndarray, bits: int, drop: int, nearest: bool) -> np.ndarray:
    """ENQ's quantization unit: index = min((x + half) >> drop, 2**bits - 1), int32.

    codes: int32 or int64, non-negative q_m-bit codes of any shape; drop = q_m - E.
    half is 0 for the papers' floor rule, 2**(drop-1) for nearest (contract section 2).
    """
    if drop < 0 or not 1 <= bits <= 31:
        raise FormatError(
            f"{bits} bits after dropping {drop}", "1 to 31 bits and 0 or more dropped"
        )
    half = (1 << drop) >> 1 if nearest else 0
    out = np.empty(codes.shape, np.int32)
    flat = np.ascontiguousarray(codes).reshape(-1)
    _shift_encode(flat, out.reshape(-1), drop, half, (1 << bits) - 1)
    return out


def shift_decode(index: np.ndarray, drop: int) -> np.ndarray:
    """ENQ's conversion unit: index << drop, int32, same shape."""
    return np.left_shift(index, np.int32(drop), dtype=np.int32)
