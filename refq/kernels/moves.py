"""Operations that only move values, and the place of a maximum: any dtype, kept.

Axes are NumPy's, the batch is axis 0; shapes, starts and pads are without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from refq.errors import FormatError, ShapeError


def argmax(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
    """Where along an axis the largest value is, the first of equal ones: int64."""
    places: np.ndarray = np.argmax(x, axis=axis, keepdims=keepdims)
    return places


def concat(arrays: Sequence[np.ndarray], axis: int = 1) -> np.ndarray:
    """Joins arrays of one dtype along an axis, channels by default, in order."""
    shapes = [array.shape for array in arrays]
    if len({s[:axis] + s[axis + 1 :] for s in shapes}) != 1 or len(set(map(len, shapes))) != 1:
        raise ShapeError(f"concat of {shapes}", f"shapes that differ along axis {axis} only")
    return np.concatenate(list(arrays), axis=axis)


def subsample(
    x: np.ndarray, strides: tuple[int, int], channels: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """Every strides[0]-th row and strides[1]-th column of (N,C,H,W), from the first on, same dtype,
    with channels[0] channels of zeros before and channels[1] after (He et al. 2016, option A)."""
    if x.ndim != 4 or min(strides) < 1 or min(channels) < 0:
        raise ShapeError(
            f"subsample of shape {x.shape} by {strides} with {channels} more channels",
            "(N,C,H,W), strides of 1 or more and channels of 0 or more",
        )
    kept = x[:, :, :: strides[0], :: strides[1]]
    return np.pad(kept, ((0, 0), channels, (0, 0), (0, 0)))


def rearrange(
    x: np.ndarray, split: tuple[int, ...], axes: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """(N, ...) reshaped to `split`, transposed by `axes`, reshaped to `shape`."""
    if math.prod(split) * len(x) != x.size or sorted(axes) != list(range(len(split))):
        raise ShapeError(f"shape {x.shape} as {split} by axes {axes}", "as many values")
    parts = x.reshape(len(x), *split).transpose(0, *(axis + 1 for axis in axes))
    return np.ascontiguousarray(parts).reshape(len(x), *shape)


def slice_(
    x: np.ndarray, starts: tuple[int, ...], stops: tuple[int, ...], steps: tuple[int, ...]
) -> np.ndarray:
    """From starts on every steps-th value before stops, along every axis but the batch."""
    parts = (slice(None), *map(slice, starts, stops, steps))
    if len(parts) != x.ndim:
        raise ShapeError(f"a slice along {len(parts) - 1} axes of {x.shape}", "all but the batch")
    return np.ascontiguousarray(x[parts])


def pad(
    x: np.ndarray, before: tuple[int, ...], after: tuple[int, ...], mode: str, value: float
) -> np.ndarray:
    """More values around: `value` (constant; of integers a code), those within mirrored without the
    edge (reflect), or the edge again. Codes become int64 for a value beyond int32, and FormatError
    is raised for one beyond 62 bits."""
    around = ((0, 0), *zip(before, after, strict=True))
    if mode != "constant":
        return np.pad(x, around, mode)  # type: ignore[call-overload]
    if x.dtype.kind == "i":
        if abs(value) >= 2**62:
            raise FormatError(f"a constant of code {value}", "codes within 63 bits")
        if abs(value) >= 2**31:
            x = x.astype(np.int64)
    return np.pad(x, around, constant_values=value)


def take(x: np.ndarray, axis: int, indices: np.ndarray) -> np.ndarray:
    """What is at these places along an axis, in their order."""
    return np.take(x, indices, axis=axis)
