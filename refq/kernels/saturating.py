"""Sums that saturate after the bias and after every MAC, in the defined order (contract section 3).

The lanes of a vector are outputs, so the order of MACs in each stays the defined one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from refq.kernels.accumulating import Limits, _shifted, _terms
from refq.kernels.compiling import njit, prange
from refq.kernels.writer import I32, I64, Writer

LANES = 16
# a block of sums in vector registers: channels by vectors of pixels
ROWS, VECTORS = 4, 2
PIXELS = LANES * VECTORS
# pixels whose patches stay in the second cache while all channels pass
TASK_PIXELS = 4 * PIXELS


def saturating_dtype(product: int, held: Limits) -> type[np.signedinteger]:
    """The operand type in which products up to `product` and the sums are exact; rounded products
    have the wide one."""
    # without compiled code there is no machine code for 32 bits
    compiled = not getattr(config, "DISABLE_JIT", False)
    fits = compiled and not held.rounds and max(product, int(held.high.max())) < 2**31
    return np.int32 if fits else np.int64


@intrinsic
def _block(typing_context, depth, w, x, out, bounds):
    """ROWS channels by PIXELS pixels of int32 sums; returns how many additions were clipped.

    w, x, out: (address, bytes from row to row) of int32 weights (ROWS rows), patches (depth rows)
    and results; bounds: addresses of first sums, least and greatest sums.
    """

    def generate(context, builder, signature, arguments):
        w, b = Writer(builder), builder
        depth = arguments[0]
        (weights, w_stride), (x, x_stride), (out, out_stride), (start, low, high) = (
            [b.extract_value(each, n) for n in range(kind.count)]
            for each, kind in zip(arguments[1:], signature.args[1:])
        )
        kind = ir.VectorType(I32, LANES)
        bounds = [
            [w.splat(w.load(w.plus(each, 4 * r), I32), LANES) for each in (low, high)]
            for r in range(ROWS)
        ]
        lines = [b.add(weights, b.mul(w_stride, ir.Constant(I64, r))) for r in range(ROWS)]

        def step(k: Any, carried: list[Any]) -> list[Any]:
            at, clipped, sums = carried[0], carried[1], []
            values = [w.load(w.plus(at, 64 * v), kind) for v in range(VECTORS)]
            place = b.shl(k, ir.Constant(I64, 2))
            for r in range(ROWS):
                factor = w.splat(w.load(b.add(lines[r], place), I32), LANES)
                least, most = bounds[r]
                for v in range(VECTORS):
                    before = carried[2 + r * VECTORS + v]
                    product = b.mul(factor, values[v])
                    limited = w.call(f"llvm.sadd.sat.v{LANES}i32", kind, [before, product])
                    limited = b.select(b.icmp_signed("<", limited, least), least, limited)
                    limited = b.select(b.icmp_signed(">", limited, most), most, limited)
                    # a sum that wrapped has the other sign, so it differs as well
                    changed = b.icmp_signed("!=", limited, b.add(before, product))
                    clipped = b.sub(clipped, b.sext(changed, kind))
                    sums.append(limited)
            return [b.add(at, x_stride), clipped, *sums]

        first = [w.splat(w.load(w.plus(start, 4 * r), I32), LANES) for r in range(ROWS)]
        begin = [first[r] for r in range(ROWS) for _ in range(VECTORS)]
        after = w.loop(depth, [x, ir.Constant(kind, [0] * LANES), *begin], step)
        for r in range(ROWS):
            for v in range(VECTORS):
                to = b.add(out, b.mul(out_stride, ir.Constant(I64, r)))
                w.store(after[2 + r * VECTORS + v], w.plus(to, 64 * v))
        total = ir.Constant(I64, 0)
        for lane in range(LANES):  # LLVM's own reduction has other names in Numba before 0.57
            total = b.add(total, b.sext(b.extract_element(after[1], ir.Constant(I32, lane)), I64))
        return total

    pair = types.UniTuple(types.intp, 2)
    return types.intp(types.intp, pair, pair, pair, types.UniTuple(types.intp, 3)), generate


@njit(parallel=True)
def _narrow(w, x, start, out, low, high):
    """Rows of w and columns of x in whole blocks; start, low, high: int32 (rows,)."""
    clipped = 0
    rows, columns, depth = w.shape[0], x.shape[1], x.shape[0]
    for task in prange((columns + TASK_PIXELS - 1) // TASK_PIXELS):
        w_at, x_at, out_at, start_at, low_at, high_at = (
            w.ctypes.data,
            x.ctypes.data,
            out.ctypes.data,
            start.ctypes.data,
            low.ctypes.data,
            high.ctypes.data,
        )
        for o in range(0, rows, ROWS):
            for p in range(task * TASK_PIXELS, min(columns, (task + 1) * TASK_PIXELS), PIXELS):
                clipped += _block(
                    depth,
                    (w_at + 4 * o * depth, 4 * depth),
                    (x_at + 4 * p, 4 * columns),
                    (out_at + 4 * (o * columns + p), 4 * columns),
                    (start_at + 4 * o, low_at + 4 * o, high_at + 4 * o),
                )
    return clipped


@njit(parallel=True)
def _wide(w, x, start, out, limits):
    """Every product is shifted right and rounded before it is added."""
    clipped = 0
    for o in prange(w.shape[0]):
        line, least, most = out[o], limits.low[o], limits.high[o]
        drop, always, even, negative = _terms(limits, o)
        line[:] = start[o]
        for k in range(w.shape[1]):
            factor = w[o, k]
            for p in range(x.shape[1]):
                value = line[p] + _shifted(factor * x[k, p], drop, always, even, negative)
                limited = min(max(value, least), most)
                clipped += limited != value
                line[p] = limited
    return clipped


def saturating_product(
    w: np.ndarray, x: np.ndarray, bias: np.ndarray, held: Limits
) -> tuple[np.ndarray, int]:
    """Sums of w (O, K) times x (K, P) from bias (O,) on, kept in its output's range at every MAC.

    w and x: int32 or int64, both as saturating_dtype tells. Returns (sums (O, P) of the same type,
    how many additions were clipped).
    """
    rows, columns = w.shape[0], x.shape[1]
    bias = _shifted(bias, *held.terms)
    start = np.clip(bias, held.low, held.high)
    clipped = int(np.count_nonzero(start != bias)) * columns
    if w.dtype == np.int32:
        # whole blocks: zeros more clip nothing
        more = -rows % ROWS, -columns % PIXELS
        w, x = np.pad(w, ((0, more[0]), (0, 0))), _padded(x, more[1])
        start, low, high = (
            np.pad(each, (0, more[0])).astype(np.int32) for each in (start, held.low, held.high)
        )
        out = np.empty((w.shape[0], x.shape[1]), np.int32)
        clipped += _narrow(w, x, start, out, low, high)
    else:
        out = np.empty((rows, columns), np.int64)
        clipped += _wide(w, x, start, out, held)
    return out[:rows, :columns], clipped


def _padded(x: np.ndarray, more: int) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, more))) if more else x
