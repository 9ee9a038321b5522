"""Fixed-point arithmetic with formats of their own: coefficients by kernel or filter, data by
feature map (paper B, section 4; contract section 3)."""

from __future__ import annotations

import numpy as np

from refq.errors import FormatError, ShapeError
from refq.formats.fixed import FixedPointFormat, FormatGrid, Overflow, Rounding
from refq.formats.floats import AffineGrid
from refq.kernels.compiling import njit, prange
from refq.kernels.fixed import _noise, _shift_code, rule_of


@njit(parallel=True)
def _quantize_rows(x, bits, frac_bits, out):
    """x, out (R, K); bits, frac_bits (R,): nearest codes, ties to even, saturated."""
    outside = 0
    unusable = 0
    for r in prange(x.shape[0]):
        high = 2.0 ** (bits[r] - 1) - 1
        scale = 2.0 ** frac_bits[r]
        for k in range(x.shape[1]):
            code = np.rint(np.float64(x[r, k]) * scale)
            limited = min(max(code, -high - 1), high)
            outside += code != limited
            unusable += code != code
            out[r, k] = np.int32(limited if code == code else 0)
    return outside, unusable


def quantize_grid(x: np.ndarray, grid: FormatGrid) -> tuple[np.ndarray, int]:
    """Codes of coefficients x, float32 or float64 (O, I, ...), each in the format of its kernel or
    filter: to nearest, ties to even, saturated (contract section 2).

    Returns (int32 codes of the same shape, how many lay outside). Raises ShapeError where the grid
    has other kernels or filters, FormatError for NaN.
    """
    x = np.asarray(x, order="C")
    if x.shape[: grid.bits.ndim] != grid.bits.shape:
        raise ShapeError(
            f"formats of shape {grid.bits.shape} for coefficients {x.shape}",
            f"{x.shape[:1]} or {x.shape[:2]}",
        )
    out = np.empty(x.shape, np.int32)
    rows = grid.bits.size
    outside, unusable = _quantize_rows(
        x.reshape(rows, -1),
        grid.bits.reshape(-1),
        grid.frac_bits.reshape(-1),
        out.reshape(rows, -1),
    )
    if unusable:
        raise FormatError(f"{unusable} NaN values", "finite values to quantize")
    return out, int(outside)


@njit(parallel=True)
def _requantize_maps(codes, out, shift, drops, rule):
    """codes, out (N, C, P); drops (C,)."""
    outside = 0
    count, channels, pixels = codes.shape
    for task in prange(count * channels):
        n, c = task // channels, task % channels
        for i in range(pixels):
            place = (n * channels + c) * pixels + i
            code, over = _shift_code(
                np.int64(codes[n, c, i]), shift - drops[c], _noise(rule, place), rule
            )
            out[n, c, i] = code << drops[c]
            outside += over
    return outside


def requantize_maps(
    codes: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    drops: np.ndarray,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    """Codes (N, C, ...) with frac_bits fraction bits in fmt, whose fraction bits feature map c has
    drops[c] fewer of (0 or more); otherwise as `requantize`.

    Returns (int64 codes with fmt.frac_bits: multiples of 2**drops[c], how many lay outside).
    """
    codes = np.asarray(codes, order="C")
    if codes.dtype not in (np.int32, np.int64):
        raise FormatError(f"codes of dtype {codes.dtype}", "int32 or int64")
    if drops.shape != codes.shape[1:2] or drops.min(initial=0) < 0:
        raise ShapeError(
            f"shifts of shape {drops.shape} for {codes.shape}", f"{codes.shape[1:2]}, 0 or more"
        )
    out = np.empty(codes.shape, np.int64)
    flat = (*codes.shape[:2], -1)
    with np.errstate(over="ignore"):
        outside = _requantize_maps(
            codes.reshape(flat),
            out.reshape(flat),
            fmt.frac_bits - frac_bits,
            drops.astype(np.int64),
            rule_of(fmt, rounding, overflow, seed, offset),
        )
    return out, int(outside)


@njit(parallel=True)
def _round_affine(x, mean, step, high, out):
    """x, out (R, K); mean, step (R,)."""
    outside = 0
    for r in prange(x.shape[0]):
        for k in range(x.shape[1]):
            code = np.rint((np.float64(x[r, k]) - mean[r]) / step[r])
            limited = min(max(code, -high - 1), high)
            outside += code != limited
            out[r, k] = np.float32(mean[r] + step[r] * limited)
    return outside


def round_affine(x: np.ndarray, grid: AffineGrid) -> tuple[np.ndarray, int]:
    """(coefficients (O, I, ...) as mean + step * round((x - mean) / step) of their kernel or filter
    (paper B, eq. 4): float32 of the same shape; ties to even, saturated, in float64; how many lay
    outside).

    Raises ShapeError where the grid has other kernels or filters.
    """
    x = np.asarray(x, order="C")
    if x.shape[: grid.mean.ndim] != grid.mean.shape:
        raise ShapeError(
            f"means of shape {grid.mean.shape} for coefficients {x.shape}",
            f"{x.shape[:1]} or {x.shape[:2]}",
        )
    out, rows = np.empty(x.shape, np.float32), grid.mean.size
    outside = _round_affine(
        x.reshape(rows, -1),
        grid.mean.reshape(-1),
        grid.step.reshape(-1),
        2.0 ** (grid.bits - 1) - 1,
        out.reshape(rows, -1),
    )
    return out, int(outside)
