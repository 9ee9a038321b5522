"""Streaming statistics of activations: what calibration images tell a scheme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from refq import kernels

# a float32 pattern's upper half: sign, 8 exponent bits, 7 mantissa bits
EXPONENT_ZERO = 127
MANTISSA_BITS = 7


@dataclass(frozen=True)
class Statistics:
    """Histograms of tensors over calibration images, by kernels.float_histogram.

    histograms: {tensor: int64 (65536,)}. They grow batch by batch; no activation is kept.
    """

    images: int = 0
    histograms: Mapping[str, np.ndarray] = field(default_factory=dict)

    def joined(self, tensors: tuple[str, ...]) -> np.ndarray:
        """One histogram over several tensors, of magnitudes: int64 (32768,)."""
        counts = np.sum([self.histograms[name] for name in tensors], axis=0)
        return counts[:32768] + counts[32768:]


def add_batch(statistics: Statistics, tensors: Mapping[str, np.ndarray], images: int) -> Statistics:
    """Statistics with a batch of float32 tensors added."""
    grown = dict(statistics.histograms)
    for name, values in tensors.items():
        counts = kernels.float_histogram(values)
        grown[name] = grown[name] + counts if name in grown else counts
    return Statistics(statistics.images + images, grown)


def covering_bits(magnitudes: np.ndarray, share: float) -> int:
    """Smallest I so that at least `share` of the magnitudes lie below 2**I (contract section 3,
    "coverage"); 0 where all are zero.

    magnitudes: int64 (32768,) from Statistics.joined. The bins have edges at every power of two,
    so the answer is exact.
    """
    total = int(magnitudes.sum())
    if total == 0 or int(magnitudes[0]) == total:
        return 0
    below = np.concatenate([[0], np.cumsum(magnitudes)])
    for bits in range(-EXPONENT_ZERO + 1, 129):
        edge = min((bits + EXPONENT_ZERO) << MANTISSA_BITS, 32768)
        if below[edge] >= share * total:
            return bits
    return 128
