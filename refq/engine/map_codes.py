"""What a map of bytes holds of a stored tensor, and which sums the fused kernels store in one
(refq.kernels.maps).
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from refq import kernels
from refq.formats.fixed import Overflow, Rounding
from refq.kernels.planes import MAX_BITS
from refq.plans.plan import Plan, TensorPlan

# fraction bits that a sum may lose
MOST_DROPPED = 48
# beyond all codes
UNBOUNDED = 2**62


def as_is(entry: TensorPlan) -> bool:
    """True where a map holds what is stored; elsewhere it holds the value codes after storage."""
    return entry.code is None or entry.code.shifted is not None


def kept_bits(entry: TensorPlan) -> int:
    """Bits of what a map holds: plain and shift codes as they are, others already decoded."""
    if as_is(entry):
        return entry.storage.bits
    levels = entry.storage.levels
    return max(1, (max(0, levels[-1]) - min(0, levels[0])).bit_length())


def span(entry: TensorPlan) -> tuple[int, int]:
    """Least and greatest code that a map holds."""
    # padding is zero
    low = entry.storage.first if as_is(entry) else min(0, entry.storage.levels[0])
    return low, low + (1 << kept_bits(entry)) - 1


def scale(entry: TensorPlan) -> int:
    """How far left what a map holds is shifted to be a value code."""
    return entry.code.shift or 0 if entry.code and as_is(entry) else 0


def fits(entry: TensorPlan) -> bool:
    """True for codes that byte planes hold, with a table of all value codes where one is needed."""
    return (kept_bits(entry) if as_is(entry) else entry.fixed.bits) <= MAX_BITS


def storable(plan: Plan, entry: TensorPlan, dropped: np.ndarray) -> bool:
    """True for sums that lose so many fraction bits each on their way into a map: not for codes
    that no map holds or that end below, wrapping, and stochastic rounding."""
    return (
        fits(entry)
        and not _ends_below(entry)
        and 0 <= dropped.min() <= dropped.max() <= MOST_DROPPED
        and plan.overflow is not Overflow.WRAP
        and plan.rounding is not Rounding.STOCHASTIC
    )


def clip_codes(bounds: tuple[float, float], entry: TensorPlan) -> tuple[int, int]:
    """The codes of a tensor's format that its bounds come to, halves rounded to even; one that is
    not within the format does nothing, or leaves the format's last code (contract section 4)."""
    least, most = entry.fixed.min_code, entry.fixed.max_code
    low, high = (_code(bound, entry.fixed.frac_bits) for bound in bounds)
    return (
        min(low, most) if low >= least else -UNBOUNDED,
        max(high, least) if high <= most else UNBOUNDED,
    )


def _code(bound: float, frac_bits: int) -> int:
    if math.isinf(bound):
        return UNBOUNDED if bound > 0 else -UNBOUNDED
    return round(Fraction(bound) * Fraction(2) ** frac_bits)


def _ends_below(entry: TensorPlan) -> bool:
    """True for shift codes that do not reach down to the format's least code: kernels limit an
    index above alone."""
    code = entry.code
    return code is not None and as_is(entry) and code.levels[0] > entry.fixed.min_code


@lru_cache(maxsize=128)
def stored_values(entry: TensorPlan, low: int, high: int) -> np.ndarray | None:
    """int32 (high - low + 1,): what each value code from low to high is after storage; None where a
    map holds what is stored."""
    if as_is(entry):
        return None
    return entry.storage.kept(np.arange(low, high + 1, dtype=np.int32), kernels)
