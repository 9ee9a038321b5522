"""Formats of coefficients by layer, kernel or filter, and of data by feature map (paper B,
sections 3 and 4; contract section 3)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refq.errors import OptionError
from refq.formats.fixed import FixedPointFormat, FormatGrid, within
from refq.formats.floats import Affine, AffineGrid
from refq.schemes.options import Options

# how much finer than its whole layer a kernel, filter or feature map may be: 8-bit coefficients so
# aligned have 15 bits, and what is 128 times smaller than the layer's largest adds little to it
FINER = 7
# beyond every exponent
ABOVE = 1 << 20
AXES = {"4D": 0, "3D": 1, "2D": 2}


def formats(weight: np.ndarray, bits: int | np.ndarray, granularity: str, options: Options) -> Any:
    """Formats of coefficients (O, I, ...): one, or a grid by kernel or filter; signed fixed point,
    or affine where that is asked for.

    bits: of all, or of each kernel or filter. Dense layers have one format (paper B, section 4).
    """
    if options.hybrid.formats == "affine":
        return affine(weight, bits, granularity)
    axes = AXES[granularity] if weight.ndim == 4 else 0
    whole = int(np.max(bits)) - 1 - int(integer_bits(weight, 0, options))
    if axes == 0:
        return FixedPointFormat(int(np.max(bits)), within(whole))
    own = np.asarray(bits) - 1 - integer_bits(weight, axes, options)
    # fewer bits are as much coarser as the whole layer would be with them
    finest = whole - (int(np.max(bits)) - np.asarray(bits)) + FINER
    return FormatGrid(np.asarray(bits), np.clip(np.minimum(own, finest), within(-99), within(99)))


def affine(weight: np.ndarray, bits: int | np.ndarray, granularity: str) -> Affine | AffineGrid:
    """mu and sigma of coefficients (O, I, ...) that use their whole range (paper B, eq. 5): the
    middle, and 2**(1 - T) of the farthest distance from it."""
    if np.min(bits) != np.max(bits):
        raise OptionError("--formats affine with two widths in a layer", "magnitude or coverage")
    axes, width = AXES[granularity] if weight.ndim == 4 else 0, int(np.max(bits))
    rows = weight.reshape(*weight.shape[:axes], -1).astype(np.float64)
    mean = (rows.max(axis=-1) + rows.min(axis=-1)) / 2
    reach = np.abs(rows - mean[..., None]).max(axis=-1)
    # where all coefficients are equal any step will do
    step = np.where(reach > 0, reach, 1.0) * 2.0 ** (1 - width)
    if axes == 0:
        return Affine(width, float(step), -(1 << (width - 1)), float(mean))
    return AffineGrid(width, mean, step)


def integer_bits(x: np.ndarray, axes: int, options: Options) -> np.ndarray:
    """I of x, of each x[i] or of each x[i, j] (axes 0, 1, 2): int64.

    By magnitude, ceil(log2 max|x|) (paper B, eq. 6), or so that the asked share of all |x| lie
    below 2**I.
    """
    rows = np.abs(x.reshape(*x.shape[:axes], -1))
    if options.hybrid.formats == "coverage":
        _, exponents = np.frexp(rows)
        # zeros lie below any 2**I; where they are enough, the least of the others decides
        some = rows > 0
        least = np.where(some, exponents, ABOVE).min(axis=-1)
        place = max(0, math.ceil(options.coverage * rows.shape[-1]) - 1)
        ordered = np.partition(np.where(some, exponents, -ABOVE), place, axis=-1)
        found = np.maximum(ordered[..., place], least)
        return np.where(some.any(axis=-1), found, 0).astype(np.int64)
    mantissa, exponents = np.frexp(rows.max(axis=-1))
    return np.where(mantissa == 0.5, exponents - 1, exponents).astype(np.int64)
