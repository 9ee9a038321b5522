"""Exact integer matrix products.

The portable backend rides BLAS: a float64 product of integers is exact, in any summation order,
while every partial sum stays below 2**53. Beyond that, int64 loops.
"""

from __future__ import annotations

import numpy as np

from refq.errors import FormatError
from refq.kernels.compiling import njit, prange

EXACT_FLOAT64 = 2**53
EXACT_INT64 = 2**63


@njit(parallel=True)
def _absolute_row_sums(w, out):
    for row in prange(w.shape[0]):
        total = np.int64(0)
        for k in range(w.shape[1]):
            total += abs(np.int64(w[row, k]))
        out[row] = total


@njit(parallel=True)
def _multiply_int64(w, x, out):
    for row in prange(w.shape[0]):
        out[row, :] = 0
        for k in range(w.shape[1]):
            factor = np.int64(w[row, k])
            if factor != 0:
                for column in range(x.shape[1]):
                    out[row, column] += factor * x[k, column]


def largest(x: np.ndarray) -> int:
    """Greatest magnitude of an integer array, 0 when empty."""
    return max(int(x.max()), -int(x.min())) if x.size else 0


def sum_bound(w: np.ndarray, x_largest: int, bias: np.ndarray | None = None) -> int:
    """No partial sum of w (rows, K) with values up to x_largest, and bias, exceeds this.

    Raises FormatError where that is beyond int64.
    """
    if w.dtype == np.int64 and largest(w) * w.shape[1] >= EXACT_INT64:
        # the row sums themselves may leave int64
        longest = max(sum(abs(int(value)) for value in row) for row in w)
    else:
        sums = np.empty(w.shape[0], np.int64)
        _absolute_row_sums(w, sums)
        longest = int(sums.max(initial=0))
    # Python integers: the product itself may leave int64
    bound = longest * x_largest + (largest(bias) if bias is not None else 0)
    if bound >= EXACT_INT64:
        raise FormatError(
            f"sums of up to {bound.bit_length() + 1} bits",
            "sums within 64 bits",
            "use fewer bits or fraction bits for weights or activations",
        )
    return bound


def exact_dtype(bound: int) -> type:
    """The operand type whose product is exact for sums up to the bound."""
    return np.float64 if bound < EXACT_FLOAT64 else np.int64


def multiply(w: np.ndarray, x: np.ndarray) -> np.ndarray:
    """w (rows, K) times x (K, columns), both of one type from exact_dtype; exact.

    Returns (rows, columns) of the same type, holding integers.
    """
    if w.dtype == np.float64:
        return w @ x
    out = np.empty((w.shape[0], x.shape[1]), np.int64)
    _multiply_int64(w, x, out)
    return out
