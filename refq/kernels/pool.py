"""Maximum and average pooling; attributes have ONNX's meaning, ceil mode drops a last window
that starts in the padding (contract section 4)."""

from __future__ import annotations

import numpy as np

from refq.errors import FormatError, ShapeError
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels.compiling import njit, prange
from refq.kernels.fixed import _divide, _limit, _noise, rule_of
from refq.kernels.windows import ACROSS, DOWN, Window, _seen
from refq.networks.layers import NO_PADS, AvgPool, MaxPool, Pads, Pair


@njit(parallel=True)
def _max_pool(x, out, window):
    """x (planes, H, W) -> out (planes, H', W')."""
    for plane in prange(out.shape[0]):
        for r in range(out.shape[1]):
            top, bottom, _ = _seen(window, DOWN, r, x.shape[1])
            for c in range(out.shape[2]):
                left, right, _ = _seen(window, ACROSS, c, x.shape[2])
                best = x[plane, top, left]
                for i in range(top, bottom):
                    for j in range(left, right):
                        best = max(best, x[plane, i, j])
                out[plane, r, c] = best


@njit(parallel=True)
def _sum_pool(x, sums, counts, window, include_pad):
    """Window sums (planes, H', W') in the accumulating type of `sums`; counts (H', W')."""
    for plane in prange(sums.shape[0]):
        for r in range(sums.shape[1]):
            top, bottom, tall = _seen(window, DOWN, r, x.shape[1])
            for c in range(sums.shape[2]):
                left, right, wide = _seen(window, ACROSS, c, x.shape[2])
                total = sums.dtype.type(0)
                for i in range(top, bottom):
                    for j in range(left, right):
                        total += x[plane, i, j]
                sums[plane, r, c] = total
                if plane == 0:
                    counts[r, c] = tall * wide if include_pad else (bottom - top) * (right - left)


@njit(parallel=True)
def _mean_codes(sums, counts, out, up, down, rule):
    """sums * 2**(up - down) / counts, rounded once, brought into range."""
    outside = 0
    for plane in prange(sums.shape[0]):
        for p in range(sums.shape[1]):
            total = sums[plane, p]
            negative = total < 0
            magnitude = np.uint64(-total) if negative else np.uint64(total)
            noise = _noise(rule, plane * sums.shape[1] + p)
            mean = _divide(
                magnitude << np.uint64(up),
                negative,
                np.uint64(counts[p]) << np.uint64(down),
                rule.mode,
                noise,
            )
            code = -np.int64(mean) if negative else np.int64(mean)
            limited = _limit(code, rule)
            outside += limited != code
            out[plane, p] = limited
    return outside


def _planes(x: np.ndarray, layer: MaxPool | AvgPool) -> tuple[np.ndarray, tuple[int, ...]]:
    """x as (N*C, H, W), and the output's full shape."""
    if x.ndim != 4:
        raise ShapeError(f"pooling of shape {x.shape}", "(N,C,H,W)")
    shape = (x.shape[0], *layer.output_shape([x.shape[1:]]))
    return np.ascontiguousarray(x).reshape(-1, *x.shape[2:]), shape


def max_pool(
    x: np.ndarray,
    kernel_shape: Pair,
    strides: Pair = (1, 1),
    pads: Pads = NO_PADS,
    ceil_mode: bool = False,
) -> np.ndarray:
    """Maximum over windows: x float32, int32 or int64 (N,C,H,W) -> (N,C,H',W') of that type.

    Padding never wins. Raises ShapeError where the window does not fit.
    """
    planes, shape = _planes(x, MaxPool(kernel_shape, strides, pads, ceil_mode))
    out = np.empty(shape, x.dtype)
    _max_pool(planes, out.reshape(-1, *shape[2:]), Window(*kernel_shape, *strides, *pads))
    return out


def avg_pool(
    x: np.ndarray,
    kernel_shape: Pair,
    strides: Pair = (1, 1),
    pads: Pads = NO_PADS,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> np.ndarray:
    """Mean over windows in float32 (summed in float64): (N,C,H,W) -> (N,C,H',W')."""
    sums, counts = _window_sums(
        x, np.float64, AvgPool(kernel_shape, strides, pads, ceil_mode, count_include_pad)
    )
    return (sums / counts).astype(np.float32)


def avg_pool_integer(
    x: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    kernel_shape: Pair,
    strides: Pair = (1, 1),
    pads: Pads = NO_PADS,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    """Mean of codes with frac_bits fraction bits as codes of fmt: the exact window sum is
    scaled and divided by the count in one rounding (contract section 4).

    x int32 or int64 (N,C,H,W) -> (codes (N,C,H',W') of fmt.dtype, how many lay outside).
    Raises FormatError where the scaled sum would leave 63 bits.
    """
    layer = AvgPool(kernel_shape, strides, pads, ceil_mode, count_include_pad)
    sums, counts = _window_sums(x, np.int64, layer)
    shift = fmt.frac_bits - frac_bits
    up, down = max(shift, 0), max(-shift, 0)
    peak = max(int(sums.max(initial=0)), -int(sums.min(initial=0))).bit_length()
    if peak + up > 62 or int(counts.max()).bit_length() + down > 62:
        raise FormatError(
            f"a mean scaled by 2**{shift} over sums of {peak} bits", "63 bits", "use fewer bits"
        )
    out = np.empty(sums.shape, fmt.dtype)
    area = sums.shape[2] * sums.shape[3]
    with np.errstate(over="ignore"):
        outside = _mean_codes(
            sums.reshape(-1, area),
            counts.reshape(-1),
            out.reshape(-1, area),
            up,
            down,
            rule_of(fmt, rounding, overflow, seed, offset),
        )
    return out, int(outside)


def _window_sums(x: np.ndarray, kind: type, layer: AvgPool) -> tuple[np.ndarray, np.ndarray]:
    planes, shape = _planes(x, layer)
    sums: np.ndarray = np.empty(shape, kind)
    counts = np.empty(shape[2:], np.int64)
    _sum_pool(
        planes,
        sums.reshape(-1, *shape[2:]),
        counts,
        Window(*layer.kernel, *layer.strides, *layer.pads),
        layer.count_include_pad,
    )
    return sums, counts


def global_avg_pool(x: np.ndarray) -> np.ndarray:
    """Mean over rows and columns in float32: (N,C,H,W) -> (N,C)."""
    return avg_pool(x, (x.shape[2], x.shape[3]))[:, :, 0, 0]


def global_avg_pool_integer(
    x: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    """Mean over rows and columns as codes of fmt: (N,C,H,W) -> (codes (N,C), outside)."""
    codes, outside = avg_pool_integer(
        x,
        frac_bits,
        fmt,
        (x.shape[2], x.shape[3]),
        rounding=rounding,
        overflow=overflow,
        seed=seed,
        offset=offset,
    )
    return codes[:, :, 0, 0], outside
