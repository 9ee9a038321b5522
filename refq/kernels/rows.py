"""Machine code that ends a block of sums: planes combined, bias, ReLU, rounding, saturation,
encoding, and the store as bytes; or the exact sums themselves.

How planes are combined and what the ending does are chosen by the types of arguments, as in
tiles.py. Where tile instructions multiply, a block is finished while the next one is multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels.planes import KARATSUBA, RECIPES, WEIGHT_SHIFT, Recipe, radix
from refq.kernels.tiles import (
    BLOCKS,
    CHOICES,
    CHOSEN,
    I8,
    I32,
    I64,
    ROWS,
    TILE,
    TOKENS,
    _Writer,
    multiply,
)

# a recipe is told by the length of a tuple, which its type shows
RECIPE_TOKENS = {recipe: (np.int8(0),) * (1 + n) for n, recipe in enumerate(RECIPES)}
LANES = 16
# how codes are encoded: not at all, by a shift, by a table
NOT, BY_SHIFT, BY_TABLE = range(3)
# what the four tiles of a pass take
PASS = 4 * TILE

# places in the parameter array (int64)
(
    SCALE,
    SHIFT,
    HALF,
    NEGATIVE,
    TIES,
    FLOOR,
    LOW,
    HIGH,
    ENC_HALF,
    DROP,
    TOP,
    OFFSET,
    RADIX,
    TABLE,
    APART,
    ROW,
) = range(16)
# the first of them, which channels may have each for itself
OWN = (SCALE, SHIFT, HALF, NEGATIVE, TIES)
# vectors of 16 lanes that tell what was seen: least sum, greatest sum, codes outside the range
LEAST, MOST, OUTSIDE = range(3)


@dataclass(frozen=True)
class Ending:
    """What happens between sums and store; the flags are compiled in, the numbers are not.

    width: bits of the combined sums, 32 or 64; even: halves are rounded to even; scaled: products
    are shifted left (ENQ indices); encoded: codes become shift codes; planes: bytes of a stored
    code, or 0 to store exact int64 sums; parameters: int64, see SCALE and the following; table:
    int32, what is stored for each code (a codebook, encoded and decoded), or None. own: int64
    (len(OWN), groups, channels), those parameters for each channel, or None; their place in memory
    is told from that of the biases.
    """

    width: int
    even: bool
    scaled: bool
    encoded: bool
    planes: int
    parameters: np.ndarray
    table: np.ndarray | None = None
    own: np.ndarray | None = None

    @property
    def token(self) -> tuple[np.signedinteger, ...]:
        """Scalars whose types tell the flags."""
        encoding = BY_SHIFT if self.encoded else NOT if self.table is None else BY_TABLE
        each = self.own is not None
        flags = (self.width == 64, self.even, self.scaled, encoding, self.planes, each)
        return tuple(CHOICES[int(flag)] for flag in flags)

    @property
    def kind(self) -> type[np.signedinteger]:
        return np.int32 if self.width == 32 else np.int64


def exact_sums(scale: int) -> Ending:
    """The ending that stores int64 sums with bias, the products shifted left by scale."""
    parameters = np.zeros(ROW + 1, np.int64)
    parameters[SCALE] = scale
    return Ending(64, False, scale > 0, False, 0, parameters)


def _rounding(rounding: Rounding, shift: int) -> tuple[int, int, int] | None:
    """(always, if negative, mask whose zero tells a tie): what to add before an arithmetic right
    shift so that it rounds by the rule, ties then going to even where there is a mask; None where
    no such sum exists (stochastic)."""
    if shift == 0:
        return (0, 0, 0)
    half, rest = 1 << (shift - 1), (1 << shift) - 1
    table: dict[Rounding, tuple[int, int, int]] = {
        Rounding.TIES_EVEN: (half, 0, rest),
        Rounding.TIES_AWAY: (half, -1, 0),
        Rounding.TIES_POS: (half, 0, 0),
        Rounding.TO_NEG: (0, 0, 0),
        Rounding.TO_ZERO: (0, rest, 0),
        Rounding.TO_POS: (rest, 0, 0),
    }
    return table.get(rounding)


def ending(
    scale: int,
    relu: bool,
    shift: int,
    rounding: Rounding,
    fmt: FixedPointFormat,
    overflow: Overflow,
    encode: tuple[int, int, bool] | None,
    offset: int,
    planes: int,
    width: int,
    table: np.ndarray | None = None,
) -> Ending | None:
    """The ending that makes codes of a format; None where there is none for the rounding.

    scale: left shift of the product sums (ENQ indices); shift: fraction bits to lose;
    encode: (bits, drop, nearest) of a shift code; offset: what makes stored codes unsigned;
    table: int32 (fmt.max_code + 1,), what an unsigned code is stored as.
    """
    added = _rounding(rounding, shift)
    if added is None:
        return None
    low, high = fmt.limits(overflow)
    bits, drop, nearest = encode or (fmt.bits, 0, False)
    out = np.zeros(ROW + 1, np.int64)
    out[[SCALE, SHIFT, HALF, NEGATIVE, TIES]] = (scale, shift, *added)
    out[FLOOR] = 0 if relu else -(1 << (width - 1))
    out[[LOW, HIGH, DROP, OFFSET, RADIX]] = (low, high, drop, offset, radix(planes))
    out[ENC_HALF] = (1 << drop) >> 1 if nearest else 0
    out[TOP] = (1 << bits) - 1
    if table is not None:
        table = np.ascontiguousarray(table, np.int32)
        out[TABLE] = table.ctypes.data
    return Ending(width, bool(added[2]), scale > 0, encode is not None, planes, out, table)


def by_channel(
    like: Ending, bias: np.ndarray, scale: np.ndarray, shift: np.ndarray, rounding: Rounding
) -> Ending:
    """The same ending with a left shift of the products and a right shift for each channel.

    bias: a kernel's, int64 (groups, channels); scale, shift: int64 (outputs,).
    """
    own = np.zeros((len(OWN), *bias.shape), np.int64)
    per_group = len(shift) // len(bias)
    added = np.array([_rounding(rounding, int(each)) for each in shift]).T
    # what has nothing to round is never a tie
    added[2][shift == 0] = -1
    for row, numbers in zip(own, (scale, shift, *added)):
        row[:, :per_group] = numbers.reshape(len(bias), per_group)
    parameters = like.parameters.copy()
    parameters[APART] = own.ctypes.data - bias.ctypes.data
    parameters[ROW] = own[0].nbytes
    even = rounding is Rounding.TIES_EVEN and bool(shift.any())
    return replace(like, even=even, scaled=bool(scale.any()), parameters=parameters, own=own)


class _Parameters:
    """Scalars of the parameter array, as vectors of the sums' width."""

    def __init__(self, w: _Writer, address: Any, scalar: Any) -> None:
        self.w, self.address, self.scalar = w, address, scalar

    def __call__(self, place: int) -> Any:
        value = self.w.load(self.w.plus(self.address, 8 * place), I64)
        if self.scalar != I64:
            value = self.w.b.trunc(value, self.scalar)
        return self.w.splat(value, LANES)


def _combined(w: _Writer, kind: Any, c: Any, recipe: Recipe) -> Any:
    """The sum of a row's planes; 32 bits may wrap on the way, the result does not."""
    b = w.b

    def wide(value: Any) -> Any:
        return b.sext(value, kind) if kind.element != I32 else value

    def shifted(value: Any, by: int) -> Any:
        return b.shl(value, ir.Constant(kind, [by] * LANES)) if by else value

    passes = range(len(recipe.passes))
    sums = [w.load(w.plus(c, PASS * n), ir.VectorType(I32, LANES)) for n in passes]
    if recipe == KARATSUBA:
        # a0 w1 + a1 w0 is exact in 32 bits, as every plane product is
        middle = b.sub(b.sub(sums[2], sums[0]), sums[1])
        terms = [(sums[0], 0), (middle, WEIGHT_SHIFT), (sums[1], 2 * WEIGHT_SHIFT)]
    else:
        terms = list(zip(sums, recipe.shifts))
    total = shifted(wide(terms[0][0]), terms[0][1])
    for value, shift in terms[1:]:
        total = b.add(total, shifted(wide(value), shift))
    return total


def _larger(w: _Writer, x: Any, y: Any) -> Any:
    return w.b.select(w.b.icmp_signed(">", x, y), x, y)


def _smaller(w: _Writer, x: Any, y: Any) -> Any:
    return w.b.select(w.b.icmp_signed("<", x, y), x, y)


def _real(w: _Writer, count: Any, vector: int) -> Any:
    """Which lanes of a vector are real channels."""
    kind = ir.VectorType(I64, LANES)
    lanes = ir.Constant(kind, [vector * LANES + n for n in range(LANES)])
    return w.b.icmp_signed("<", lanes, w.splat(count, LANES))


class _Finish:
    """Writes the code that ends one pixel of a block, 32 channels at a time."""

    def __init__(
        self, w: _Writer, flags: list[int], recipe: Recipe, across: int, arguments: Any
    ) -> None:
        self.w, self.recipe, self.across = w, recipe, across
        width, self.even, self.scaled, self.encoded, self.planes, each = flags
        (
            self.sums,
            self.numbers,
            self.pitch,
            bias,
            address,
            self.low,
            self.high,
            self.both,
            self.count,
            self.seen,
        ) = arguments
        self.scalar = I64 if width else I32
        self.kind = ir.VectorType(self.scalar, LANES)
        parameters = _Parameters(w, address, self.scalar)
        # the parameters of each vector of channels
        self.p = [[parameters(n) for n in range(RADIX + 1)]] * across
        if each:
            apart, row = (w.load(w.plus(address, 8 * n), I64) for n in (APART, ROW))
            self.p = [list(shared) for shared in self.p]
            for n in range(across):
                at = w.b.add(w.plus(bias, 8 * LANES * n), apart)
                for place in OWN:
                    own = w.load(at, ir.VectorType(I64, LANES))
                    self.p[n][place] = own if width else w.b.trunc(own, self.kind)
                    at = w.b.add(at, row)
        self.table = w.splat(w.load(w.plus(address, 8 * TABLE), I64), LANES)
        self.start, self.real = [], []
        for n in range(across):
            start = w.load(w.plus(bias, 8 * LANES * n), ir.VectorType(I64, LANES))
            self.start.append(start if width else w.b.trunc(start, self.kind))
            self.real.append(_real(w, self.count, n))
        step = LANES * self.scalar.width // 8
        self.places = [w.plus(self.seen, step * n) for n in (LEAST, MOST, OUTSIDE)]
        self.before = [w.load(place, self.kind) for place in self.places]

    def pixel(self, i: Any, carried: list[Any]) -> list[Any]:
        """Ends row i of the block; carried: what was seen."""
        w, b = self.w, self.w.b
        number = w.load(b.add(self.numbers, b.shl(i, ir.Constant(I64, 2))), I32)
        sixteen = ir.Constant(I64, ROWS)
        # two tiles for the first 16 pixels, then two for the others
        group = b.mul(b.and_(i, sixteen), ir.Constant(I64, 2 * TILE // ROWS))
        row = b.shl(b.and_(i, ir.Constant(I64, ROWS - 1)), ir.Constant(I64, 6))
        line = b.add(b.add(self.sums, group), row)

        def pair(first: int, at: Any, seen: list[Any]) -> list[Any]:
            codes = []
            for n in (first, first + 1):
                value = _combined(w, self.kind, w.plus(line, TILE * n), self.recipe)
                if self.scaled:
                    value = b.shl(value, self.p[n][SCALE])
                value = b.add(value, self.start[n])
                if self.planes:
                    value, seen = self._code(value, self.p[n], self.real[n], seen)
                codes.append((n, value))
            self._store(codes, at)
            return seen

        def real() -> list[Any]:
            at = b.mul(b.sext(number, I64), self.pitch)
            seen = pair(0, at, list(carried))
            for first in range(2, self.across, 2):
                wanted = b.icmp_signed(">", self.count, ir.Constant(I64, LANES * first))
                before = seen
                seen = w.when(wanted, before, lambda: pair(first, at, before))  # noqa: B023
            return seen

        return w.when(b.icmp_signed(">=", number, ir.Constant(I32, 0)), carried, real)

    def _code(self, value: Any, p: list[Any], real: Any, seen: list[Any]) -> tuple[Any, list[Any]]:
        w, b = self.w, self.w.b
        # the accumulator's range, before anything is lost
        least = b.select(real, _smaller(w, value, seen[LEAST]), seen[LEAST])
        most = b.select(real, _larger(w, value, seen[MOST]), seen[MOST])
        value = _larger(w, value, p[FLOOR])  # ReLU, or no floor at all
        raised = b.add(value, p[HALF])
        if not self.even:
            sign = ir.Constant(self.kind, [self.scalar.width - 1] * LANES)
            raised = b.add(raised, b.and_(b.ashr(value, sign), p[NEGATIVE]))
        value = b.ashr(raised, p[SHIFT])
        if self.even:
            zero, odd = ir.Constant(self.kind, [0] * LANES), ir.Constant(self.kind, [~1] * LANES)
            tie = b.icmp_signed("==", b.and_(raised, p[TIES]), zero)
            value = b.select(tie, b.and_(value, odd), value)
        kept = _smaller(w, _larger(w, value, p[LOW]), p[HIGH])
        beyond = b.and_(b.icmp_signed("!=", value, kept), real)
        outside = b.sub(seen[OUTSIDE], b.sext(beyond, self.kind))
        if self.encoded == BY_TABLE:
            kept = self._looked_up(kept)
        elif self.encoded:
            kept = _smaller(w, b.ashr(b.add(kept, p[ENC_HALF]), p[DROP]), p[TOP])
        return b.add(kept, p[OFFSET]), [least, most, outside]

    def _looked_up(self, codes: Any) -> Any:
        """What the table has for each code; all of them are in its range."""
        b = self.w.b
        wide = ir.VectorType(I64, LANES)
        index = b.sext(codes, wide) if self.scalar != I64 else codes
        places = b.add(self.table, b.shl(index, ir.Constant(wide, [2] * LANES)))
        found = self.w.gather(places, I32)
        return b.sext(found, self.kind) if self.scalar == I64 else found

    def _store(self, codes: list[tuple[int, Any]], at: Any) -> None:
        w, b, bytes_of = self.w, self.w.b, ir.VectorType(I8, LANES)
        parts = []  # (address, vector, which of the block's) of each plane
        for n, code in codes:
            if not self.planes:
                parts.append((b.add(self.low, w.plus(at, 8 * LANES * n)), code, n))
                continue
            planes = [code]
            if self.planes > 1:
                bits = self.p[0][RADIX]
                ones = ir.Constant(self.kind, [1] * LANES)
                low_bits = b.sub(b.shl(ones, bits), ones)
                planes = [b.and_(code, low_bits), b.ashr(code, bits)]
            if self.planes > 2:
                planes.append(b.add(*planes))
            for plane, base in zip(planes, (self.low, self.high, self.both)):
                place = b.add(base, w.plus(at, LANES * n))
                parts.append((place, b.trunc(plane, bytes_of), n))
        whole = b.icmp_signed(">=", self.count, ir.Constant(I64, LANES * (codes[-1][0] + 1)))
        with b.if_else(whole) as (all_channels, some_channels):
            with all_channels:
                for place, vector, _ in parts:
                    w.store(vector, place)
            with some_channels:
                for place, vector, n in parts:
                    w.store_some(vector, place, self.real[n])


@intrinsic
def _work(
    typing_context,
    backend,
    recipe,
    ending,
    a0,
    a1,
    stride,
    rows0,
    rows1,
    offsets,
    parts,
    b,
    apart,
    channels,
    c,
    steps,
    first,
    last,
    each,
    sums,
    numbers,
    pitch,
    bias,
    parameters,
    low,
    high,
    both,
    count,
    seen,
):
    """One pass of a block as in tiles._tiles; meanwhile pixels first..last-1 of the block before
    are finished, `each` per step.

    sums: address of that block's tiles, all passes; numbers: address of its int32, which pixel of
    the output each row is (-1: none), `pitch` bytes apart; bias: address of int64; low, high,
    both: addresses of the first channel of pixel 0 in the planes, or in low of int64 sums; count:
    how many of its channels are real; seen: address of three vectors of the sums' width.
    """
    flags = [CHOSEN[kind] for kind in ending.types]
    across = BLOCKS[list(TOKENS)[CHOSEN[backend]]][1]

    def generate(context, builder, signature, arguments):
        w, b = _Writer(builder), builder
        first, last, each = arguments[15:18]
        finish = _Finish(w, flags, RECIPES[recipe.count - 1], across, arguments[18:])

        def some(t: Any, carried: list[Any]) -> list[Any]:
            start = first if t is None else b.add(first, b.mul(t, each))
            left = b.sub(last, start)
            if t is not None:
                left = b.select(b.icmp_signed("<", left, each), left, each)

            def pixels() -> list[Any]:
                return w.loop(left, carried, lambda n, seen: finish.pixel(b.add(start, n), seen))

            return w.when(b.icmp_signed(">", left, ir.Constant(I64, 0)), carried, pixels)

        after = multiply(w, backend, arguments[3:15], finish.before, some)
        for place, value in zip(finish.places, after):
            w.store(value, place)
        return context.get_dummy_value()

    return types.void(backend, recipe, ending, *[types.intp] * 25), generate
