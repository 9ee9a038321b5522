"""How far integer codes are from the real values they stand for."""

from __future__ import annotations

import math

import numpy as np

from refq.errors import ShapeError
from refq.kernels.compiling import njit, prange


@njit(parallel=True)
def _energies(reference, codes, scale, signal, noise):
    """Sums over rows, so that the result does not depend on the number of threads."""
    for row in prange(reference.shape[0]):
        energy = 0.0
        error = 0.0
        for i in range(reference.shape[1]):
            value = np.float64(reference[row, i])
            difference = value - np.float64(codes[row, i]) * scale
            energy += value * value
            error += difference * difference
        signal[row] = energy
        noise[row] = error


def energies(reference: np.ndarray, codes: np.ndarray, frac_bits: int) -> tuple[float, float]:
    """(sum of reference**2, sum of (reference - codes * 2**-F)**2), in float64.

    reference: float32 (N, ...); codes: int32 or int64 of the same shape. Their quotient is the
    signal to quantization noise ratio.
    """
    if reference.shape != codes.shape:
        raise ShapeError(f"codes of shape {codes.shape}", f"{reference.shape}")
    rows = reference.shape[0] * (reference.shape[1] if reference.ndim > 1 else 1)
    signal, noise = np.empty(rows), np.empty(rows)
    flat = np.ascontiguousarray(reference).reshape(rows, -1)
    _energies(
        flat,
        np.ascontiguousarray(codes).reshape(rows, -1),
        math.ldexp(1.0, -frac_bits),
        signal,
        noise,
    )
    return float(signal.sum()), float(noise.sum())
