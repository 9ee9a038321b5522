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

RNG = np.random.default_rng(20161)
Case = tuple[str, dict[str, Any]]


def real(*shape: int) -> np.ndarray:
    return RNG.normal(0, 3, shape).astype(np.float32)


def codes(*shape: int, bits: int = 12, signed: bool = True) -> np.ndarray:
    low = -(1 << (bits - 1)) if signed else 0
    high = (1 << (bits - 1)) if signed else 1 << bits
    values = RNG.integers(low, high, shape, dtype=np.int64)
    # the ends of the range are always there
    values.reshape(-1)[0], values.reshape(-1)[-1] = low, high - 1
    return values.astype(np.int32)


WINDOWS: list[dict[str, Any]] = [
    {"strides": (1, 1), "pads": (0, 0, 0, 0), "group": 1},
    {"strides": (2, 1), "pads": (1, 0, 2, 3), "group": 2},
    {"strides": (3, 2), "pads": (0, 2, 1, 1), "group": 1},
]
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


def _modes() -> Iterator[dict[str, Any]]:
    for index, rounding in enumerate(Rounding):
        for overflow in Overflow:
            yield {"rounding": rounding, "overflow": overflow, "seed": 7 * index, "offset": 11}


def _fixed() -> Iterator[Case]:
    wide = RNG.integers(-(2**45), 2**45, (3, 5, 7))
    for fmt in FORMATS:
        for modes in _modes():
            yield "quantize", {"x": real(2, 3, 5), "fmt": fmt, **modes}
            yield "quantize", {"x": real(7, 4).astype(np.float64) * 1e9, "fmt": fmt, **modes}
            yield "requantize", {"codes": wide, "frac_bits": 33, "fmt": fmt, **modes}
            yield "requantize", {"codes": codes(4, 9), "frac_bits": 6, "fmt": fmt, **modes}
            yield "requantize", {"codes": codes(4, 9), "frac_bits": -50, "fmt": fmt, **modes}
    yield "dequantize", {"codes": codes(3, 4, 5), "frac_bits": 7}
    yield "dequantize", {"codes": codes(6, 2), "frac_bits": -3}


def _sums() -> Iterator[Case]:
    for attributes in WINDOWS:
        for kernel in ((1, 1), (3, 2), (2, 5)):
            inputs = 6 // attributes["group"]
            yield "conv", {"x": real(2, 6, 9, 11), "w": real(4, inputs, *kernel), **attributes}
            exact = {"x": codes(2, 6, 9, 11), "w": codes(4, inputs, *kernel, bits=8), **attributes}
            bias = RNG.integers(-(2**15), 2**15, 4)
            for accumulator in ACCUMULATORS:
                yield "conv_integer", {**exact, "b": bias, "accumulator": accumulator}
    big = {"x": codes(2, 6, 9, 11, bits=32), "w": codes(4, 6, 3, 2, bits=28)}
    yield "conv_integer", big  # beyond 2**53: the int64 path
    yield (
        "conv",
        {"x": real(1, 3, 13, 12), "w": real(5, 3, 11, 11), "b": real(5), "strides": (4, 1)},
    )
    yield "dense", {"x": real(3, 4, 5, 2), "w": real(7, 40), "b": real(7)}
    yield "dense", {"x": real(3, 40), "w": real(7, 40)}
    yield "dense", {"x": real(9, 21), "w": real(4, 21)}
    for accumulator in ACCUMULATORS[:7]:
        yield (
            "dense_integer",
            {
                "x": codes(3, 4, 5, 2, signed=False),
                "w": codes(7, 40, bits=9),
                "b": RNG.integers(-(2**15), 2**15, 7),
                "accumulator": accumulator,
            },
        )


def _saturations() -> Iterator[Case]:
    """Every MAC checked: products that leave 32 bits and that do not, sums that turn round, and
    numbers of channels and pixels around the vector blocks."""
    for bits, wide in ((32, 16), (31, 15), (12, 7), (2, 2), (32, 20), (40, 20)):
        for overflow in (Overflow.SAT, Overflow.SAT_SYM):
            for outputs, columns in ((3, 7), (5, 33)):
                yield (
                    "conv_integer",
                    {
                        "x": codes(2, 3, 3, columns, bits=wide, signed=bits != 31),
                        "w": codes(outputs, 3, 3, 2, bits=wide),
                        "b": RNG.integers(-(1 << (bits - 1)), 1 << (bits - 1), outputs),
                        "accumulator": Accumulator(bits, overflow, every_mac=True),
                    },
                )


def _narrowed() -> Iterator[Case]:
    """Accumulators with fewer fraction bits than the products, a number for each kernel."""
    drop = np.array([3, 0, 7, 1, 12])
    for rounding in Rounding:
        if rounding is Rounding.STOCHASTIC:
            continue
        for overflow in Overflow:
            for every_mac in (False, True):
                yield (
                    "conv_integer",
                    {
                        "x": codes(2, 3, 4, 7, bits=6),
                        "w": codes(5, 3, 3, 2, bits=5),
                        "b": RNG.integers(-(2**11), 2**11, 5),
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
                "drop": np.arange(7),
                "accumulator": Accumulator(9, Overflow.SAT, True, 0, rounding),
            },
        )


def _hybrid() -> Iterator[Case]:
    for shape in ((7,), (7, 3)):
        bits, frac_bits = RNG.integers(2, 9, shape), RNG.integers(-5, 9, shape)
        grid = FormatGrid(bits, frac_bits)
        yield "quantize_grid", {"x": real(7, 3, 2, 5), "grid": grid}
        # halves of a step, and ends of the range
        step = np.ldexp(0.5, -grid.frac_bits.astype(int)).reshape(*shape, *(1,) * (4 - len(shape)))
        halves = RNG.integers(-300, 300, (7, 3, 2, 5)) * step
        yield "quantize_grid", {"x": halves, "grid": grid}
    for accumulator in (Accumulator(), *(Accumulator(17, overflow) for overflow in Overflow)):
        yield (
            "add_limited",
            {
                "sums": RNG.integers(-(2**16), 2**16, (2, 3, 5, 4)),
                "more": RNG.integers(-(2**16), 2**16, (2, 3, 5, 4)),
                "accumulator": accumulator,
                "drop": np.array([0, 2, 1]),
            },
        )
    for shape in ((7,), (7, 3)):
        affine = AffineGrid(4, RNG.normal(0, 1, shape), RNG.uniform(0.1, 0.5, shape))
        yield "round_affine", {"x": real(7, 3, 2, 5), "grid": affine}
        even = AffineGrid(3, np.zeros(shape), np.full(shape, 0.5))
        yield "round_affine", {"x": RNG.integers(-9, 9, (7, 3, 2, 5)) / 4, "grid": even}
    wide = RNG.integers(-(2**30), 2**30, (3, 5, 2, 7))
    for fmt in FORMATS[:4]:
        for modes in _modes():
            yield (
                "requantize_maps",
                {
                    "codes": wide,
                    "frac_bits": 22,
                    "fmt": fmt,
                    "drops": np.array([0, 3, 1, 9, 0]),
                    **modes,
                },
            )


def _pools() -> Iterator[Case]:
    for attributes in POOLS:
        yield "max_pool", {"x": real(2, 3, 8, 11), **attributes}
        yield "max_pool", {"x": codes(2, 3, 8, 11), **attributes}
        yield "max_pool", {"x": codes(2, 3, 8, 11).astype(np.int64) << 40, **attributes}
        for include in (True, False):
            both = {**attributes, "count_include_pad": include}
            yield "avg_pool", {"x": real(2, 3, 8, 11), **both}
            for modes in _modes():
                yield (
                    "avg_pool_integer",
                    {
                        "x": codes(2, 3, 8, 11),
                        "frac_bits": 4,
                        "fmt": FixedPointFormat(9, 6),
                        **both,
                        **modes,
                    },
                )
    for rounding in Rounding:  # a divisor beyond 32 bits
        yield (
            "avg_pool_integer",
            {
                "x": codes(2, 3, 8, 11, bits=30),
                "frac_bits": 30,
                "fmt": FixedPointFormat(9, -9),
                "kernel_shape": (3, 5),
                "rounding": rounding,
            },
        )
    for fmt in FORMATS:
        yield "global_avg_pool_integer", {"x": codes(3, 4, 5, 7), "frac_bits": 7, "fmt": fmt}
    yield "global_avg_pool", {"x": real(3, 4, 5, 7)}


def _channels() -> Iterator[Case]:
    for size, beta, per_window in (
        (5, 0.75, True),
        (3, 0.5, False),
        (4, 1.25, True),
        (1, 1.0, True),
    ):
        attributes = {
            "size": size,
            "alpha": 1e-2,
            "beta": beta,
            "bias": 1.5,
            "per_window": per_window,
        }
        yield "lrn", {"x": real(2, 7, 3, 5), **attributes}
        for fmt in FORMATS[:4]:
            yield "lrn_integer", {"x": codes(2, 7, 3, 5), "frac_bits": 5, "fmt": fmt, **attributes}
    yield "lrn", {"x": real(2, 7, 3, 5), "size": 5, "beta": 0.6}
    yield "softmax", {"x": real(3, 5)}
    yield "softmax", {"x": real(3, 5, 2, 4)}
    for frac_bits in (-2, 0, 7, 12):
        yield (
            "softmax_integer",
            {
                "x": codes(3, 6, 2, 4),
                "frac_bits": frac_bits,
                "fmt": FixedPointFormat(8, 8, signed=False),
            },
        )
    yield (
        "softmax_integer",
        {"x": codes(4, 5, bits=24), "frac_bits": 18, "fmt": FixedPointFormat(16, 15)},
    )


def _rest() -> Iterator[Case]:
    yield "relu", {"x": real(2, 3, 4, 5)}
    yield "relu", {"x": codes(2, 3, 4, 5)}
    yield "relu", {"x": codes(2, 3, 4, 5).astype(np.int64) << 40}
    for make in (real, codes):
        yield "concat", {"arrays": [make(2, 3, 4, 5), make(2, 1, 4, 5), make(2, 6, 4, 5)]}
        yield "add", {"arrays": [make(2, 3, 4, 5), make(2, 3, 4, 5), make(2, 3, 4, 5)]}
        for strides, channels in (((2, 2), (0, 5)), ((1, 3), (2, 1)), ((4, 1), (0, 0))):
            x = make(2, 3, 7, 9)
            yield "subsample", {"x": x, "strides": strides, "channels": channels}
        yield "subsample", {"x": make(3, 2, 6, 5), "strides": (5, 7)}
    for shifts in ((0, 3), (40, 0), (7, 12)):
        yield "add", {"arrays": [codes(2, 3, 4, 5), codes(2, 3, 4, 5)], "shifts": shifts}
    for drop in (0, 1, 3, 7):
        for nearest in (True, False):
            yield (
                "shift_encode",
                {"codes": codes(5, 40, signed=False), "bits": 5, "drop": drop, "nearest": nearest},
            )
        yield "shift_decode", {"index": codes(5, 4, bits=5, signed=False), "drop": drop}
    for thresholds in ([], [7], [0, 0, 1, 1, 5, 90, 90, 2047, 4095], range(-9, 4097, 129)):
        table = np.array(thresholds, np.int64)
        yield "codebook_encode", {"codes": codes(7, 40, signed=False), "thresholds": table}
        yield (
            "codebook_encode",
            {"codes": table.repeat(3) - [-1, 0, 1] * len(table), "thresholds": table},
        )
        index = np.arange(len(table) + 1, dtype=np.int32).repeat(2)
        yield "codebook_decode", {"index": index, "values": np.append(table, 4095).astype(np.int32)}
    yield "energies", {"reference": real(2, 3, 4, 5), "codes": codes(2, 3, 4, 5), "frac_bits": 9}
    yield "energies", {"reference": real(3, 7), "codes": codes(3, 7), "frac_bits": -2}
    # integers, so that sums in any order are the same to the last bit
    for window in WINDOWS:
        where = {key: window[key] for key in ("strides", "pads")}
        for kernel in ((1, 1), (3, 2), (2, 5)):
            whole = codes(3, 2, 7, 6).astype(np.float32)
            yield "patch_grams", {"x": whole, "kernel_shape": kernel, **where}
    # an image much smaller than the kernel, strides beyond it, a kernel that fits once
    small = codes(3, 2, 2, 3).astype(np.float32)
    yield "patch_grams", {"x": small, "kernel_shape": (5, 7), "pads": (3, 5, 4, 2)}
    wide = codes(2, 3, 9, 13).astype(np.float32)
    yield "patch_grams", {"x": wide, "kernel_shape": (1, 2), "strides": (4, 3)}
    yield "patch_grams", {"x": wide, "kernel_shape": (9, 13)}
    big = codes(2, 3, 19, 23, bits=9).astype(np.float32)
    yield "patch_grams", {"x": big, "kernel_shape": (11, 10), "strides": (4, 3)}
    yield "float_histogram", {"x": real(4, 5, 6)}
    yield "exponent_histograms", {"x": real(2, 5, 3, 4) * 1e3}
    edges = np.array([[1.0, -2.0, 0.0], [0.49999997, np.inf, -1e-42]], np.float32)
    yield "exponent_histograms", {"x": edges}
    yield "code_histogram", {"codes": codes(3, 4, 5), "low": -2048, "drop": 0, "bins": 4096}
    yield "code_histogram", {"codes": codes(7, bits=9), "low": -256, "drop": 3, "bins": 64}
    unsigned = codes(2, 3, 5, bits=6, signed=False).astype(np.int64)
    yield "code_histogram", {"codes": unsigned, "low": 0, "drop": 1, "bins": 40}
    yield "float_histogram", {"x": np.array([0.0, -0.0, np.inf, 1e-40, 3e38], np.float32)}


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
            yield "round_values", {"x": real(2, 3, 5, 7), "fmt": fmt, "rounding": rounding}
            yield "round_values", {"x": awkward, "fmt": fmt, "rounding": rounding}


CASES: list[Case] = [
    *_fixed(),
    *_sums(),
    *_saturations(),
    *_narrowed(),
    *_hybrid(),
    *_pools(),
    *_channels(),
    *_rest(),
    *_rounded(),
]
