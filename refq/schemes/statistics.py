"""Streaming statistics of activations: what calibration images tell a scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Union

import numpy as np

from refq.formats.fixed import Rounding

# a float32 pattern's upper half: sign, 8 exponent bits, 7 mantissa bits
EXPONENT_ZERO = 127
MANTISSA_BITS = 7
INFINITE = 255 << MANTISSA_BITS
# codes that are counted one by one: enough for values 16 times beyond 12 bits
CODE_BITS = 16


# of all tensors, or of each by its name
FracBits = Union[int, Mapping[str, int]]


def of_tensor(frac_bits: FracBits, name: str) -> int:
    return frac_bits if isinstance(frac_bits, int) else frac_bits[name]


@dataclass(frozen=True)
class Wanted:
    """What a scheme wants to know of calibration images, by the names in Statistics.

    Of all tensors that a plan quantizes, and of those in also, which may be any, the image too:
    histograms, and extremes with them; maps; codes with code_frac_bits, or as many as a function of
    the histograms tells, rounded so. energies: of all convolutions' filters.
    """

    histograms: bool = False
    maps: bool = False
    code_frac_bits: FracBits | Callable[[Statistics], FracBits] | None = None
    rounding: Rounding = Rounding.TIES_EVEN
    energies: bool = False
    also: Set[str] = frozenset()


@dataclass(frozen=True)
class Statistics:
    """Histograms of tensors over calibration images. They grow batch by batch; no activation is
    kept.

    histograms: {tensor: int64 (65536,)} by kernels.float_histogram. codes: {tensor: int64
    (65536,)}, how often each 16-bit code with frac_bits fraction bits occurs, from the least one
    up, signed where the tensor's point is, values beyond counted as the ends; maps: {tensor: int64
    (C, 256)} by kernels.exponent_histograms, a row for each feature map; energies: {convolution:
    float64 (O, I)} of its filters, by refq.measure.energy; all for the schemes that ask for them.
    extremes: {tensor: (least, greatest value)}.
    """

    images: int = 0
    histograms: Mapping[str, np.ndarray] = field(default_factory=dict)
    codes: Mapping[str, np.ndarray] = field(default_factory=dict)
    frac_bits: FracBits | None = None
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    energies: Mapping[str, np.ndarray] = field(default_factory=dict)
    extremes: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def joined(self, tensors: tuple[str, ...]) -> np.ndarray:
        """One histogram over several tensors, of magnitudes: int64 (32768,)."""
        counts = np.sum([self.histograms[name] for name in tensors], axis=0)
        return counts[:32768] + counts[32768:]

    def joined_codes(self, tensors: tuple[str, ...]) -> np.ndarray:
        """One histogram of codes over several tensors: int64 (65536,)."""
        total: np.ndarray = np.sum([self.codes[name] for name in tensors], axis=0)
        return total


def covering_exponents(counts: np.ndarray, share: float) -> np.ndarray:
    """`covering_bits` of every feature map: int64 (C,), for int64 (C, 256) of Statistics.maps."""
    below = np.cumsum(counts, axis=1)
    wanted = share * below[:, -1:]
    # bin e holds values below 2**(e - 126)
    found: np.ndarray = np.argmax(below >= wanted, axis=1) - EXPONENT_ZERO + 1
    return np.where(counts[:, 0] == below[:, -1], 0, np.maximum(found, 1 - EXPONENT_ZERO))


def moments(magnitudes: np.ndarray) -> tuple[float, float]:
    """(mean, root mean square) of the magnitudes that are neither zero nor infinite; (0, 0)
    where there are none.

    magnitudes: int64 (32768,) from Statistics.joined. Values count as their bin's middle, which
    is within 0.4 % of each; the first bin, below 2**-133, counts as zero.
    """
    counts = magnitudes[1:INFINITE].astype(np.float64)
    total = counts.sum()
    if total == 0:
        return 0.0, 0.0
    patterns = (np.arange(1, INFINITE, dtype=np.uint32) << 16) | 0x8000
    middles = patterns.view(np.float32).astype(np.float64)
    return float(counts @ middles / total), float(np.sqrt(counts @ middles**2 / total))


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
