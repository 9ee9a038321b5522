"""Streaming histograms of real values."""

from __future__ import annotations

import numpy as np
from numba import njit

BINS = 1 << 16


@njit(cache=True, nogil=True)
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
