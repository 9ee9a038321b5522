"""One table of operations: every public kernel function has rows here, and nothing else is public.

A row is (operation, keyword arguments). The parity test calls kernel and oracle with the same
arguments and compares the results: integers bit for bit, float32 within a tolerance.
Every dimension differs from its neighbours, so that a mixed-up axis cannot hide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refq.formats.fixed import Accumulator, FixedPointFormat, FormatGrid, Overflow, Rounding
from refq.formats.floats import Affine, AffineGrid, Buckets, MiniFloat, Number, PowerOfTwo
from tests.op_layers import layers
from tests.op_rows import Case, Drawn, Row, codes, edges, real, rows, same, whole

WINDOWS: list[dict[str, Any]] = [
    {"strides": (1, 1), "pads": (0, 0, 0, 0), "group": 1},
    {"strides": (2, 1), "pads": (1, 0, 2, 3), "group": 2},
    {"strides": (3, 2), "pads": (0, 2, 1, 1), "group": 1},
    {"strides": (1, 2), "pads": (2, 3, 1, 0), "group": 2, "dilations": (2, 1)},
]
KERNELS = ((1, 1), (3, 2), (2, 6))
POOLS: list[dict[str, Any]] = [
    {"kernel_shape": (2, 2), "strides": (2, 2)},
    {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": True},
    {"kernel_shape": (2, 3), "strides": (2, 1), "pads": (1, 2, 0, 1)},
    {"kernel_shape": (3, 2), "strides": (2, 3), "pads": (1, 1, 1, 1), "ceil_mode": True},
    {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "ceil_mode": True},
]
ACCUMULATORS = [
    Accumulator(),
    Accumulator(20, Overflow.SAT),
    Accumulator(17, Overflow.SAT_SYM),
    Accumulator(19, Overflow.WRAP),
    Accumulator(18, Overflow.SAT, every_mac=True),
    Accumulator(18, Overflow.SAT_SYM, every_mac=True),
    Accumulator(18, Overflow.WRAP, every_mac=True),
    Accumulator((18, 62, 15, 17), Overflow.SAT),
    Accumulator((18, 17, 16, 19), Overflow.WRAP),
    Accumulator((18, 15, 31, 17), Overflow.SAT, every_mac=True),
]
FORMATS = [
    FixedPointFormat(8, 5),
    FixedPointFormat(9, 0),
    FixedPointFormat(5, -3, signed=False),
    FixedPointFormat(12, 14, signed=False),
    FixedPointFormat(32, 20),
    FixedPointFormat(32, 24, signed=False),
]
MODES: list[dict[str, Any]] = [
    {"rounding": rounding, "overflow": overflow, "seed": 7 * index, "offset": 11}
    for index, rounding in enumerate(Rounding)
    for overflow in Overflow
]


def ties(fmt: FixedPointFormat) -> np.ndarray:
    """Twice the codes around zero and the range's ends, one apart: codes and halves between."""
    middles = (fmt.min_code, 0, fmt.max_code)
    return np.array([2 * middle + step for middle in middles for step in range(-7, 8)], np.int64)


def _fixed() -> Iterator[Case]:
    wide = codes(3, 5, 7, bits=46, dtype=np.int64)
    # +-2**k and their neighbours in float32
    powers = np.ldexp(np.float32(1), np.arange(-10, 35)).astype(np.float32)
    near = np.concatenate([powers, *(np.nextafter(powers, np.float32(far)) for far in (0, 2**40))])
    for fmt in FORMATS:
        halves = np.ldexp(ties(fmt).astype(np.float64), -1 - fmt.frac_bits)
        for modes in MODES:
            yield "quantize", {"x": real(2, 3, 5), "fmt": fmt, **modes}
            yield "quantize", {"x": real(7, 4, scale=3e9, dtype=np.float64), "fmt": fmt, **modes}
            yield "quantize", {"x": same("near-powers", [near, -near]), "fmt": fmt, **modes}
            yield "quantize", {"x": same("ties", halves), "fmt": fmt, **modes}
            yield "requantize", {"codes": wide, "frac_bits": 33, "fmt": fmt, **modes}
            yield "requantize", {"codes": codes(4, 9), "frac_bits": 6, "fmt": fmt, **modes}
            yield "requantize", {"codes": codes(4, 9), "frac_bits": -50, "fmt": fmt, **modes}
            # a tie and both of its neighbours
            middle = ties(fmt) << (32 - fmt.frac_bits)
            near_ties = same("ties", [middle - 1, middle, middle + 1])
            yield "requantize", {"codes": near_ties, "frac_bits": 33, "fmt": fmt, **modes}
    yield "dequantize", {"codes": codes(3, 4, 5), "frac_bits": 7}
    yield "dequantize", {"codes": codes(6, 2), "frac_bits": -3}
    yield "dequantize", {"codes": edges(4, 5, 16, bits=32), "frac_bits": 31}


def _sums() -> Iterator[Case]:
    for attributes in WINDOWS:
        for kernel in KERNELS:
            inputs = 10 // attributes["group"]
            yield "conv", {"x": real(2, 10, 9, 11), "w": real(4, inputs, *kernel), **attributes}
            exact = {"x": codes(2, 10, 9, 11), "w": codes(4, inputs, *kernel, bits=8), **attributes}
            for accumulator in ACCUMULATORS:
                yield "conv_integer", {**exact, "b": _bias(4), "accumulator": accumulator}
    yield from _depthwise()
    # beyond 2**53: the int64 path
    yield "conv_integer", {"x": codes(2, 6, 9, 11, bits=32), "w": codes(4, 6, 3, 2, bits=28)}
    yield (
        "conv",
        {"x": real(1, 3, 13, 12), "w": real(5, 3, 11, 10), "b": real(5), "strides": (4, 1)},
    )
    yield "dense", {"x": real(3, 4, 5, 2), "w": real(7, 40), "b": real(7)}
    yield "dense", {"x": real(3, 40), "w": real(7, 40)}
    yield "dense", {"x": real(9, 21), "w": real(4, 21)}
    x, w = codes(3, 4, 5, 2, signed=False), codes(7, 40, bits=9)
    for accumulator in ACCUMULATORS[:7]:
        yield "dense_integer", {"x": x, "w": w, "b": _bias(7), "accumulator": accumulator}


def _depthwise() -> Iterator[Case]:
    """A channel an output, or more outputs a channel; taps apart, some of them always beside the
    image."""
    for attributes, kernel, outputs in (
        ({"pads": (1, 1, 1, 1)}, (4, 3), 5),
        ({"strides": (2, 1), "pads": (1, 0, 2, 3), "dilations": (3, 2)}, (3, 2), 5),
        ({"strides": (3, 2), "pads": (4, 2, 0, 1)}, (5, 4), 10),
    ):
        w = (outputs, 1, *kernel)
        given = {**attributes, "group": 5}
        yield "conv", {"x": real(2, 5, 9, 11), "w": real(*w), "b": real(outputs), **given}
        exact = {"x": codes(2, 5, 9, 11, signed=False), "w": codes(*w, bits=8), **given}
        for accumulator in ACCUMULATORS[:7]:
            yield "conv_integer", {**exact, "b": _bias(outputs), "accumulator": accumulator}
        wide = {"x": codes(2, 5, 9, 11, bits=32), "w": codes(*w, bits=26), "b": _bias(outputs, 60)}
        yield "conv_integer", {**wide, **given}


def _bias(outputs: int, bits: int = 16) -> Drawn:
    return codes(outputs, bits=bits, dtype=np.int64)


def _limits() -> Iterator[Case]:
    """Sums at +-2**k and around, those of the accumulator's limits among them, and a bias that
    leads over them."""
    signs = np.array([1, -1, 1, -1], np.int32).reshape(4, 1, 1, 1)
    exact = {"x": edges(2, 1, 9, 23, bits=20), "w": same("signs", signs)}
    for accumulator in ACCUMULATORS:
        for words, bias in (("0", [0, 0, 0, 0]), ("1.-1.-2.2", [1, -1, -2, 2])):
            b = same(words, bias)
            yield "conv_integer", {**exact, "b": b, "accumulator": accumulator}


def _saturations() -> Iterator[Case]:
    """Every MAC checked: products that leave 32 bits and that do not, sums that turn round, and
    numbers of channels and pixels around the vector blocks."""
    for bits, wide in ((32, 16), (31, 15), (12, 7), (2, 2), (32, 20), (40, 20)):
        for overflow in (Overflow.SAT, Overflow.SAT_SYM):
            for outputs, columns in ((6, 7), (5, 33)):
                yield (
                    "conv_integer",
                    {
                        "x": codes(2, 4, 3, columns, bits=wide, signed=bits != 31),
                        "w": codes(outputs, 4, 3, 2, bits=wide),
                        "b": _bias(outputs, bits),
                        "accumulator": Accumulator(bits, overflow, every_mac=True),
                    },
                )


def _narrowed() -> Iterator[Case]:
    """Accumulators with fewer fraction bits than the products, a number for each kernel."""
    drop = same("3.0.7.1.12", [3, 0, 7, 1, 12])
    for rounding in Rounding:
        if rounding is Rounding.STOCHASTIC:
            continue
        for overflow in Overflow:
            for every_mac in (False, True):
                yield (
                    "conv_integer",
                    {
                        "x": codes(2, 3, 6, 7, bits=6),
                        "w": codes(5, 3, 4, 2, bits=5),
                        "b": _bias(5, 12),
                        "drop": drop,
                        "accumulator": Accumulator(
                            (9, 15, 8, 12, 6), overflow, every_mac, 0, rounding
                        ),
                    },
                )
        yield (
            "dense_integer",
            {
                "x": codes(3, 4, 5, bits=5),
                "w": codes(7, 20, bits=6),
                "drop": same("0..6", range(7)),
                "accumulator": Accumulator(9, Overflow.SAT, True, 0, rounding),
            },
        )


def _grids() -> Iterator[Case]:
    """Formats by kernel and by filter, and their sums."""
    for shape in ((7,), (7, 3)):
        count = int(np.prod(shape))
        order = (np.arange(count) * 5 % count).reshape(shape)
        grid = FormatGrid(2 + order % 7, 3 * order % 14 - 5)
        yield "quantize_grid", {"x": real(7, 3, 2, 5), "grid": grid}
        # halves of a step, and ends of the range
        step = np.ldexp(0.5, -grid.frac_bits.astype(int)).reshape(*shape, *(1,) * (4 - len(shape)))
        halves = np.resize(np.arange(-300, 300) * 7, (7, 3, 2, 5)) % 600 - 300
        yield "quantize_grid", {"x": same("halves", halves * step), "grid": grid}
        affine = AffineGrid(4, (order - count / 2) / count, 0.1 + 0.4 * order / count)
        yield "round_affine", {"x": real(7, 3, 2, 5), "grid": affine}
        even = AffineGrid(3, np.zeros(shape), np.full(shape, 0.5))
        quarters = np.resize(np.arange(-9, 10) / 4, (7, 3, 2, 5))
        yield "round_affine", {"x": same("quarters", quarters), "grid": even}
    sums = codes(2, 3, 5, 4, bits=17, dtype=np.int64)
    near = edges(2, 3, 7, 5, bits=18, dtype=np.int64)
    drop = same("0.2.1", [0, 2, 1])
    for accumulator in (Accumulator(), *(Accumulator(17, overflow) for overflow in Overflow)):
        for given in (sums, near):
            both = {"sums": given, "more": given}
            yield "add_limited", {**both, "accumulator": accumulator, "drop": drop}
    wide = codes(3, 5, 2, 7, bits=31, dtype=np.int64)
    for fmt in FORMATS[:4]:
        for modes in MODES:
            drops = same("0.3.1.9.0", [0, 3, 1, 9, 0])
            cast = {"codes": wide, "frac_bits": 22, "fmt": fmt, "drops": drops}
            yield "requantize_maps", {**cast, **modes}


def _pools() -> Iterator[Case]:
    for attributes in POOLS:
        yield "max_pool", {"x": real(2, 3, 8, 11), **attributes}
        yield "max_pool", {"x": codes(2, 3, 8, 11), **attributes}
        yield "max_pool", {"x": codes(2, 3, 8, 11, dtype=np.int64, shift=40), **attributes}
        for include in (True, False):
            both = {**attributes, "count_include_pad": include}
            yield "avg_pool", {"x": real(2, 3, 8, 11), **both}
            for modes in MODES:
                given = {"x": codes(2, 3, 8, 11), "frac_bits": 4, "fmt": FixedPointFormat(9, 6)}
                yield "avg_pool_integer", {**given, **both, **modes}
    for rounding in Rounding:
        for kernel in ((2, 1), (4, 2)):  # means that are ties
            x, fmt = edges(2, 3, 8, 13, bits=12), FixedPointFormat(8, 4)
            given = {"x": x, "frac_bits": 4, "fmt": fmt, "kernel_shape": kernel}
            yield "avg_pool_integer", {**given, "rounding": rounding}
        # a divisor beyond 32 bits
        x, fmt = codes(2, 3, 8, 11, bits=30), FixedPointFormat(9, -9)
        given = {"x": x, "frac_bits": 30, "fmt": fmt, "kernel_shape": (3, 5)}
        yield "avg_pool_integer", {**given, "rounding": rounding}
    for fmt in FORMATS:
        yield "global_avg_pool_integer", {"x": codes(3, 4, 5, 7), "frac_bits": 7, "fmt": fmt}
        yield (
            "global_avg_pool_integer",
            {"x": edges(37, 3, 4, 2, bits=16), "frac_bits": 7, "fmt": fmt},
        )
    yield "global_avg_pool", {"x": real(3, 4, 5, 7)}


def _channels() -> Iterator[Case]:
    for size, beta, per_window in (
        (5, 0.75, True),
        (3, 0.5, False),
        (4, 1.25, True),
        (1, 1.0, True),
    ):
        attributes = {"size": size, "alpha": 1e-2, "beta": beta, "bias": 1.5}
        attributes |= {"per_window": per_window}
        yield "lrn", {"x": real(2, 7, 3, 5), **attributes}
        for fmt in FORMATS[:4]:
            yield "lrn_integer", {"x": codes(2, 7, 3, 5), "frac_bits": 5, "fmt": fmt, **attributes}
            yield (
                "lrn_integer",
                {"x": edges(2, 7, 3, 5, bits=12), "frac_bits": 5, "fmt": fmt, **attributes},
            )
    yield "lrn", {"x": real(2, 7, 3, 5), "size": 5, "beta": 0.6}
    yield "softmax", {"x": real(3, 5)}
    yield "softmax", {"x": real(3, 5, 2, 4)}
    for frac_bits in (-2, 0, 7, 12):
        fmt = FixedPointFormat(8, 8, signed=False)
        yield "softmax_integer", {"x": codes(3, 6, 2, 4), "frac_bits": frac_bits, "fmt": fmt}
        yield (
            "softmax_integer",
            {"x": edges(3, 6, 2, 4, bits=12), "frac_bits": frac_bits, "fmt": fmt},
        )
    x, fmt = codes(4, 5, bits=24), FixedPointFormat(16, 15)
    yield "softmax_integer", {"x": x, "frac_bits": 18, "fmt": fmt}


def _stored() -> Iterator[Case]:
    for drop in (0, 1, 3, 7):
        for nearest in (True, False):
            how = {"bits": 5, "drop": drop, "nearest": nearest}
            yield "shift_encode", {"codes": codes(5, 40, signed=False), **how}
            yield "shift_encode", {"codes": edges(3, 40, bits=12, signed=False), **how}
            yield "shift_encode", {"codes": codes(5, 40), **how, "signed": True}
            yield "shift_encode", {"codes": edges(3, 40, bits=12), **how, "signed": True}
        yield "shift_decode", {"index": codes(5, 4, bits=5, signed=False), "drop": drop}
        yield "shift_decode", {"index": codes(5, 4, bits=5), "drop": drop}
    thresholds: list[Any] = [[], [7], [0, 0, 1, 1, 5, 90, 90, 2047, 4095], range(-9, 4097, 129)]
    thresholds += [[-2047, -1, 0, 0, 3], range(-2000, 2048, 257)]
    for values in thresholds:
        table = np.array(values, np.int64)
        given = same(f"{len(table)}", table)
        yield "codebook_encode", {"codes": codes(7, 40, signed=False), "thresholds": given}
        yield "codebook_encode", {"codes": codes(6, 40), "thresholds": given}
        near = same("near", table.repeat(3) - [-1, 0, 1] * len(table))
        yield "codebook_encode", {"codes": near, "thresholds": given}
        index = same(f"{len(table) + 1}", np.arange(len(table) + 1).repeat(2), np.int32)
        held = same(f"{len(table) + 1}", np.append(table, 4095), np.int32)
        yield "codebook_decode", {"index": index, "values": held}


def _measures() -> Iterator[Case]:
    pair = {"reference": real(2, 3, 4, 5), "codes": codes(2, 3, 4, 5)}
    yield "energies", {**pair, "frac_bits": 9}
    yield "energies", {"reference": real(3, 7), "codes": codes(3, 7), "frac_bits": -2}
    for window in WINDOWS:
        where = {key: window[key] for key in ("strides", "pads")}
        for kernel in KERNELS:
            yield "patch_grams", {"x": whole(codes(3, 2, 7, 6)), "kernel_shape": kernel, **where}
    holes = {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (2, 0, 1, 3), "dilations": (2, 3)}
    yield "patch_grams", {"x": whole(codes(3, 2, 7, 6)), **holes}
    yield (
        "patch_grams",
        {"x": whole(codes(3, 2, 7, 6)), **holes, "dilations": (1, 8), "pads": (0, 4, 1, 4)},
    )
    # an image much smaller than the kernel, strides beyond it, a kernel that fits once
    small, wide = whole(codes(5, 4, 2, 3)), whole(codes(2, 3, 9, 13))
    yield "patch_grams", {"x": small, "kernel_shape": (5, 7), "pads": (3, 5, 4, 2)}
    yield "patch_grams", {"x": wide, "kernel_shape": (1, 2), "strides": (4, 3)}
    yield "patch_grams", {"x": wide, "kernel_shape": (9, 13)}
    big = whole(codes(2, 3, 19, 23, bits=9))
    yield "patch_grams", {"x": big, "kernel_shape": (11, 10), "strides": (4, 3)}
    yield "float_histogram", {"x": real(4, 5, 6)}
    awkward = np.array([0.0, -0.0, np.inf, 1e-40, 3e38], np.float32)
    yield "float_histogram", {"x": same("awkward", awkward)}
    yield "exponent_histograms", {"x": real(2, 5, 3, 4, scale=3e3)}
    ends = np.array([[1.0, -2.0, 0.0], [0.49999997, np.inf, -1e-42]], np.float32)
    yield "exponent_histograms", {"x": same("ends", ends)}
    yield "code_histogram", {"codes": codes(3, 4, 5), "low": -2048, "drop": 0, "bins": 4096}
    yield "code_histogram", {"codes": codes(7, bits=9), "low": -256, "drop": 3, "bins": 64}
    unsigned = codes(2, 3, 5, bits=6, signed=False, dtype=np.int64)
    yield "code_histogram", {"codes": unsigned, "low": 0, "drop": 1, "bins": 40}


NUMBERS: list[Number] = [
    FixedPointFormat(8, 3),
    FixedPointFormat(6, -1, signed=False),
    FixedPointFormat(24, 20),
    Affine(8, 0.0371, -101),
    Affine(3, 1.5, -4),
    Affine(5, 0.4, -16, mean=0.3),
    Buckets(8, -7.25, 9.5),
    Buckets(2, 0.125, 3.0),
    Buckets(4, 1.5, 1.5),
    MiniFloat(4, 3),
    MiniFloat(2, 1),
    MiniFloat(3, 0),
    MiniFloat(5, 23),
    MiniFloat(3, 4, until_zero=True),
    PowerOfTwo(-8, -1),
    PowerOfTwo(-2, 3),
]


def _rounded() -> Iterator[Case]:
    """Random values, and for each format ties, ends of ranges and their neighbours."""
    exponents = np.ldexp(np.float32(1), np.arange(-16, 18)).astype(np.float32)
    halves = np.arange(-40, 41, dtype=np.float32) / 16
    ends = np.concatenate([exponents, halves * 4, halves * 37 / 10]).astype(np.float32)
    above, below = (np.nextafter(ends, np.float32(far)) for far in (99, -99))
    near = np.concatenate([ends, above, below])
    awkward = np.concatenate([near, -near, [0.0, -0.0, 1e-40, 3e38]]).astype(np.float32)
    for fmt in NUMBERS:
        for rounding in (Rounding.TIES_EVEN, Rounding.TIES_AWAY):
            for x in (real(2, 3, 5, 7), same("awkward", awkward)):
                yield "round_values", {"x": x, "fmt": fmt, "rounding": rounding}


def _all() -> Iterator[Case]:
    yield from _fixed()
    yield from _sums()
    yield from _limits()
    yield from _saturations()
    yield from _narrowed()
    yield from _grids()
    yield from _pools()
    yield from _channels()
    yield from _stored()
    yield from _measures()
    yield from _rounded()
    yield from layers()


ROWS: list[Row] = rows(_all())
