"""Machine code for exact byte products: AMX tiles, AVX-512 VNNI, or any CPU.

One microkernel with three bodies: four 16x16 tiles of int32 sums, C[g][h] = A_g . B_h, two by two
or one by four (BLOCKS), where A is unsigned bytes (16 pixels by 64 a step) and B signed bytes (64
by 16 channels a step, four rows interleaved as `vpdpbusd` and `tdpbusd` want them). Every product
and sum is exact in int32 while K <= 65,793 (255 * 128 * K < 2**31).

The body is chosen by the *type* of the first argument, so that Numba compiles, and caches, only
what this CPU can run. docs/performance.md explains the design.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from refq.errors import OptionError, unknown

VARIABLE = "REFQ_BACKEND"
# backend -> the scalar whose type selects it
TOKENS = {"amx": np.int8(0), "vnni": np.int16(0), "portable": np.int32(0)}
# backend -> groups of 16 pixels and of 16 channels in a block (docs/performance.md)
BLOCKS = {"amx": (2, 2), "vnni": (1, 4), "portable": (2, 2)}
STEP = 64  # bytes of K in one step
TILE = 1024  # bytes of a tile
ROWS = 16
# a scalar whose type tells a choice
CHOICES = (np.int8(0), np.int16(0), np.int32(0), np.int64(0))
CHOSEN = {types.int8: 0, types.int16: 1, types.int32: 2, types.int64: 3}

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
VOID = ir.VoidType()


def supported() -> list[str]:
    """Backends that this machine can run, best first."""
    return list(_supported())


@lru_cache(maxsize=1)
def _supported() -> tuple[str, ...]:
    found = ["portable"]
    if platform.machine().lower() in ("x86_64", "amd64"):
        features = llvm.get_host_cpu_features()
        if features.get("avx512vnni"):
            found.insert(0, "vnni")
            if features.get("amx-int8") and _amx_permitted():
                found.insert(0, "amx")
    return tuple(found)


def _amx_permitted() -> bool:
    """Linux keeps the tile registers from a process until it asks once (arch_prctl)."""
    if platform.system() != "Linux":
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0)


def backend() -> str:
    """The backend in use: the best supported one, or the one REFQ_BACKEND names."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return supported()[0]
    if wanted not in TOKENS:
        raise unknown(f"backend in {VARIABLE}", wanted, list(TOKENS))
    if wanted not in supported():
        raise OptionError(
            f"{VARIABLE}={wanted}", f"one of {', '.join(supported())} on this machine"
        )
    return wanted


def _tile_config() -> np.ndarray:
    """64 bytes for LDTILECFG: palette 1, eight tiles of 16 rows by 64 bytes."""
    config = np.zeros(64, np.uint8)
    config[0] = 1
    config[16:32].view(np.uint16)[:] = STEP
    config[48:56] = ROWS
    return config


CONFIG = _tile_config()


class _Writer:
    """Short words for the IR that the bodies below are written in."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def call(self, name: str, returns: Any, arguments: Sequence[Any]) -> Any:
        module = self.b.module
        kinds = [argument.type for argument in arguments]
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(returns, kinds), name
        )
        return self.b.call(function, arguments)

    def at(self, address: Any, kind: Any) -> Any:
        return self.b.inttoptr(address, kind.as_pointer())

    def load(self, address: Any, kind: Any) -> Any:
        value = self.b.load(self.at(address, kind))
        value.align = 1
        return value

    def store(self, value: Any, address: Any) -> None:
        self.b.store(value, self.at(address, value.type)).align = 1

    def store_some(self, value: Any, address: Any, lanes: Any) -> None:
        """Stores the lanes (a vector of bits) that are set."""
        kind = value.type.element
        short = "f32" if isinstance(kind, ir.FloatType) else f"i{kind.width}"
        name = f"llvm.masked.store.v{value.type.count}{short}.p0"
        self.call(name, VOID, [value, self.at(address, value.type), I32(1), lanes])

    def gather(self, addresses: Any, kind: Any) -> Any:
        """One value of a scalar type from each of a vector of addresses."""
        lanes = addresses.type.count
        vector = ir.VectorType(kind, lanes)
        pointers = self.b.inttoptr(addresses, ir.VectorType(kind.as_pointer(), lanes))
        every = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1] * lanes)
        rest = ir.Constant(vector, [0] * lanes)
        name = f"llvm.masked.gather.v{lanes}i{kind.width}.v{lanes}p0"
        return self.call(name, vector, [pointers, I32(kind.width // 8), every, rest])

    def plus(self, address: Any, offset: int) -> Any:
        return self.b.add(address, ir.Constant(I64, offset))

    def multiples(self, stride: Any) -> list[Any]:
        """One to four strides, the last three in registers whose origin the compiler does not see:
        else it would add its way from row to row, on the ports that multiply."""
        kind = ir.FunctionType(I64, [I64])
        out = [stride]
        for n in (2, 3, 4):
            product = self.b.mul(stride, ir.Constant(I64, n))
            out.append(self.b.asm(kind, "", "=r,0", [product], False))
        return out

    def splat(self, value: Any, lanes: int) -> Any:
        kind = ir.VectorType(value.type, lanes)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
        return self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

    def pick(self, vector: Any, lanes: Sequence[int]) -> Any:
        order = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.b.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), order)

    def loop(self, steps: Any, carried: Sequence[Any], body: Any) -> list[Any]:
        """body(step number, carried values) -> new carried values, `steps` >= 1 times."""
        b = self.b
        before = b.block
        inside, after = b.append_basic_block("step"), b.append_basic_block("done")
        b.branch(inside)
        b.position_at_end(inside)
        t = b.phi(I64)
        t.add_incoming(ir.Constant(I64, 0), before)
        values = [b.phi(value.type) for value in carried]
        for phi, value in zip(values, carried):
            phi.add_incoming(value, before)
        results = body(t, values)
        following = self.plus(t, 1)
        t.add_incoming(following, b.block)
        for phi, value in zip(values, results):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, steps), inside, after)
        b.position_at_end(after)
        return results

    def when(self, condition: Any, carried: Sequence[Any], body: Any) -> list[Any]:
        """body() -> new values where the condition holds, else those carried."""
        b = self.b
        before = b.block
        inside, after = b.append_basic_block("real"), b.append_basic_block("skipped")
        b.cbranch(condition, inside, after)
        b.position_at_end(inside)
        results = body()
        end = b.block
        b.branch(after)
        b.position_at_end(after)
        out = []
        for old, new in zip(carried, results):
            phi = b.phi(old.type)
            phi.add_incoming(old, before)
            phi.add_incoming(new, end)
            out.append(phi)
        return out


@intrinsic
def _configure_tiles(typing_context, token, config):
    """Loads the tile configuration into this thread; nothing to do without AMX."""

    def generate(context, builder, signature, arguments):
        if token == types.int8:
            w = _Writer(builder)
            w.call("llvm.x86.ldtilecfg", VOID, [w.at(arguments[1], I8)])
        return context.get_dummy_value()

    return types.void(token, types.intp), generate


@intrinsic
def _release_tiles(typing_context, token):
    """Gives the tile registers back, so that the thread's context is small again."""

    def generate(context, builder, signature, arguments):
        if token == types.int8:
            _Writer(builder).call("llvm.x86.tilerelease", VOID, [])
        return context.get_dummy_value()

    return types.void(token), generate


@intrinsic
def _tiles(
    typing_context,
    token,
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
):
    """C[g][h] = sum over steps of A_g . B_h, four tiles of int32 (16, 16) one after the other at c.

    a0, a1: addresses of the first bytes of two groups of 16 rows, `stride` bytes apart; rows0,
    rows1: how many of them are wanted, what C holds for others is undefined; offsets: address of
    int64, what to add to the rows at each step; parts: address of int64, how many quarters of each
    step's 64 bytes have weights other than zero; b: address of the first panel of 1024 bytes a
    step, `apart` bytes before the next; channels: how many are wanted. In blocks of one group a1
    and rows1 are not looked at, and up to 32 channels make two tiles only.
    """

    def generate(context, builder, signature, arguments):
        multiply(_Writer(builder), token, arguments[1:], [], lambda t, carried: carried)
        return context.get_dummy_value()

    return types.void(token, *[types.intp] * 12), generate


def multiply(w, token, arguments, carried, meanwhile):
    """The body of _tiles for a backend. meanwhile(t, carried) -> carried is other work, done in
    step t between tile instructions (AMX), or after the last step (t None)."""
    a0, a1, stride, rows0, rows1, offsets, parts, b, apart, channels, c, steps = arguments
    panels = [b, *(w.b.add(b, w.b.mul(apart, ir.Constant(I64, n))) for n in (1, 2, 3))]
    if token == types.int8:
        return _amx(w, (a0, a1), stride, offsets, panels[:2], c, steps, carried, meanwhile)
    walk = (stride, offsets, parts, c, steps)
    if token == types.int16:
        _vnni(w, [(a0, rows0)], panels, channels, walk)
    else:
        _portable(w, [(a0, rows0), (a1, rows1)], panels[:2], walk)
    return meanwhile(None, carried)


def _amx(w, groups, stride, offsets, panels, c, steps, others, meanwhile):
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
            offset = w.load(b.add(offsets, b.shl(t, ir.Constant(I64, 3))), I64)
            fetch(3, b.add(panel, b.shl(t, ir.Constant(I64, 10))), ir.Constant(I64, STEP))
            for group, a in enumerate(groups):
                fetch(2, b.add(a, offset), stride)
                dot(group, 2, 3)
            if half:
                return carried
            return meanwhile(t, carried)

        for n in range(2):
            w.call("llvm.x86.tilezero", VOID, [tile(n)])
        others = w.loop(steps, others, step)
        for n in range(2):
            address = w.at(w.plus(c, TILE * (2 * n + half)), I8)
            w.call("llvm.x86.tilestored64", VOID, [tile(n), address, ir.Constant(I64, STEP)])
    return others


def _by_rows(w, groups, panels, walk, split, unroll, prepare, multiply):
    """The tiles in blocks of some rows by all panels, their sums in vector registers.

    groups: (address of A, rows wanted) of each; panels: addresses; split: how many of the 16 rows
    each block takes. prepare(panel row) -> operands; multiply(sum, four bytes of A, operands) ->
    sum. A pass of the inner loop takes `unroll` of the four panel rows of a part.
    """
    b = w.b
    stride, offsets, parts, c, steps = walk
    kind, across = ir.VectorType(I32, 16), len(panels)
    multiples = w.multiples(stride)
    for g, (a, wanted) in enumerate(groups):
        for first, rows in zip(itertools.accumulate(split, initial=0), split):
            with b.if_then(b.icmp_signed(">", wanted, ir.Constant(I64, first))):
                bases = [b.add(a, b.mul(stride, ir.Constant(I64, first)))]
                for _ in range((rows - 1) // 4):
                    bases.append(b.add(bases[-1], multiples[3]))

                def step(t: Any, sums: list[Any], rows: int = rows, bases: Any = bases) -> Any:
                    place = b.shl(t, ir.Constant(I64, 3))
                    offset = w.load(b.add(offsets, place), I64)
                    passes = b.mul(w.load(b.add(parts, place), I64), ir.Constant(I64, 4 // unroll))
                    panel = b.shl(t, ir.Constant(I64, 10))
                    starts = [b.add(each, panel) for each in panels]
                    lines = [b.add(base, offset) for base in bases]

                    def part(n: Any, sums: list[Any]) -> list[Any]:
                        used = b.mul(n, ir.Constant(I64, 4 * unroll))
                        row = b.shl(used, ir.Constant(I64, 4))
                        sums = list(sums)
                        for k in range(unroll):
                            operands = [
                                prepare(w, w.plus(b.add(each, row), 64 * k)) for each in starts
                            ]
                            for r in range(rows):
                                line = b.add(lines[r // 4], used)
                                if r % 4:
                                    line = b.add(line, multiples[r % 4 - 1])
                                four = w.load(w.plus(line, 4 * k), I32)
                                for h, operand in enumerate(operands):
                                    n = across * r + h
                                    sums[n] = multiply(w, sums[n], four, operand)
                        return sums

                    return w.loop(passes, sums, part)

                sums = w.loop(steps, [ir.Constant(kind, [0] * 16)] * (across * rows), step)
                for r in range(rows):
                    for h in range(across):
                        place = TILE * (across * g + h) + 64 * (first + r)
                        w.store(sums[across * r + h], w.plus(c, place))


def _vnni(w, groups, panels, channels, walk):
    """`vpdpbusd`: 64 byte products an instruction, four to a lane. Six rows by four vectors take
    ten loads for 24 products, eight by two for 16: a neighbour on the core makes loads dear."""
    kind = ir.VectorType(I32, 16)

    def prepare(w: _Writer, address: Any) -> Any:
        return w.load(address, kind)

    def multiply(w: _Writer, total: Any, four: Any, operand: Any) -> Any:
        name = "llvm.x86.avx512.vpdpbusd.512"
        return w.call(name, kind, [total, w.splat(four, 16), operand])

    many = w.b.icmp_signed(">", channels, ir.Constant(I64, 32))
    with w.b.if_else(many) as (four_tiles, two_tiles):
        with four_tiles:
            _by_rows(w, groups, panels, walk, (6, 5, 5), 4, prepare, multiply)
        with two_tiles:
            _by_rows(w, groups, panels[:2], walk, (8, 8), 4, prepare, multiply)


def _portable(w, groups, panels, walk):
    """Plain vector IR: pairs of int16 products, which LLVM turns into what the CPU has
    (`vpmaddwd` on x86)."""
    wide, pairs = ir.VectorType(I32, 32), ir.VectorType(I16, 32)

    def prepare(w: _Writer, address: Any) -> Any:
        # bytes (16 channels, 4 rows) -> two vectors of int16 (16 channels, 2 rows)
        both = w.b.sext(w.load(address, ir.VectorType(I8, 64)), ir.VectorType(I16, 64))
        return [w.pick(both, [4 * n + q + i for n in range(16) for i in (0, 1)]) for q in (0, 2)]

    def multiply(w: _Writer, total: Any, four: Any, operand: Any) -> Any:
        b = w.b
        values = b.zext(b.bitcast(four, ir.VectorType(I8, 4)), ir.VectorType(I16, 4))
        for half, weights in enumerate(operand):
            pair = b.bitcast(w.pick(values, [2 * half, 2 * half + 1]), I32)
            spread = b.bitcast(w.splat(pair, 16), pairs)
            products = b.mul(b.sext(spread, wide), b.sext(weights, wide))
            even = w.pick(products, range(0, 32, 2))
            odd = w.pick(products, range(1, 32, 2))
            total = b.add(total, b.add(even, odd))
        return total

    _by_rows(w, groups, panels, walk, (4, 4, 4, 4), 1, prepare, multiply)
