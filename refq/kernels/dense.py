"""Fully connected layers, float32 and exact integer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refq.errors import ShapeError
from refq.formats.fixed import Accumulator
from refq.kernels.compiling import njit, prange
from refq.kernels.conv import conv_integer

# weights widened at a time in an integer product
BLOCK_WEIGHTS = 1 << 23
# images whose float sums are made together
IMAGES = 4


def _flat(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """x as (N, K), checked against w (O, K) and b (O,)."""
    flat = x.reshape(x.shape[0], -1)
    if w.ndim != 2 or flat.shape[1] != w.shape[1]:
        raise ShapeError(f"{flat.shape[1]} inputs for weights {w.shape}", "(outputs, inputs)")
    if b is not None and b.shape != w.shape[:1]:
        raise ShapeError(f"bias of shape {b.shape}", f"{w.shape[:1]}")
    return flat


@njit(parallel=True, fastmath={"reassoc", "nsz", "contract"})
def _dense(x, w, out):
    """x (N, K) with N a multiple of IMAGES, w (O, K): two rows of weights meet IMAGES images, so
    that reading takes less time than multiplying."""
    last = w.shape[0] - 1
    for pair in prange((w.shape[0] + 1) // 2):
        # an odd last row is its own partner
        o, p = 2 * pair, min(2 * pair + 1, last)
        first, second = w[o], w[p]
        for n in range(0, x.shape[0], IMAGES):
            x0, x1, x2, x3 = x[n], x[n + 1], x[n + 2], x[n + 3]
            s0 = s1 = s2 = s3 = np.float32(0)
            t0 = t1 = t2 = t3 = np.float32(0)
            for k in range(first.size):
                one, other = first[k], second[k]
                s0 += one * x0[k]
                s1 += one * x1[k]
                s2 += one * x2[k]
                s3 += one * x3[k]
                t0 += other * x0[k]
                t1 += other * x1[k]
                t2 += other * x2[k]
                t3 += other * x3[k]
            out[n, o], out[n + 1, o], out[n + 2, o], out[n + 3, o] = s0, s1, s2, s3
            out[n, p], out[n + 1, p], out[n + 2, p], out[n + 3, p] = t0, t1, t2, t3


def dense(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """x float32 (N, ...) flattened in C, H, W order times w (O, K), plus b (O,) -> (N, O).

    The order of additions depends on K alone: not on N, nor on the number of threads.
    """
    flat = _flat(x, w, b).astype(np.float32, copy=False)
    # images that nobody asked for, so that all take the same way
    padded = np.zeros((-(-len(flat) // IMAGES) * IMAGES, flat.shape[1]), np.float32)
    padded[: len(flat)] = flat
    out = np.empty((len(padded), w.shape[0]), np.float32)
    _dense(padded, np.ascontiguousarray(w, np.float32), out)
    return out[: len(flat)] if b is None else out[: len(flat)] + b.astype(np.float32, copy=False)


def dense_integer(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    accumulator: Accumulator = Accumulator(),  # noqa: B008 - frozen
    drop: np.ndarray | None = None,
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
            accumulator=_of_rows(accumulator, part),
            drop=None if drop is None else drop[part],
        )
        out[:, part] = sums[:, :, 0, 0]
        overflows += count
    return out, overflows


def _of_rows(accumulator: Accumulator, rows: slice) -> Accumulator:
    """The accumulator of some of the outputs."""
    bits = accumulator.bits[rows] if isinstance(accumulator.bits, tuple) else accumulator.bits
    return replace(accumulator, bits=bits)
