"""Machine code that ends a block of sums: planes combined, bias, ReLU, rounding, saturation,
encoding, and the store as bytes; or the exact sums themselves.

How planes are combined and what the ending does are chosen by the types of arguments, as in
tiles.py. Where tile instructions multiply, a block is finished while the next one is multiplied.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from refq.kernels.backends import BLOCKS, NAMES, TOKENS
from refq.kernels.endings import APART, BY_SHIFT, BY_TABLE, Built, Parameters, Store
from refq.kernels.planes import KARATSUBA, RECIPES, WEIGHT_SHIFT, Recipe, radix
from refq.kernels.tiles import ROWS, TILE, multiply
from refq.kernels.writer import CHOICES, CHOSEN, I8, I32, I64, Writer, fields

LANES = 16
# what the four tiles of a pass take
PASS = 4 * TILE
# vectors of 16 lanes that tell what was seen: least sum, greatest sum, codes outside the range
LEAST, MOST, OUTSIDE = range(3)


class Finish(NamedTuple):
    """Which pixels of the block before are finished meanwhile, and where to: addresses and counts.

    first, last: of its pixels, `apiece` a step; sums: its tiles, all passes; numbers: its int32,
    which pixel of the output each row is (-1: none), `pitch` bytes apart; biases: its first
    channel's int64 in Store.channels, whose rows are `row` bytes apart; parameters, table: of the
    Store; low, high, both: its first channel of pixel 0 in the planes, or in low of int64 sums;
    channels: how many of its channels are real; seen: three vectors of the sums' width.
    """

    first: int
    last: int
    apiece: int
    sums: int
    numbers: int
    pitch: int
    biases: int
    row: int
    parameters: int
    table: int
    low: int
    high: int
    both: int
    channels: int
    seen: int


def choice_of(backend: str, store: Store, recipe: Recipe) -> tuple[Any, ...]:
    """Scalars whose types tell _work what to compile; a recipe is told by how many follow."""
    return (TOKENS[backend], *store.token, *CHOICES[:1] * RECIPES.index(recipe))


def _combined(w: Writer, kind: Any, c: Any, recipe: Recipe) -> Any:
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


def _larger(w: Writer, x: Any, y: Any) -> Any:
    return w.b.select(w.b.icmp_signed(">", x, y), x, y)


def _smaller(w: Writer, x: Any, y: Any) -> Any:
    return w.b.select(w.b.icmp_signed("<", x, y), x, y)


class _Finisher:
    """Writes the code that ends sums: of one pixel of a block, 32 channels at a time, or of any
    vector. to: a Finish, or what has its fields from `biases` on."""

    def __init__(self, w: Writer, built: Built, across: int, to: Any) -> None:
        self.w, self.built, self.across, self.to = w, built, across, to
        self.scalar = I64 if built.wide else I32
        self.kind = ir.VectorType(self.scalar, LANES)
        self.start = [self._of_channels(0, n) for n in range(across)]
        shared = [self._parameter(place) for place in range(len(Parameters._fields))]
        # the parameters of each vector of channels
        self.p = [Parameters(*shared)] * across
        if built.apart:
            for n in range(across):
                shifts = [self._of_channels(1 + k, n) for k in range(APART)]
                self.p[n] = Parameters(*shifts, *shared[APART:])
        self.real = [w.below(to.channels, LANES, n * LANES) for n in range(across)]
        step = LANES * self.scalar.width // 8
        self.places = [w.plus(to.seen, step * n) for n in (LEAST, MOST, OUTSIDE)]
        self.before = [w.load(place, self.kind) for place in self.places]

    def _of_channels(self, row: int, vector: int) -> Any:
        """A row of Store.channels at one of the block's vectors of channels."""
        w, b = self.w, self.w.b
        at = w.plus(self.to.biases, 8 * LANES * vector)
        at = b.add(at, b.mul(self.to.row, ir.Constant(I64, row))) if row else at
        value = w.load(at, ir.VectorType(I64, LANES))
        return value if self.built.wide else b.trunc(value, self.kind)

    def _parameter(self, place: int) -> Any:
        value = self.w.load(self.w.plus(self.to.parameters, 8 * place), I64)
        if not self.built.wide:
            value = self.w.b.trunc(value, I32)
        return self.w.splat(value, LANES)

    def vector(self, n: int, value: Any, at: Any, seen: list[Any]) -> list[Any]:
        """Ends one vector of sums of products, to be stored so many bytes from the first pixel."""
        value, seen = self._ended(n, value, seen)
        self._store([(n, value)], at)
        return seen

    def _ended(self, n: int, value: Any, seen: list[Any]) -> tuple[Any, list[Any]]:
        if self.built.scaled:
            value = self.w.b.shl(value, self.p[n].scale)
        value = self.w.b.add(value, self.start[n])
        if self.built.planes:
            return self._code(value, self.p[n], self.real[n], seen)
        return value, seen

    def pixel(self, i: Any, recipe: Recipe, carried: list[Any]) -> list[Any]:
        """Ends row i of the block; carried: what was seen."""
        w, b, to = self.w, self.w.b, self.to
        number = w.load(b.add(to.numbers, b.shl(i, ir.Constant(I64, 2))), I32)
        sixteen = ir.Constant(I64, ROWS)
        # two tiles for the first 16 pixels, then two for the others
        group = b.mul(b.and_(i, sixteen), ir.Constant(I64, 2 * TILE // ROWS))
        row = b.shl(b.and_(i, ir.Constant(I64, ROWS - 1)), ir.Constant(I64, 6))
        line = b.add(b.add(to.sums, group), row)

        def pair(first: int, at: Any, seen: list[Any]) -> list[Any]:
            codes = []
            for n in (first, first + 1):
                value = _combined(w, self.kind, w.plus(line, TILE * n), recipe)
                value, seen = self._ended(n, value, seen)
                codes.append((n, value))
            self._store(codes, at)
            return seen

        def real() -> list[Any]:
            at = b.mul(b.sext(number, I64), to.pitch)
            seen = pair(0, at, list(carried))
            for first in range(2, self.across, 2):
                wanted = b.icmp_signed(">", to.channels, ir.Constant(I64, LANES * first))
                before = seen
                seen = w.when(wanted, before, lambda: pair(first, at, before))  # noqa: B023
            return seen

        return w.when(b.icmp_signed(">=", number, ir.Constant(I32, 0)), carried, real)

    def _code(self, value: Any, p: Parameters, real: Any, seen: list[Any]) -> tuple[Any, list[Any]]:
        w, b = self.w, self.w.b
        # the accumulator's range, before anything is lost
        least = b.select(real, _smaller(w, value, seen[LEAST]), seen[LEAST])
        most = b.select(real, _larger(w, value, seen[MOST]), seen[MOST])
        if self.built.even:
            more = b.and_(b.ashr(value, p.drop), p.even)
        else:
            sign = ir.Constant(self.kind, [self.scalar.width - 1] * LANES)
            more = b.and_(b.ashr(value, sign), p.negative)
        value = b.ashr(b.add(b.add(value, p.always), more), p.drop)
        value = _larger(w, value, p.floor)  # ReLU, or no floor at all
        if self.built.clipped:
            value = _smaller(w, value, p.ceiling)
        kept = _smaller(w, _larger(w, value, p.low), p.high)
        beyond = b.and_(b.icmp_signed("!=", value, kept), real)
        outside = b.sub(seen[OUTSIDE], b.sext(beyond, self.kind))
        if self.built.encoding == BY_TABLE:
            kept = self._looked_up(b.sub(kept, p.low))
        elif self.built.encoding == BY_SHIFT:
            index = b.ashr(b.add(kept, p.index_half), p.index_drop)
            kept = _smaller(w, index, p.index_top)
        return b.add(kept, p.offset), [least, most, outside]

    def _looked_up(self, places: Any) -> Any:
        """What the table has at each place; all of them are in its range."""
        b, wide = self.w.b, ir.VectorType(I64, LANES)
        index = places if self.built.wide else b.sext(places, wide)
        table = self.w.splat(self.to.table, LANES)
        addresses = b.add(table, b.shl(index, ir.Constant(wide, [2] * LANES)))
        stored = self.w.gather(addresses, I32)
        return b.sext(stored, self.kind) if self.built.wide else stored

    def _store(self, codes: list[tuple[int, Any]], at: Any) -> None:
        w, b, to, bytes_of = self.w, self.w.b, self.to, ir.VectorType(I8, LANES)
        parts = []  # (address, vector, which of the block's) of each plane
        for n, code in codes:
            if not self.built.planes:
                parts.append((b.add(to.low, w.plus(at, 8 * LANES * n)), code, n))
                continue
            planes = [code]
            if self.built.planes > 1:
                bits = radix(self.built.planes)
                low_bits = ir.Constant(self.kind, [(1 << bits) - 1] * LANES)
                planes = [
                    b.and_(code, low_bits),
                    b.ashr(code, ir.Constant(self.kind, [bits] * LANES)),
                ]
            if self.built.planes > 2:
                planes.append(b.add(*planes))
            for plane, base in zip(planes, (to.low, to.high, to.both)):
                place = b.add(base, w.plus(at, LANES * n))
                parts.append((place, b.trunc(plane, bytes_of), n))
        whole = b.icmp_signed(">=", to.channels, ir.Constant(I64, LANES * (codes[-1][0] + 1)))
        w.store_lanes(whole, [(vector, place, self.real[n]) for place, vector, n in parts])


@intrinsic
def _work(typing_context, choice, block, finish):
    """One pass of a block as in tiles._tiles; meanwhile pixels of the block before are finished.

    choice: as choice_of gives it; block: a tiles.Block; finish: a Finish.
    """
    backend = NAMES[CHOSEN[choice.types[0]]]
    last = 1 + len(Built._fields)
    built = Built(*(CHOSEN[kind] for kind in choice.types[1:last]))
    recipe, across = RECIPES[len(choice.types) - last], BLOCKS[backend][1]

    def generate(context, builder, signature, arguments):
        w, b = Writer(builder), builder
        to = fields(context, builder, finish, arguments[2])
        finisher = _Finisher(w, built, across, to)

        def some(t: Any, carried: list[Any]) -> list[Any]:
            start = to.first if t is None else b.add(to.first, b.mul(t, to.apiece))
            left = b.sub(to.last, start)
            if t is not None:
                left = b.select(b.icmp_signed("<", left, to.apiece), left, to.apiece)

            def pixels() -> list[Any]:
                return w.loop(
                    left, carried, lambda n, seen: finisher.pixel(b.add(start, n), recipe, seen)
                )

            return w.when(b.icmp_signed(">", left, ir.Constant(I64, 0)), carried, pixels)

        values = fields(context, builder, block, arguments[1])
        after = multiply(w, backend, values, finisher.before, some)
        for place, value in zip(finisher.places, after):
            w.store(value, place)
        return context.get_dummy_value()

    return types.void(choice, block, finish), generate
