"""Tasks that threads take one after the other, each as soon as it has ended its last.

Halves given out beforehand end together only where both threads run at one speed: on a machine
that is shared they do not.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from refq.kernels.writer import I64


@intrinsic
def _take(typing_context, counter):
    """The next number from an int64 counter at this address, which no other thread gets."""

    def generate(context, builder, signature, arguments):
        at = builder.inttoptr(arguments[0], I64.as_pointer())
        return builder.atomic_rmw("add", at, ir.Constant(I64, 1), "monotonic")

    return types.intp(types.intp), generate
