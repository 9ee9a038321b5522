"""What a map of bytes holds of a stored tensor (refq.kernels.maps)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from refq import kernels
from refq.engine.integer import encoded
from refq.formats.codes import Codebook, ShiftCode
from refq.kernels.planes import MAX_BITS
from refq.plans.plan import TensorPlan


def kept_bits(entry: TensorPlan) -> int:
    """Bits of what a map holds: shift codes as they are, codebooks' indices already decoded."""
    match entry.code:
        case ShiftCode():
            return entry.code.bits
        case Codebook():
            return max(1, entry.code.values[-1].bit_length())
    return entry.fixed.bits


def span(entry: TensorPlan) -> tuple[int, int]:
    """Least and greatest code that a map holds."""
    low = entry.fixed.min_code
    return low, low + (1 << kept_bits(entry)) - 1


def fits(entry: TensorPlan) -> bool:
    """True for codes that byte planes hold, and a table of a codebook's format."""
    if isinstance(entry.code, Codebook):
        return entry.fixed.bits <= MAX_BITS
    return kept_bits(entry) <= MAX_BITS


@lru_cache(maxsize=128)
def stored_values(entry: TensorPlan) -> np.ndarray:
    """int32 (max_code + 1,): what each value code is after storage."""
    return encoded(np.arange(entry.fixed.max_code + 1, dtype=np.int32), entry, kernels)
