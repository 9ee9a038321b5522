"""Noise, saturation and stored codes at the points where a plan keeps activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refq import kernels
from refq.engine.aligning import of_channels
from refq.engine.forward import Tensor
from refq.engine.simulated import Rounded
from refq.measure.calibration import quantized
from refq.measure.streaming import Collector, Source, collect
from refq.networks.graph import Network
from refq.networks.points import storage_points
from refq.plans.plan import Plan

HISTOGRAM_BITS = 16


@dataclass(frozen=True)
class PointNoise:
    """A point's energies, saturation and stored codes over all images.

    histogram: how often each stored code occurs, int64 (2**bits,), from the least code up; None
    for codes of more than 16 bits.
    """

    signal: float = 0.0
    noise: float = 0.0
    values: int = 0
    outside: int = 0
    histogram: np.ndarray | None = field(default=None, compare=False)
    zero: int = 0

    @property
    def sqnr_db(self) -> float | None:
        """10 log10(signal / noise); None where there is no noise, or no signal."""
        return sqnr_db(self.signal, self.noise)

    @property
    def zero_share(self) -> float | None:
        """Share of values that are stored as zero."""
        return self.zero / self.values if self.values else None

    @property
    def entropy_bits(self) -> float | None:
        """Bits a value that no code of single values can go below: -sum p log2 p."""
        if self.histogram is None:
            return None
        shares = self.histogram[self.histogram > 0] / self.histogram.sum()
        return float(-(shares * np.log2(shares)).sum()) + 0.0

    def __add__(self, other: PointNoise) -> PointNoise:
        """Of more values; their codes are counted where they are."""
        counts = other.histogram
        if counts is not None and self.histogram is not None:
            counts = self.histogram + counts
        return PointNoise(
            signal=self.signal + other.signal,
            noise=self.noise + other.noise,
            values=self.values + other.values,
            outside=self.outside + other.outside,
            histogram=counts,
            zero=self.zero + other.zero,
        )


def sqnr_db(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise); None where there is no noise, or no signal."""
    if not (0.0 < noise < math.inf and 0.0 < signal < math.inf):
        return None
    return 10 * math.log10(signal / noise)


def makers(network: Network) -> dict[str, str]:
    """{tensor that is quantized: its point}."""
    return {name: point.name for point in storage_points(network) for name in point.makers}


def noise_of(reference: np.ndarray, tensor: Any) -> PointNoise:
    """Of a tensor beside what it is in float, float32 of the same shape: a Tensor, or a
    simulation's Rounded or plain array, whose values are not counted."""
    if isinstance(tensor, Tensor):
        signal, noise = kernels.energies(reference, tensor.codes, tensor.frac_bits)
        counts, zero = _counts(tensor)
        outside = tensor.outside
    else:
        rounded = tensor if isinstance(tensor, Rounded) else Rounded(tensor)
        values, outside, counts = rounded.tensor, rounded.outside, None
        with np.errstate(invalid="ignore"):  # whoever measures tells infinite ones
            error = np.subtract(reference, values, dtype=np.float64)
        signal = float(np.square(reference, dtype=np.float64).sum())
        noise = float(np.square(error).sum())
        zero = values.size - int(np.count_nonzero(values))
    return PointNoise(
        signal=signal,
        noise=noise,
        values=reference.size,
        outside=outside,
        histogram=counts,
        zero=zero,
    )


def _counts(tensor: Tensor) -> tuple[np.ndarray | None, int]:
    """(how often each stored code occurs, how often zero does); no counts of very wide codes."""
    entry, codes = tensor.stored, tensor.codes
    zero = codes.size - int(np.count_nonzero(codes))
    if entry is None or entry.stored_bits > HISTOGRAM_BITS:
        return None, zero
    if entry.drops:
        codes = np.right_shift(codes, of_channels(np.array(entry.drops), codes))
    return entry.storage.counted(codes, kernels), zero


def storage_noise(source: Source, plans: Mapping[str, Plan]) -> dict[str, dict[str, PointNoise]]:
    """{plan: {point: noise}} of storage alone: each tensor is quantized, stored and decoded as its
    plan says, from float values that nothing before it has quantized."""
    points = makers(source.network)

    def parts(name: str, values: np.ndarray) -> dict[tuple[str, str], PointNoise]:
        return {
            (label, points[name]): noise_of(values, _stored(values, name, plan))
            for label, plan in plans.items()
        }

    kept = Collector("noise", quantized(source.network), parts)
    collect(source, [kept])
    noises: dict[str, dict[str, PointNoise]] = {label: {} for label in plans}
    for (label, point), noise in kept.totals.items():
        noises[label][point] = noise
    return noises


def _stored(values: np.ndarray, name: str, plan: Plan) -> Tensor:
    """A float tensor as a plan keeps it."""
    entry = plan.tensors[name]
    codes, outside = kernels.quantize(values, entry.fixed, plan.rounding, plan.overflow)
    return Tensor(entry.storage.kept(codes, kernels), entry.fixed.frac_bits, entry, outside)
