"""Codes shifted, rounded and limited at any width, to recompute what a device should have."""

from __future__ import annotations

import numpy as np

from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels import requantize

# codes stay below 2**62, so that sums and shifts of them fit int64
MOST_BITS = 62
# beyond any width
WIDTHS = 1 << 7


class Word(FixedPointFormat):
    """A format as wide as sums are, which no plan's is."""

    def __post_init__(self) -> None:
        pass


def rescaled(
    codes: np.ndarray,
    left: np.ndarray | int,
    bits: np.ndarray | int,
    signed: bool,
    rounding: Rounding,
    overflow: Overflow,
) -> np.ndarray:
    """codes * 2**left, rounded, then brought into so many bits (contract section 1): int64 (k,).

    codes: int64 (k,), of up to MOST_BITS bits. left, bits: one for all or int (k,); what is
    negative shifts right. rounding: any but stochastic.
    """
    keys, out = np.asarray(left, np.int64) * WIDTHS + bits, np.empty(codes.shape, np.int64)
    for key in np.unique(keys).tolist():
        shift, width = divmod(key, WIDTHS)
        here = np.broadcast_to(keys == key, codes.shape)
        word = Word(width, 0, signed)
        out[here], _ = requantize(codes[here], -shift, word, rounding, overflow)
    return out


def limited(codes: np.ndarray, bits: int, signed: bool, overflow: Overflow) -> np.ndarray:
    """Codes brought into range by the overflow rule."""
    return rescaled(codes, 0, bits, signed, Rounding.TO_NEG, overflow)
