"""Local response normalisation across channels (contract section 4, ONNX LRN)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from refq.errors import FormatError, ShapeError
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels.compiling import njit, prange
from refq.kernels.fixed import quantize


class Curve(NamedTuple):
    """What a value is divided by: (bias + factor * sum of squares) ** beta, the sum over `size`
    channels; quarters: beta * 4, or -1 where that is no whole number."""

    size: int
    factor: float
    beta: float
    bias: float
    quarters: int


@njit(inline="always")
def _power(base, out, quarters, beta):
    """out = base ** beta; for beta = quarters / 4 by square roots alone, which IEEE 754 rounds
    correctly, so that every machine gets the same bits. One loop a step: each vectorises."""
    if quarters < 0:
        for p in range(base.size):
            out[p] = base[p] ** beta
        return
    out[:] = 1.0
    for _ in range(quarters // 4):
        for p in range(base.size):
            out[p] *= base[p]
    if quarters % 4 >= 2:
        for p in range(base.size):
            out[p] *= math.sqrt(base[p])
    if quarters % 2 == 1:
        for p in range(base.size):
            out[p] *= math.sqrt(math.sqrt(base[p]))


@njit(parallel=True, error_model="numpy")
def _normalise(x, out, curve, unit):
    """x and out (N, C, pixels); sums of squares in the type of `unit` (int64 or float64)."""
    channels, pixels = x.shape[1], x.shape[2]
    before = (curve.size - 1) // 2
    for task in prange(x.shape[0] * channels):
        n, c = task // channels, task % channels
        total = np.full(pixels, unit - unit)
        for k in range(max(0, c - before), min(channels, c - before + curve.size)):
            line = x[n, k]
            for p in range(pixels):
                value = line[p] * unit
                total[p] += value * value
        base, denominator = np.empty(pixels), np.empty(pixels)
        for p in range(pixels):
            base[p] = curve.bias + curve.factor * np.float64(total[p])
        _power(base, denominator, curve.quarters, curve.beta)
        codes, line = x[n, c], out[n, c]
        for p in range(pixels):
            line[p] = codes[p] / denominator[p]


def _quarters(beta: float) -> int:
    """beta * 4 where that is a whole number, else -1."""
    return int(beta * 4) if beta >= 0 and float(beta * 4).is_integer() else -1


def _run(
    x: np.ndarray, unit: np.generic, size: int, factor: float, beta: float, bias: float
) -> np.ndarray:
    if x.ndim != 4:
        raise ShapeError(f"LRN of shape {x.shape}", "(N,C,H,W)")
    if size < 1:
        raise ShapeError(f"LRN over {size} channels", "1 or more")
    flat = np.ascontiguousarray(x).reshape(x.shape[0], x.shape[1], -1)
    out = np.empty(flat.shape, np.float64)
    _normalise(flat, out, Curve(size, factor, beta, bias, _quarters(beta)), unit)
    return out.reshape(x.shape)


def lrn(
    x: np.ndarray,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
    per_window: bool = True,
) -> np.ndarray:
    """x / (bias + alpha' sum x^2) ** beta over `size` neighbouring channels, float32 (N,C,H,W).

    alpha' = alpha / size (ONNX, Caffe), or alpha where per_window is False (MatConvNet).
    """
    factor = alpha / size if per_window else alpha
    return _run(x, np.float64(1.0), size, factor, beta, bias).astype(np.float32)


def lrn_integer(
    x: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
    per_window: bool = True,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    """LRN of integer codes: exact integer sum of squares, then in float64, in this order,
    d = bias + (alpha' * 2**-2F) * sum, y = code / d**beta, codes = round(y * 2**(F' - F)).

    x int32 or int64 (N,C,H,W) with frac_bits F -> (codes of fmt, F' fraction bits; outside).
    Only additions, products, quotients and square roots are used, which IEEE 754 fixes to the
    last bit; beta must therefore be a multiple of 1/4. Raises FormatError otherwise, and where
    the sum of squares could leave 53 bits.
    """
    if _quarters(beta) < 0:
        raise FormatError(f"integer LRN with beta {beta}", "a multiple of 1/4")
    if x.dtype not in (np.int32, np.int64):
        raise FormatError(f"codes of dtype {x.dtype}", "int32 or int64")
    peak = max(int(x.max(initial=0)), -int(x.min(initial=0)))
    if size * peak * peak >= 2**53:
        raise FormatError(f"LRN over codes up to {peak}", "sums of squares below 2**53")
    factor = math.ldexp(alpha / size if per_window else alpha, -2 * frac_bits)
    values = _run(x, np.int64(1), size, factor, beta, bias)
    shifted = FixedPointFormat(fmt.bits, fmt.frac_bits - frac_bits, fmt.signed)
    return quantize(values, shifted, rounding, overflow, seed, offset)
