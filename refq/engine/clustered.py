"""Clustered layers in integers: base kernels, and what every kernel lacks to its own (paper B,
section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np

from refq import kernels
from refq.engine.aligning import (
    Aligned,
    against,
    aligned,
    coded,
    declared,
    shifted_left,
    shifted_magnitudes,
)
from refq.formats.fixed import Accumulator, FixedPointFormat, FormatGrid
from refq.plans.plan import Clustered, Coefficients


@dataclass(frozen=True)
class Split:
    """A clustered layer as it is summed: K temporary maps, and residuals.

    base (K, I, ...), residual (N, I, ...): codes. labels: int64 (N,). base_align, base_drop,
    align: as in IntegerLayer, of base kernels and of residuals. raise_base: int64 (N,), left shift
    from a base's sum to the sum that it is part of, before either drops any fraction bits.
    """

    base: np.ndarray
    residual: np.ndarray
    labels: np.ndarray
    base_align: np.ndarray
    base_drop: np.ndarray
    align: np.ndarray
    raise_base: np.ndarray

    @cached_property
    def reaches(self) -> tuple[np.ndarray, np.ndarray]:
        """As IntegerLayer.reach, of base kernels (K,) and of residuals (N,)."""
        return shifted_magnitudes(self.base, self.base_align), shifted_magnitudes(
            self.residual, self.align
        )


@dataclass(frozen=True)
class Parts:
    """A clustered layer's base kernels (K, I, ...) and residuals (N, I, ...), float values gone.
    labels: int64 (N,)."""

    base: Aligned
    residual: Aligned
    labels: np.ndarray

    def joined(self, name: str) -> Aligned:
        """Base and residual as one: what an exact accumulator cannot tell from the two."""
        base_top = self.base.top[self.labels]
        top = np.maximum(base_top, self.residual.top)
        base = shifted_left(self.base.codes[self.labels], top - base_top, name)
        rest = shifted_left(self.residual.codes, top - self.residual.top, name)
        outside = self.base.outside + self.residual.outside
        return Aligned(base.astype(np.int64) + rest, top, outside)

    def split(
        self, accumulator: Accumulator, frac_bits: np.ndarray, shape: tuple[int, ...]
    ) -> Split:
        """The layer as it is summed. frac_bits: int64 (N,), of its sums on the way. shape: of a
        kernel."""
        base_frac_bits, base_drop = declared(self.base.top, accumulator)
        return Split(
            base=self.base.codes.reshape(-1, *shape),
            residual=self.residual.codes.reshape(-1, *shape),
            labels=self.labels,
            base_align=base_frac_bits - self.base.top,
            base_drop=base_drop,
            align=frac_bits - self.residual.top,
            raise_base=frac_bits - base_frac_bits[self.labels],
        )


def parts_of(filters: np.ndarray, fmt: Clustered, data: np.ndarray, ops: ModuleType) -> Parts:
    """filters: float (N, I, ...). data: int64 (N, I) or broadcast to it, the fraction bits of what
    each reads."""
    labels = np.array(fmt.labels)
    # a base reads what its kernels read, which are of one group
    first = [fmt.labels.index(k) for k in range(1 + max(fmt.labels))]
    read = np.broadcast_to(data, (len(filters), data.shape[1]))[first]
    base = aligned(base_kernels(filters, labels), fmt.base, read, ops)
    rest = residuals(filters, labels, fmt.base, ops)
    return Parts(base, aligned(rest, fmt.residual, data, ops), labels)


def base_kernels(weight: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of each base's kernels, float64 (K, I, ...), for weight (N, I, ...), labels (N,)."""
    groups = [weight[labels == k] for k in range(1 + int(labels.max()))]
    return np.stack([group.mean(axis=0, dtype=np.float64) for group in groups])


def residuals(
    weight: np.ndarray,
    labels: np.ndarray,
    base: FixedPointFormat | FormatGrid,
    ops: ModuleType = kernels,
) -> np.ndarray:
    """What every kernel lacks to its base as it is quantized, float64 (N, I, ...): the residual
    makes up for the rounding of its base, too."""
    return weight - quantized_values(base_kernels(weight, labels), base, ops)[labels]


def quantized_values(
    weight: np.ndarray, fmt: Coefficients, ops: ModuleType = kernels
) -> np.ndarray:
    """The values that coefficients (O, I, ...) have in their formats: float64, same shape."""
    return counted_values(weight, fmt, ops)[0]


def counted_values(
    weight: np.ndarray, fmt: Coefficients, ops: ModuleType = kernels
) -> tuple[np.ndarray, int]:
    """(quantized_values, how many lay outside; base kernels and residuals both count)."""
    if isinstance(fmt, Clustered):
        labels = np.array(fmt.labels)
        bases, lost = counted_values(base_kernels(weight, labels), fmt.base, ops)
        rest, more = counted_values(residuals(weight, labels, fmt.base, ops), fmt.residual, ops)
        return bases[labels] + rest, lost + more
    codes, frac_bits, outside = coded(weight, fmt, ops)
    return np.ldexp(codes.astype(np.float64), -against(frac_bits, codes)), outside


def stored_coefficients(weight: np.ndarray, fmt: object) -> int:
    """How many coefficients a layer's weights (O, I, ...) are stored as."""
    bases = 1 + max(fmt.labels) if isinstance(fmt, Clustered) else 0
    return weight.size + bases * (weight.size // len(weight))
