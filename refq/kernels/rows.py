"""Machine code that ends a row of sums: planes combined, bias, ReLU, rounding, saturation,
encoding, and the store as bytes; or the exact sums themselves.

The mode (which byte planes the four tiles hold) and the width of the sums (32 or 64 bits) are
chosen by the types of the first two arguments, as in tiles.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from refq.formats import FixedPointFormat, Rounding
from refq.kernels.tiles import I8, I32, I64, TILE, _Writer

# (activation planes, weight planes) in the four tiles -> the scalar whose type selects the mode
MODES = {(1, 1): np.int8(0), (1, 2): np.int16(0), (2, 1): np.int32(0), (2, 2): np.int64(0)}
WIDTHS = {32: np.float32(0), 64: np.float64(0)}
ACTIVATION_SHIFT, WEIGHT_SHIFT = 8, 7
LANES = 16

# places in the parameter array (int64)
SCALE, FLOOR, SHIFT, HALF, ODD, NEGATIVE, LOW, HIGH, ENC_HALF, DROP, TOP, OFFSET = range(12)


def terms(mode: tuple[int, int], group: int, half: int) -> list[tuple[int, int]]:
    """(tile, left shift) of the tiles whose sum is the product of group and half."""
    activations, weights = mode
    return [
        (
            2 * (plane if activations == 2 else group) + (bit if weights == 2 else half),
            ACTIVATION_SHIFT * plane + WEIGHT_SHIFT * bit,
        )
        for plane in range(activations)
        for bit in range(weights)
    ]


def rounding_terms(rounding: Rounding, shift: int) -> tuple[int, int, int] | None:
    """(always, if the kept part is odd, if negative): what to add before an arithmetic right
    shift so that it rounds by the rule; None where no such sum exists (stochastic)."""
    if shift == 0:
        return (0, 0, 0)
    half, rest = 1 << (shift - 1), (1 << shift) - 1
    table: dict[Rounding, tuple[int, int, int]] = {
        Rounding.TIES_EVEN: (half - 1, 1, 0),
        Rounding.TIES_AWAY: (half, 0, -1),
        Rounding.TIES_POS: (half, 0, 0),
        Rounding.TO_NEG: (0, 0, 0),
        Rounding.TO_ZERO: (0, 0, rest),
        Rounding.TO_POS: (rest, 0, 0),
    }
    return table.get(rounding)


def _vectors(token, mode):
    bits = 32 if token == types.float32 else 64
    order = {types.int8: (1, 1), types.int16: (1, 2), types.int32: (2, 1), types.int64: (2, 2)}
    return ir.IntType(bits), ir.VectorType(ir.IntType(bits), LANES), order[mode]


def _combined(w: _Writer, kind: Any, c: Any, terms: list[tuple[int, int]]) -> Any:
    """The sum of a row's planes; 32 bits may wrap on the way, the result does not."""
    total = None
    for tile, shift in terms:
        part = w.load(w.plus(c, TILE * tile), ir.VectorType(I32, LANES))
        if kind.element != I32:
            part = w.b.sext(part, kind)
        if shift:
            part = w.b.shl(part, ir.Constant(kind, [shift] * LANES))
        total = part if total is None else w.b.add(total, part)
    return total


class _Parameters:
    """Scalars of the parameter array, as vectors of the sums' width."""

    def __init__(self, w: _Writer, address: Any, scalar: Any) -> None:
        self.w, self.address, self.scalar = w, address, scalar

    def __call__(self, place: int) -> Any:
        value = self.w.load(self.w.plus(self.address, 8 * place), I64)
        if self.scalar != I64:
            value = self.w.b.trunc(value, self.scalar)
        return self.w.splat(value, LANES)


def _larger(w: _Writer, x: Any, y: Any) -> Any:
    return w.b.select(w.b.icmp_signed(">", x, y), x, y)


def _smaller(w: _Writer, x: Any, y: Any) -> Any:
    return w.b.select(w.b.icmp_signed("<", x, y), x, y)


@intrinsic
def _finish_row(typing_context, width, mode, group, half, c, bias, parameters, low, high, seen):
    """Codes of 16 channels of one pixel, stored as bytes; returns how many lay outside the range.

    group, half: which of the four products (Python int literals by branch); c: address of the
    row in the first tile; bias: address of 16 int64; parameters: address of the int64 array;
    low, high: addresses of the low and high byte planes (high 0: none); seen: address of two
    vectors of 16 int64, running least and greatest sum.
    """

    def generate(context, builder, signature, arguments):
        w, b = _Writer(builder), builder
        _, _, group_at, half_at, c, bias, address, low, high, seen = arguments
        scalar, kind, planes = _vectors(width, mode)
        long = ir.VectorType(I64, LANES)
        value = _sums(w, planes, kind, c, group_at, half_at)
        p = _Parameters(w, address, scalar)
        start = w.load(bias, long)
        value = b.add(b.shl(value, p(SCALE)), start if scalar == I64 else b.trunc(start, kind))
        # the accumulator's range, before anything is lost
        wide = value if scalar == I64 else b.sext(value, long)
        w.store(_smaller(w, wide, w.load(seen, long)), seen)
        greatest = w.plus(seen, 8 * LANES)
        w.store(_larger(w, wide, w.load(greatest, long)), greatest)
        value = _larger(w, value, p(FLOOR))  # ReLU, or no floor at all
        shift = p(SHIFT)
        odd = b.and_(b.ashr(value, shift), p(ODD))
        sign = ir.Constant(kind, [scalar.width - 1] * LANES)
        negative = b.and_(b.ashr(value, sign), p(NEGATIVE))
        value = b.ashr(b.add(b.add(value, p(HALF)), b.add(odd, negative)), shift)
        kept = _smaller(w, _larger(w, value, p(LOW)), p(HIGH))
        outside = b.icmp_signed("!=", value, kept)
        # storage code: encoded, and kept as index; then moved to unsigned
        value = _smaller(w, b.ashr(b.add(kept, p(ENC_HALF)), p(DROP)), p(TOP))
        value = b.add(value, p(OFFSET))
        w.store(b.trunc(value, ir.VectorType(I8, LANES)), low)
        with b.if_then(b.icmp_signed("!=", high, ir.Constant(I64, 0))):
            eight = ir.Constant(kind, [8] * LANES)
            w.store(b.trunc(b.ashr(value, eight), ir.VectorType(I8, LANES)), high)
        bits = b.bitcast(outside, ir.IntType(LANES))
        return b.zext(w.call("llvm.ctpop.i16", ir.IntType(LANES), [bits]), I64)

    arguments = [width, mode, *[types.intp] * 8]
    return types.intp(*arguments), generate


@intrinsic
def _keep_row(typing_context, width, mode, group, half, c, bias, parameters, out):
    """Exact sums of 16 channels of one pixel, with bias, as int64 at out; other arguments as in
    _finish_row."""

    def generate(context, builder, signature, arguments):
        w, b = _Writer(builder), builder
        _, _, group_at, half_at, c, bias, address, out = arguments
        _, _, planes = _vectors(width, mode)
        long = ir.VectorType(I64, LANES)
        value = _sums(w, planes, long, c, group_at, half_at)
        value = b.add(b.shl(value, _Parameters(w, address, I64)(SCALE)), w.load(bias, long))
        w.store(value, out)
        return context.get_dummy_value()

    return types.void(width, mode, *[types.intp] * 6), generate


def _sums(w: _Writer, planes: tuple[int, int], kind: Any, c: Any, group: Any, half: Any) -> Any:
    """Combined planes of the product (group, half), both known only at run time: the tiles of
    product (g, h) lie g * 2 and h tiles further where these axes hold pixels and channels."""
    step_g = 0 if planes[0] == 2 else 2 * TILE
    step_h = 0 if planes[1] == 2 else TILE
    move = w.b.add(
        w.b.mul(group, ir.Constant(I64, step_g)), w.b.mul(half, ir.Constant(I64, step_h))
    )
    return _combined(w, kind, w.b.add(c, move), terms(planes, 0, 0))


def parameters(
    scale: int,
    relu: bool,
    shift: int,
    rounding: Rounding,
    fmt: FixedPointFormat,
    symmetric: bool,
    encode: tuple[int, int, bool] | None,
    offset: int,
    width: int,
) -> np.ndarray | None:
    """The parameter array of _finish_row; None where the fused code has no such rounding.

    scale: left shift of the product sums (ENQ indices); shift: fraction bits to lose;
    encode: (bits, drop, nearest) of a shift code; offset: what makes stored codes unsigned.
    """
    added = rounding_terms(rounding, shift)
    if added is None:
        return None
    low = -fmt.max_code if symmetric and fmt.signed else fmt.min_code
    bits, drop, nearest = encode or (fmt.bits, 0, False)
    out = np.zeros(12, np.int64)
    out[[SCALE, SHIFT, HALF, ODD, NEGATIVE]] = (scale, shift, *added)
    out[FLOOR] = 0 if relu else -(1 << (width - 1))
    out[[LOW, HIGH, DROP, OFFSET]] = (low, fmt.max_code, drop, offset)
    out[ENC_HALF] = (1 << drop) >> 1 if nearest else 0
    out[TOP] = (1 << bits) - 1 if encode else fmt.max_code
    return out
