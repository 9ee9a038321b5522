"""Streaming histograms of real values and of codes."""

from __future__ import annotations

import numpy as np

from refq.errors import FormatError
from refq.kernels.compiling import njit, prange

BINS = 1 << 16
# parts of an array that are counted at the same time
PARTS = 8


@njit()
def _float_histogram(bits, counts):
    for i in range(bits.size):
        counts[bits[i] >> 16] += 1


def float_histogram(x: np.ndarray) -> np.ndarray:
    """Counts of float32 values by the upper 16 bits of their IEEE 754 pattern, int64 (65536,).

    Sign, exponent and seven mantissa bits: 128 bins per octave over the whole range, edges at
    every power of two, so no range has to be known and counts of batches simply add up.
    """
    counts = np.zeros(BINS, np.int64)
    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    _float_histogram(flat.view(np.uint32), counts)
    return counts


@njit(parallel=True)
def _code_histogram(codes, low, drop, counts):
    """Part by part, each into counts of its own; returns how many codes had no place."""
    outside = 0
    each = (codes.size + counts.shape[0] - 1) // counts.shape[0]
    for part in prange(counts.shape[0]):
        mine = counts[part]
        for i in range(part * each, min(codes.size, (part + 1) * each)):
            index = (np.int64(codes[i]) - low) >> drop
            if 0 <= index < mine.size:
                mine[index] += 1
            else:
                outside += 1
    return outside


def code_histogram(codes: np.ndarray, low: int, drop: int, bins: int) -> np.ndarray:
    """Counts of (code - low) >> drop, int64 (bins,); codes int32 or int64, any shape.

    Raises FormatError for codes that no bin counts, and for other types.
    """
    if codes.dtype not in (np.int32, np.int64):
        raise FormatError(f"codes of dtype {codes.dtype}", "int32 or int64")
    counts = np.zeros((PARTS, bins), np.int64)
    outside = _code_histogram(np.ascontiguousarray(codes).reshape(-1), low, drop, counts)
    if outside:
        raise FormatError(f"{outside} codes outside a histogram", f"{bins} bins from {low} on")
    return counts.sum(axis=0)


@njit(parallel=True)
def _exponent_histograms(patterns, counts):
    """patterns uint32 (N, C, P), counts (C, 256)."""
    for c in prange(patterns.shape[1]):
        row = counts[c]
        for n in range(patterns.shape[0]):
            for i in range(patterns.shape[2]):
                row[(patterns[n, c, i] >> 23) & 255] += 1


def exponent_histograms(x: np.ndarray) -> np.ndarray:
    """How often each of float32's 256 exponents occurs in each feature map: int64 (C, 256).

    x: float32 (N, C, ...). Bin e holds magnitudes from 2**(e - 127) to below 2**(e - 126), bin 0
    zero and all below 2**-126, bin 255 what is not finite.
    """
    x = np.ascontiguousarray(x, np.float32)
    counts = np.zeros((x.shape[1], 256), np.int64)
    _exponent_histograms(x.reshape(*x.shape[:2], -1).view(np.uint32), counts)
    return counts
