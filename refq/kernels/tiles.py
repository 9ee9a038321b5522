"""Machine code for exact byte products: AMX tiles, AVX-512 VNNI, or any CPU.

One microkernel with three bodies: four 16x16 tiles of int32 sums, C[g][h] = A_g . B_h, two by two
or one by four (backends.BLOCKS), where A is unsigned bytes (16 pixels by 64 a step) and B signed
bytes (64 by 16 channels a step, four rows interleaved as `vpdpbusd` and `tdpbusd` want them). Every
product and sum is exact in int32 while K <= 65,793 (255 * 128 * K < 2**31).

The body is chosen by the *type* of the first argument, so that Numba compiles, and caches, only
what this CPU can run. docs/performance.md explains the design.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from refq.kernels.backends import NAMES
from refq.kernels.writer import CHOSEN, I8, I16, I32, I64, VOID, Writer, fields

STEP = 64  # bytes of K in one step
TILE = 1024  # bytes of a tile
ROWS = 16


class Block(NamedTuple):
    """What one call of the microkernel multiplies: addresses and counts, int64.

    first, second: two groups of 16 rows of A, `stride` bytes apart, of which first_rows and
    second_rows are wanted: what C holds for others is undefined; offsets: of int64, what to add to
    the rows at each of the steps; parts: of int64, how many quarters of each step's 64 bytes have
    weights other than zero; panel: the first panel of B, 1024 bytes a step, `apart` bytes before
    the next; channels: how many are wanted; sums: C, one tile after the other. In blocks of one
    group the second is not looked at, and up to 32 channels make two tiles only.
    """

    first: int
    second: int
    stride: int
    first_rows: int
    second_rows: int
    offsets: int
    parts: int
    steps: int
    panel: int
    apart: int
    channels: int
    sums: int


def _configuration() -> bytes:
    """64 bytes for LDTILECFG: palette 1, eight tiles of 16 rows by 64 bytes."""
    return bytes([1, *[0] * 15, *[STEP, 0] * 8, *[0] * 16, *[ROWS] * 8, *[0] * 8])


@intrinsic
def _configure_tiles(typing_context, token):
    """Loads the tile configuration into this thread; nothing to do without AMX."""

    def generate(context, builder, signature, arguments):
        if NAMES[CHOSEN[token]] == "amx":
            at = context.insert_const_bytes(builder.module, _configuration(), "tiles")
            Writer(builder).call("llvm.x86.ldtilecfg", VOID, [at])
        return context.get_dummy_value()

    return types.void(token), generate


@intrinsic
def _release_tiles(typing_context, token):
    """Gives the tile registers back, so that the thread's context is small again."""

    def generate(context, builder, signature, arguments):
        if NAMES[CHOSEN[token]] == "amx":
            Writer(builder).call("llvm.x86.tilerelease", VOID, [])
        return context.get_dummy_value()

    return types.void(token), generate


@intrinsic
def _tiles(typing_context, token, block):
    """C[g][h] = sum over steps of A_g . B_h, four tiles of int32 (16, 16)."""

    def generate(context, builder, signature, arguments):
        values = fields(context, builder, block, arguments[1])
        multiply(Writer(builder), NAMES[CHOSEN[token]], values, [], lambda t, carried: carried)
        return context.get_dummy_value()

    return types.void(token, block), generate


def multiply(
    w: Writer, backend: str, block: Any, carried: list[Any], meanwhile: Callable[..., list[Any]]
) -> list[Any]:
    """The body of _tiles for a backend. meanwhile(t, carried) -> carried is other work, done in
    step t between tile instructions (AMX), or after the last step (t None)."""
    panels = [block.panel]
    for n in (1, 2, 3):
        panels.append(w.b.add(block.panel, w.b.mul(block.apart, ir.Constant(I64, n))))
    if backend == "amx":
        return _amx(w, block, panels[:2], carried, meanwhile)
    groups = [(block.first, block.first_rows), (block.second, block.second_rows)]
    if backend == "vnni":
        _vnni(w, block, groups[:1], panels)
    else:
        _by_rows(w, block, groups, panels[:2], _Rows((4, 4, 4, 4), 1, _words, _multiply_words))
    return meanwhile(None, carried)


def _amx(w, block, panels, others, meanwhile):
    """Two halves of the channels, one after the other; each loaded tile of B serves two products.

    With two sums, one tile of A and one of B the product unit stays busy also where the other
    thread of the core uses it, which four sums and four operands do not achieve.
    """
    b = w.b

    def tile(n: int) -> Any:
        return ir.Constant(I8, n)

    def fetch(n: int, address: Any, step: Any) -> None:
        w.call("llvm.x86.tileloadd64", VOID, [tile(n), w.at(address, I8), step])

    def dot(into: int, left: int, right: int) -> None:
        w.call("llvm.x86.tdpbusd", VOID, [tile(into), tile(left), tile(right)])

    for half, panel in enumerate(panels):

        def step(t: Any, carried: list[Any], half: int = half, panel: Any = panel) -> list[Any]:
            offset = w.load(b.add(block.offsets, b.shl(t, ir.Constant(I64, 3))), I64)
            fetch(3, b.add(panel, b.shl(t, ir.Constant(I64, 10))), ir.Constant(I64, STEP))
            for group, a in enumerate((block.first, block.second)):
                fetch(2, b.add(a, offset), block.stride)
                dot(group, 2, 3)
            if half:
                return carried
            return meanwhile(t, carried)

        for n in range(2):
            w.call("llvm.x86.tilezero", VOID, [tile(n)])
        others = w.loop(block.steps, others, step)
        for n in range(2):
            address = w.at(w.plus(block.sums, TILE * (2 * n + half)), I8)
            w.call("llvm.x86.tilestored64", VOID, [tile(n), address, ir.Constant(I64, STEP)])
    return others


@dataclass(frozen=True)
class _Rows:
    """How a backend without tiles goes through a block.

    split: how many of the 16 rows are worked on together; unroll: how many of the four panel rows
    of a part a pass of the inner loop takes. prepare(w, address of a panel row) -> operands;
    multiply(w, sum, four bytes of A, operands) -> sum.
    """

    split: tuple[int, ...]
    unroll: int
    prepare: Callable[[Writer, Any], Any]
    multiply: Callable[[Writer, Any, Any, Any], Any]


def _by_rows(w, block, groups, panels, how):
    """The tiles in blocks of some rows by all panels, their sums in vector registers.

    groups: (address of A, rows wanted) of each; panels: addresses.
    """
    b, unroll = w.b, how.unroll
    kind, across = ir.VectorType(I32, 16), len(panels)
    multiples = w.multiples(block.stride)
    for g, (a, wanted) in enumerate(groups):
        for first, rows in zip(itertools.accumulate(how.split, initial=0), how.split):
            with b.if_then(b.icmp_signed(">", wanted, ir.Constant(I64, first))):
                bases = [b.add(a, b.mul(block.stride, ir.Constant(I64, first)))]
                for _ in range((rows - 1) // 4):
                    bases.append(b.add(bases[-1], multiples[3]))

                def step(t: Any, sums: list[Any], rows: int = rows, bases: Any = bases) -> Any:
                    place = b.shl(t, ir.Constant(I64, 3))
                    offset = w.load(b.add(block.offsets, place), I64)
                    quarters = w.load(b.add(block.parts, place), I64)
                    passes = b.mul(quarters, ir.Constant(I64, 4 // unroll))
                    panel = b.shl(t, ir.Constant(I64, 10))
                    starts = [b.add(address, panel) for address in panels]
                    lines = [b.add(base, offset) for base in bases]

                    def part(n: Any, sums: list[Any]) -> list[Any]:
                        used = b.mul(n, ir.Constant(I64, 4 * unroll))
                        row = b.shl(used, ir.Constant(I64, 4))
                        sums = list(sums)
                        for k in range(unroll):
                            operands = [
                                how.prepare(w, w.plus(b.add(start, row), 64 * k))
                                for start in starts
                            ]
                            for r in range(rows):
                                line = b.add(lines[r // 4], used)
                                if r % 4:
                                    line = b.add(line, multiples[r % 4 - 1])
                                four = w.load(w.plus(line, 4 * k), I32)
                                for h, operand in enumerate(operands):
                                    n = across * r + h
                                    sums[n] = how.multiply(w, sums[n], four, operand)
                        return sums

                    return w.loop(passes, sums, part)

                zeros = [ir.Constant(kind, [0] * 16)] * (across * rows)
                sums = w.loop(block.steps, zeros, step)
                for r in range(rows):
                    for h in range(across):
                        place = TILE * (across * g + h) + 64 * (first + r)
                        w.store(sums[across * r + h], w.plus(block.sums, place))


def _vnni(w, block, groups, panels):
    """`vpdpbusd`: 64 byte products an instruction, four to a lane. Six rows by four vectors take
    ten loads for 24 products, eight by two for 16: a neighbour on the core makes loads dear."""
    kind = ir.VectorType(I32, 16)

    def prepare(w: Writer, address: Any) -> Any:
        return w.load(address, kind)

    def multiply(w: Writer, total: Any, four: Any, operand: Any) -> Any:
        name = "llvm.x86.avx512.vpdpbusd.512"
        return w.call(name, kind, [total, w.splat(four, 16), operand])

    many = w.b.icmp_signed(">", block.channels, ir.Constant(I64, 32))
    with w.b.if_else(many) as (four_tiles, two_tiles):
        with four_tiles:
            _by_rows(w, block, groups, panels, _Rows((6, 5, 5), 4, prepare, multiply))
        with two_tiles:
            _by_rows(w, block, groups, panels[:2], _Rows((8, 8), 4, prepare, multiply))


def _words(w: Writer, address: Any) -> list[Any]:
    """Bytes (16 channels, 4 rows) of a panel as two vectors of int16 (16 channels, 2 rows)."""
    both = w.b.sext(w.load(address, ir.VectorType(I8, 64)), ir.VectorType(I16, 64))
    return [w.pick(both, [4 * n + q + i for n in range(16) for i in (0, 1)]) for q in (0, 2)]


def _multiply_words(w: Writer, total: Any, four: Any, operand: list[Any]) -> Any:
    """Plain vector IR: pairs of int16 products, which LLVM turns into what the CPU has
    (`vpmaddwd` on x86)."""
    b, wide = w.b, ir.VectorType(I32, 32)
    values = b.zext(b.bitcast(four, ir.VectorType(I8, 4)), ir.VectorType(I16, 4))
    for half, weights in enumerate(operand):
        pair = b.bitcast(w.pick(values, [2 * half, 2 * half + 1]), I32)
        spread = b.bitcast(w.splat(pair, 16), ir.VectorType(I16, 32))
        products = b.mul(b.sext(spread, wide), b.sext(weights, wide))
        even = w.pick(products, range(0, 32, 2))
        odd = w.pick(products, range(1, 32, 2))
        total = b.add(total, b.add(even, odd))
    return total
