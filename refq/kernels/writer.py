"""Short words for LLVM IR, in which microkernels are written, and how their arguments are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
VOID = ir.VoidType()
# scalars whose type tells a choice, so that Numba compiles, and caches, only what is chosen
CHOICES = (np.int8(0), np.int16(0), np.int32(0), np.int64(0))
CHOSEN = {types.int8: 0, types.int16: 1, types.int32: 2, types.int64: 3}


def fields(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """The same named tuple (kind is its type) with its fields as 64-bit values in the IR."""
    return kind.instance_class(
        *(
            context.cast(builder, builder.extract_value(value, place), field, types.intp)
            for place, field in enumerate(kind.types)
        )
    )


class Writer:
    """Short words for instructions, at the end of a builder's block."""

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

    def store_lanes(self, whole: Any, stores: Sequence[tuple[Any, Any, Any]]) -> None:
        """(value, address, lanes) of each: all lanes where `whole` holds, else those that are
        set."""
        with self.b.if_else(whole) as (all_lanes, some_lanes):
            with all_lanes:
                for value, address, _ in stores:
                    self.store(value, address)
            with some_lanes:
                for value, address, lanes in stores:
                    self.store_some(value, address, lanes)

    def below(self, count: Any, lanes: int, first: int) -> Any:
        """Which lanes, numbered from `first` on, have a number below the count."""
        numbers = ir.Constant(ir.VectorType(I64, lanes), [first + n for n in range(lanes)])
        return self.b.icmp_signed("<", numbers, self.splat(count, lanes))

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

    def element(self, address: Any, index: Any, size: int) -> Any:
        """Where an element of so many bytes lies."""
        return self.b.add(address, self.b.mul(index, ir.Constant(I64, size)))

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
