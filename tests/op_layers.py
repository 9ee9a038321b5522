"""Rows of the operations of layers that move values, compute each by itself, resize, or turn a
convolution round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refq.formats.fixed import Accumulator, FixedPointFormat, Overflow, Rounding
from refq.networks.layers.expressions import Expression
from tests.op_rows import Case, codes, edges, real, same

TRANSPOSED: list[dict[str, Any]] = [
    {},
    {"strides": (2, 3), "pads": (1, 0, 2, 1), "group": 2, "output_padding": (1, 2)},
    {"strides": (3, 1), "pads": (0, 2, 1, 0), "dilations": (2, 3)},
    # rows that no tap reaches, and inputs that no output sees
    {"strides": (4, 5), "pads": (7, 6, 5, 3), "dilations": (2, 1), "output_padding": (3, 0)},
]
LIMITED = [
    Accumulator(),
    Accumulator(17, Overflow.SAT_SYM),
    Accumulator(16, Overflow.WRAP),
    Accumulator((15, 17, 16, 18), Overflow.SAT, every_mac=True),
    Accumulator(18, Overflow.WRAP, every_mac=True),
    Accumulator(12, Overflow.SAT, True, 0, Rounding.TIES_AWAY),
]
# everything that expressions have, with what is undefined somewhere kept where it is not
EXPRESSIONS: list[Expression] = [
    ("sigmoid", "x"),
    ("mul", "x", ("sigmoid", ("mul", "x", 1.702))),
    ("div", ("mul", "x", ("min", ("max", ("add", "x", 3.0), 0.0), 6.0)), 6.0),
    ("mul", ("mul", 0.5, "x"), ("add", 1.0, ("erf", ("div", "x", 1.4142135)))),
    ("mul", "x", ("tanh", ("softplus", "x"))),
    ("where", "x", "x", ("mul", 1.5, ("sub", ("exp", "x"), 1.0))),
    ("log", ("add", ("abs", "x"), 0.125)),
    ("reciprocal", ("sqrt", ("add", ("pow", "x", 2.0), 0.5))),
    ("pow", ("abs", "x"), 0.3),
    ("pow", "x", 3.0),
    ("sub", ("round", ("mul", "x", 1.5)), ("neg", ("floor", ("div", ("mul", "x", 3.0), 3.0)))),
    ("mul", ("sign", "x"), ("relu", ("ceil", ("sub", "x", 0.25)))),
    # infinite at 0 and nothing in some places
    ("where", "x", ("log", "x"), ("reciprocal", "x")),
]


def layers() -> Iterator[Case]:
    yield from _transposed()
    yield from _elements()
    yield from _arithmetic()
    yield from _moves()
    yield from _functions()


def _transposed() -> Iterator[Case]:
    for attributes in TRANSPOSED:
        for kernel in ((1, 1), (3, 2), (2, 6)):
            inputs = 10 // attributes.get("group", 1)
            x, w = real(2, 10, 5, 7), real(4, inputs, *kernel)
            yield "conv_transpose", {"x": x, "w": w, "b": real(4), **attributes}
            exact = {"x": codes(2, 10, 5, 7, bits=9), "w": codes(4, inputs, *kernel, bits=8)}
            bias = codes(4, bits=14, dtype=np.int64)
            for accumulator in LIMITED:
                how = {"accumulator": accumulator, "drop": same("0.2.1.3", [0, 2, 1, 3])}
                given = {**exact, "b": bias, **attributes, **how}
                yield "conv_transpose_integer", given
    wide = {"x": codes(1, 2, 3, 4, bits=32), "w": codes(3, 2, 4, 5, bits=28, dtype=np.int64)}
    yield "conv_transpose_integer", {**wide, "strides": (2, 1)}
    yield "conv_transpose", {"x": real(1, 2, 3, 4), "w": real(3, 2, 5, 1)}


def _elements() -> Iterator[Case]:
    yield "relu", {"x": real(2, 3, 4, 5)}
    yield "relu", {"x": codes(2, 3, 4, 5)}
    yield "relu", {"x": codes(2, 3, 4, 5, dtype=np.int64, shift=40)}
    for make in (real, codes):
        parts = [make(2, channels, 4, 5) for channels in (3, 1, 6)]
        yield "concat", {"arrays": parts}
        yield "add", {"arrays": [make(2, 3, 4, 5)] * 3}
        for strides, channels in (((2, 2), (0, 5)), ((1, 3), (2, 1)), ((4, 1), (0, 0))):
            x = make(2, 3, 7, 9)
            yield "subsample", {"x": x, "strides": strides, "channels": channels}
        yield "subsample", {"x": make(3, 2, 6, 5), "strides": (5, 7)}
    for shifts in ((0, 3), (40, 0), (7, 12)):
        yield "add", {"arrays": [codes(2, 3, 4, 5), codes(2, 3, 4, 5)], "shifts": shifts}


def _arithmetic() -> Iterator[Case]:
    shapes = ((2, 3, 4, 5), (2, 3, 1, 1), (1, 1, 4, 1))
    for make in (real, codes):
        for a, b in ((0, 0), (0, 1), (2, 0), (1, 2)):
            pair = {"a": make(*shapes[a]), "b": make(*shapes[b])}
            yield "subtract", pair
            yield "multiply", pair
            yield "add", {"arrays": [pair["a"], pair["b"], make(1, 3, 1, 5)]}
    yield "subtract", {"a": codes(3, 7), "b": codes(3, 1), "shifts": (5, 0)}
    yield "subtract", {"a": codes(3, 1), "b": codes(1, 7), "shifts": (0, 40)}
    yield "add", {"arrays": [codes(3, 7), codes(3, 1)], "shifts": (2, 17)}
    yield "multiply", {"a": edges(7, 50, bits=32), "b": edges(7, 50, bits=31)}
    for low, high in ((0.0, 6.0), (-1.0, 1.0), (-np.inf, 2.75), (0.3, np.inf), (-40.0, 9e9)):
        yield "clip", {"x": real(2, 3, 4, 5), "low": low, "high": high}
        for fmt in (FixedPointFormat(8, 5), FixedPointFormat(6, 3, signed=False)):
            for frac_bits in (2, 5, 13):
                how = {"frac_bits": frac_bits, "low": low, "high": high, "fmt": fmt}
                yield "clip_integer", {"codes": edges(3, 5, 8, bits=14), **how}
    # bounds beyond the other end
    for low, high in ((20.0, 30.0), (-30.0, -20.0), (0.0624, 0.1876)):
        how = {"frac_bits": 4, "low": low, "high": high, "fmt": FixedPointFormat(6, 3)}
        yield "clip_integer", {"codes": codes(3, 5, 7), **how}
    for slopes in ([0.25], [0.5, -0.125, 3.0]):
        one = same(".".join(map(str, slopes)), slopes, np.float32)
        yield "prelu", {"x": real(2, 3, 5, 4), "slopes": one}
    for steep in ([13], [-32768, 32767, 5], [0, 1, -1]):
        for more in (-2, 0, 15):
            of = same(".".join(map(str, steep)), steep, np.int32)
            given = {"codes": edges(2, 3, 5, 7, bits=20), "slopes": of, "slope_frac_bits": more}
            yield "prelu_integer", given


def _moves() -> Iterator[Case]:
    ties = same("ties", [[[3, 3, 1], [0, 3, 5], [0, 3, 5], [2, 2, 2]]], np.int32)
    for axis in (1, 2):
        for keepdims in (True, False):
            yield "argmax", {"x": ties, "axis": axis, "keepdims": keepdims}
            yield "argmax", {"x": real(3, 4, 5), "axis": axis, "keepdims": keepdims}
    for make in (real, codes):
        yield "concat", {"arrays": [make(2, 3, 4, 5), make(2, 3, 1, 5)], "axis": 2}
        split = {"split": (2, 3, 4, 5), "axes": (2, 0, 3, 1), "shape": (8, 15)}
        yield "rearrange", {"x": make(2, 6, 4, 5), **split}
        yield "rearrange", {"x": make(3, 7), "split": (7,), "axes": (0,), "shape": (7, 1, 1)}
        part = {"starts": (1, 0, 2), "stops": (4, 5, 7), "steps": (2, 3, 1)}
        yield "slice_", {"x": make(2, 4, 5, 8), **part}
        for mode, value in (("constant", 0), ("constant", -7), ("reflect", 0), ("edge", 0)):
            around = {"before": (0, 3, 2), "after": (2, 1, 4), "mode": mode, "value": value}
            yield "pad", {"x": make(2, 3, 4, 5), **around}
        places = same("2.0.3.3", [2, 0, 3, 3])
        yield "take", {"x": make(2, 3, 4, 5), "axis": 2, "indices": places}
    wide = {"before": (1,), "after": (0,), "mode": "constant", "value": 2**40}
    yield "pad", {"x": codes(2, 3), **wide}
    near = {"before": same("0.0.2", [0, 0, 2]), "behind": same("0.1.3", [0, 1, 3])}
    shares = same("shares", [0.0, 0.3, 0.875], np.float32)
    parts = same("shares", [0, 1229, 4096], np.int64)
    for axis in (2, 3):
        given = {"axis": axis, **near}
        yield "interpolate", {"x": real(2, 3, 5, 4), **given, "share": shares}
        for dtype in (np.int32, np.int64):
            x = codes(2, 3, 5, 4, bits=16, dtype=dtype)
            yield "interpolate_integer", {"x": x, **given, "share": parts, "bits": 12}


def _functions() -> Iterator[Case]:
    for expression in EXPRESSIONS[:-1]:
        yield "function", {"x": real(3, 5, 7), "expression": expression}
    # every third code, and all roundings of a few
    x, few = same("0..", range(-1024, 1024, 3), np.int32), edges(7, 13, bits=11)
    for expression in EXPRESSIONS:
        given = {"expression": expression, "frac_bits": 7}
        yield "function_integer", {"codes": x, "fmt": FixedPointFormat(10, 6), **given}
        for rounding in Rounding:
            modes = {"rounding": rounding, "overflow": Overflow.SAT_SYM, "seed": 5, "offset": 9}
            fmt = FixedPointFormat(7, 5)
            yield "function_integer", {"codes": few, "fmt": fmt, **given, **modes}
    for expression in EXPRESSIONS[:3]:
        given = {"expression": expression, "overflow": Overflow.WRAP}
        fmt = FixedPointFormat(5, 4, signed=False)
        yield "function_integer", {"codes": few, "frac_bits": 5, "fmt": fmt, **given}
        # a table of more codes than there are, and steps far from 1
        for frac_bits in (-3, 30, 60):
            far = {"codes": codes(5, 7, bits=31), "frac_bits": frac_bits}
            yield "function_integer", {**far, "fmt": FixedPointFormat(24, 20), **given}
