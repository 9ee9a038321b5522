"""Codes of coefficients whose products have one number of fraction bits within each kernel.

Products of one output channel that differ in fraction bits meet at the largest of them by exact
left shifts, which are made once, on the codes (contract section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq import kernels
from refq.errors import FormatError
from refq.formats.fixed import Accumulator, FixedPointFormat, FormatGrid


@dataclass(frozen=True)
class Aligned:
    """codes: int (O, I, ...), shifted left within each kernel. top: int64 (O,), the fraction bits
    of its products. outside: coefficients beyond their format."""

    codes: np.ndarray
    top: np.ndarray
    outside: int = 0


def aligned(
    filters: np.ndarray, fmt: FixedPointFormat | FormatGrid, data: np.ndarray, ops: ModuleType
) -> Aligned:
    """filters: float (O, I, ...). data: int64 (O, I) or broadcast to it, the fraction bits of what
    each reads."""
    codes, frac_bits, outside = coded(filters, fmt, ops)
    products = frac_bits + data
    top = np.broadcast_to(products.max(axis=1), len(filters))
    return Aligned(shifted_left(codes, top[:, None] - products), top, outside)


def coded(
    filters: np.ndarray, fmt: FixedPointFormat | FormatGrid, ops: ModuleType = kernels
) -> tuple[np.ndarray, np.ndarray, int]:
    """(int codes (O, I, ...), their fraction bits, int64 (O, I) or broadcast to it, how many lay
    outside)."""
    if isinstance(fmt, FormatGrid):
        codes, outside = ops.quantize_grid(filters, fmt)
        return codes, fmt.frac_bits.astype(np.int64).reshape(len(filters), -1), outside
    codes, outside = ops.quantize(filters, fmt)
    return codes, np.full((1, 1), fmt.frac_bits, np.int64), outside


def declared(frac_bits: np.ndarray, accumulator: Accumulator) -> tuple[np.ndarray, np.ndarray]:
    """(fraction bits that sums of products with so many have on the way, those of them that the
    accumulator drops), int64 (O,) each."""
    if accumulator.frac_bits is None:
        return frac_bits, np.zeros_like(frac_bits)
    kept = np.broadcast_to(np.array(accumulator.frac_bits, np.int64), frac_bits.shape)
    on_the_way = np.maximum(frac_bits, kept)
    return on_the_way, on_the_way - kept


def shifted_left(codes: np.ndarray, shift: np.ndarray, name: str = "weights") -> np.ndarray:
    """Codes (O, ...) shifted left by int64 (O,) or (O, I) places: int32, or int64 where needed.

    Raises FormatError, with the layer's name, where 63 bits could not hold them.
    """
    most = int(shift.max(initial=0)) if codes.any() else 0
    if most == 0:
        return codes if codes.itemsize > 4 else codes.astype(np.int32, copy=False)
    peak = int(np.abs(codes.astype(np.int64)).max()).bit_length()
    if peak + most > 62:
        raise FormatError(
            f"layer {name}: codes of {peak} bits shifted by {most}",
            "63 bits",
            "choose formats of weights, bias and activations closer to each other",
        )
    kind = np.int32 if peak + most < 31 else np.int64
    return np.left_shift(codes.astype(kind), against(shift, codes).astype(kind))


def narrow(codes: np.ndarray) -> np.ndarray:
    """The same codes in the narrowest integer that holds them."""
    low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return codes.astype(kind, copy=False)
    return codes


def magnitudes(codes: np.ndarray) -> np.ndarray:
    """Sum of the magnitudes of each output's codes: int64 (O,)."""
    flat = codes.reshape(len(codes), -1)
    # one row at a time, so that no second copy of all weights is made
    return np.array([np.abs(row.astype(np.int64)).sum() for row in flat], np.int64)


def shifted_magnitudes(codes: np.ndarray, align: np.ndarray) -> np.ndarray:
    """Those of codes that are shifted left by int64 (O,) places: float64 (O,)."""
    return np.ldexp(magnitudes(codes).astype(np.float64), align)


def of_channels(numbers: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Numbers (C,) to meet an array (N, C, ...)."""
    return numbers.reshape(-1, *(1,) * (like.ndim - 2))


def against(numbers: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Numbers of kernels (O,) or filters (O, I), to meet an array (O, I, ...)."""
    return numbers.reshape(*numbers.shape, *(1,) * (array.ndim - numbers.ndim))
