"""Softmax over channels, float32 and in integers alone."""

from __future__ import annotations

import math

import numpy as np

from refq.errors import FormatError
from refq.formats.fixed import FixedPointFormat
from refq.kernels.compiling import njit, prange

# fraction bits of the integer exponential
EXP_BITS = 30


@njit(parallel=True)
def _softmax_codes(x, constants, out, out_bits, high):
    """x, out (N, C, pixels); constants[b] = exp(-2**(b - F)) with EXP_BITS fraction bits."""
    channels = x.shape[1]
    half = np.int64(1) << (EXP_BITS - 1)
    for task in prange(x.shape[0] * x.shape[2]):
        n, p = task // x.shape[2], task % x.shape[2]
        peak = np.int64(x[n, 0, p])
        for c in range(channels):
            peak = max(peak, np.int64(x[n, c, p]))
        powers = np.empty(channels, np.int64)
        total = np.int64(0)
        for c in range(channels):
            # exp(-d) as the product of one constant per set bit of d, highest first
            distance = peak - x[n, c, p]
            power = np.int64(1) << EXP_BITS
            for b in range(constants.size - 1, -1, -1):
                if (distance >> b) & 1:
                    power = (power * constants[b] + half) >> EXP_BITS
            powers[c] = power
            total += power
        for c in range(channels):
            code = ((powers[c] << out_bits) + total // 2) // total
            out[n, c, p] = min(code, high)


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum of exp over axis 1, float32, computed in float64 after subtracting the peak."""
    wide = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    return (wide / wide.sum(axis=1, keepdims=True)).astype(np.float32)


def softmax_integer(x: np.ndarray, frac_bits: int, fmt: FixedPointFormat) -> np.ndarray:
    """Softmax of codes over axis 1 in integer arithmetic.

    x int32 or int64 (N,C) or (N,C,H,W) with frac_bits F. exp(-(peak - code) 2**-F) is the product
    of constants round(2**30 exp(-2**(b-F))), one for each set bit b of the distance, from the
    highest down, each product rounded half up to 30 bits; then round half up of
    power * 2**F' / sum. Returns codes of fmt (F' fraction bits, 0 to 31; the code of 1.0
    saturates). Raises FormatError for codes beyond 2**40 or formats that cannot hold it.
    """
    if not 0 <= fmt.frac_bits <= 31:
        raise FormatError(f"softmax into {fmt}", "0 to 31 fraction bits")
    if x.dtype not in (np.int32, np.int64):
        raise FormatError(f"codes of dtype {x.dtype}", "int32 or int64")
    peak = max(int(x.max(initial=0)), -int(x.min(initial=0)))
    if peak >= 2**40:
        raise FormatError(f"softmax of codes up to {peak}", "below 2**40")
    constants = exp_constants(frac_bits, (2 * peak).bit_length())
    flat = np.ascontiguousarray(x).reshape(x.shape[0], x.shape[1], -1)
    out = np.empty(flat.shape, fmt.dtype)
    _softmax_codes(flat, constants, out, fmt.frac_bits, fmt.max_code)
    return out.reshape(x.shape)


def exp_constants(frac_bits: int, count: int) -> np.ndarray:
    """round(2**30 * exp(-2**(b - F))) for b = 0 .. count-1, int64."""
    exponents = [min(float(b - frac_bits), 1000.0) for b in range(count)]
    return np.array([round(2**EXP_BITS * math.exp(-(2.0**e))) for e in exponents], np.int64)
