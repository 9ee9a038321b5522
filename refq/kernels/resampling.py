"""Values between two of an axis: bilinear resizing, one axis after the other (contract 4)."""

from __future__ import annotations

import numpy as np

from refq.errors import FormatError
from refq.kernels.elementwise import LARGEST, largest


def interpolate(
    x: np.ndarray, axis: int, before: np.ndarray, behind: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """x[before] (1 - share) + x[behind] share along an axis: float32.

    before, behind: int64 (size,); share: float32 (size,).
    """
    weights = share.reshape(-1, *(1,) * (x.ndim - 1 - axis)).astype(np.float32)
    return np.take(x, before, axis) * (1 - weights) + np.take(x, behind, axis) * weights


def interpolate_integer(
    x: np.ndarray, axis: int, before: np.ndarray, behind: np.ndarray, share: np.ndarray, bits: int
) -> np.ndarray:
    """x[before] (2**bits - share) + x[behind] share along an axis, exact: int64 with `bits` more
    fraction bits.

    x: int32 or int64; share: codes int64 (size,), 0 to 2**bits. Raises FormatError where the result
    leaves 62 bits.
    """
    if largest(x) << bits > LARGEST:
        found = f"codes of {largest(x).bit_length() + 1} bits times {bits + 1}"
        raise FormatError(found, "63 bits at most", "use fewer bits")
    share = share.reshape(-1, *(1,) * (x.ndim - 1 - axis)).astype(np.int64)
    x = x.astype(np.int64, copy=False)
    return np.take(x, before, axis) * ((1 << bits) - share) + np.take(x, behind, axis) * share
