"""Storage codes: how an activation is kept between layers in fewer bits (paper A, section III)."""

from __future__ import annotations

import numpy as np

from refq.errors import FormatError
from refq.kernels.compiling import njit, prange


@njit(parallel=True)
def _shift_encode(codes, out, drop, half, ends):
    low, high = ends
    for i in prange(codes.size):
        out[i] = max(min((np.int64(codes[i]) + half) >> drop, high), low)


def shift_encode(
    codes: np.ndarray, bits: int, drop: int, nearest: bool, signed: bool = False
) -> np.ndarray:
    """ENQ's quantization unit: index = (x + half) >> drop within 0..2**bits - 1, int32; signed:
    within -2**(bits-1)..2**(bits-1) - 1.

    codes: int32 or int64, q_m-bit codes of any shape, below 0 only where signed; drop = q_m - E.
    half is 0 for the papers' floor rule, 2**(drop-1) for nearest (contract section 2).
    """
    if drop < 0 or not 1 + signed <= bits <= 31:
        raise FormatError(
            f"{bits} bits after dropping {drop}", f"{1 + signed} to 31 bits and 0 or more dropped"
        )
    half = (1 << drop) >> 1 if nearest else 0
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    out = np.empty(codes.shape, np.int32)
    flat = np.ascontiguousarray(codes).reshape(-1)
    _shift_encode(flat, out.reshape(-1), drop, half, (low, high))
    return out


def shift_decode(index: np.ndarray, drop: int) -> np.ndarray:
    """ENQ's conversion unit: index << drop, int32, same shape."""
    return np.left_shift(index, np.int32(drop), dtype=np.int32)


@njit(parallel=True)
def _codebook_encode(codes, thresholds, out):
    for i in prange(codes.size):
        # how many thresholds are not above the code, by halving
        low, high = 0, thresholds.size
        while low < high:
            middle = (low + high) // 2
            if thresholds[middle] <= codes[i]:
                low = middle + 1
            else:
                high = middle
        out[i] = low


def codebook_encode(codes: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """KNQ's quantization unit: how many thresholds are not above the code, int32 of codes' shape.

    codes: int32 or int64 of any shape. thresholds: int64 (m,), ascending, equal ones allowed;
    index k is the interval from thresholds[k - 1] to below thresholds[k] (paper A, section III-A).
    Raises FormatError for thresholds that descend.
    """
    thresholds = np.ascontiguousarray(thresholds, np.int64)
    if (np.diff(thresholds) < 0).any():
        raise FormatError(f"thresholds {thresholds.tolist()}", "ascending ones")
    out = np.empty(codes.shape, np.int32)
    _codebook_encode(np.ascontiguousarray(codes).reshape(-1), thresholds, out.reshape(-1))
    return out


def codebook_decode(index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """KNQ's conversion unit: values[index], int32 of index's shape; values: int32 (m,)."""
    if index.size and not (index.min() >= 0 and index.max() < len(values)):
        raise FormatError(
            f"indices from {index.min()} to {index.max()}", f"0 to {len(values) - 1} of a codebook"
        )
    return np.asarray(values, np.int32)[index]
