"""Fully connected layers, float32 and exact integer."""

from __future__ import annotations

import numpy as np

from refq.errors import ShapeError
from refq.formats import Accumulator
from refq.kernels.conv import conv_integer

# weights widened at a time in an integer product
BLOCK_WEIGHTS = 1 << 23


def _flat(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """x as (N, K), checked against w (O, K) and b (O,)."""
    flat = x.reshape(x.shape[0], -1)
    if w.ndim != 2 or flat.shape[1] != w.shape[1]:
        raise ShapeError(f"{flat.shape[1]} inputs for weights {w.shape}", "(outputs, inputs)")
    if b is not None and b.shape != w.shape[:1]:
        raise ShapeError(f"bias of shape {b.shape}", f"{w.shape[:1]}")
    return flat


def dense(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """x float32 (N, ...) flattened in C, H, W order times w (O, K), plus b (O,) -> (N, O)."""
    out = _flat(x, w, b).astype(np.float32, copy=False) @ w.T.astype(np.float32, copy=False)
    return out if b is None else out + b.astype(np.float32, copy=False)


def dense_integer(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    accumulator: Accumulator = Accumulator(),  # noqa: B008 - frozen
) -> tuple[np.ndarray, int]:
    """Integer codes x (N, ...) times w (O, K), plus b (O,) -> (int64 sums (N, O), overflows).

    A dense layer is a 1x1 convolution of one pixel: types, order and errors are conv_integer's.
    """
    flat = _flat(x, w, b)
    out = np.empty((flat.shape[0], w.shape[0]), np.int64)
    overflows = 0
    rows = max(1, BLOCK_WEIGHTS // max(1, w.shape[1]))
    for start in range(0, w.shape[0], rows):
        part = slice(start, start + rows)
        sums, count = conv_integer(
            flat[:, :, None, None],
            w[part, :, None, None],
            None if b is None else b[part],
            accumulator=accumulator,
        )
        out[:, part] = sums[:, :, 0, 0]
        overflows += count
    return out, overflows
