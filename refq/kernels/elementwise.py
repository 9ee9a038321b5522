"""ReLU, channel concatenation, shortcuts that subsample, and elementwise sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refq.errors import ShapeError


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0), any shape, same dtype."""
    return np.maximum(x, x.dtype.type(0))


def concat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Joins (N,C,...) arrays of one dtype along the channels, in order."""
    shapes = [array.shape for array in arrays]
    if not shapes or any(s[:1] + s[2:] != shapes[0][:1] + shapes[0][2:] for s in shapes):
        raise ShapeError(f"concat of {shapes}", "shapes that differ in channels only")
    return np.concatenate(list(arrays), axis=1)


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


def add(arrays: Sequence[np.ndarray], shifts: Sequence[int] = ()) -> np.ndarray:
    """Elementwise sum in order: float32, or int64 of integer codes.

    shifts: how far left each operand's codes are moved first, to one number of fraction bits
    (contract 4); the caller has made sure that no sum leaves 63 bits.
    """
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise ShapeError(f"sum of shapes {sorted(shapes)}", "equal shapes")
    kind = np.float32 if arrays[0].dtype.kind == "f" else np.int64
    moved = [array.astype(kind) for array in arrays]
    for array, shift in zip(moved, shifts):
        np.left_shift(array, shift, out=array)
    total: np.ndarray = moved[0]
    for array in moved[1:]:
        np.add(total, array, out=total)
    return total
