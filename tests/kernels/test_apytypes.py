"""Quantization and format casts against APyTypes, another library's fixed point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels import quantize, requantize
from tests.machine import COMPILED

apy = pytest.importorskip("apytypes", reason="compares with apytypes, which is not installed")

MODES = {
    Rounding.TIES_EVEN: apy.QuantizationMode.RND_CONV,
    Rounding.TIES_AWAY: apy.QuantizationMode.RND_INF,
    Rounding.TIES_POS: apy.QuantizationMode.RND,
    Rounding.TO_NEG: apy.QuantizationMode.TRN,
    Rounding.TO_ZERO: apy.QuantizationMode.TRN_ZERO,
    Rounding.TO_POS: apy.QuantizationMode.TRN_INF,
}
FORMATS = [
    FixedPointFormat(8, 5),
    FixedPointFormat(2, -7),
    FixedPointFormat(9, 0),
    FixedPointFormat(13, -3),
    FixedPointFormat(16, 6),
    FixedPointFormat(16, 24),
    FixedPointFormat(31, 11),
    FixedPointFormat(32, 20),
    FixedPointFormat(1, 2, signed=False),
    FixedPointFormat(7, -2, signed=False),
    FixedPointFormat(12, 14, signed=False),
    FixedPointFormat(32, 17, signed=False),
]
# with every mode, format and source some million casts; interpreted loops get fewer
COUNT = 40_000 if COMPILED else 200
RNG = np.random.default_rng(77)


def cast(array: Any, fmt: FixedPointFormat, rounding: Rounding, overflow: Overflow) -> np.ndarray:
    """Codes as APyTypes has them; its numbers are all signed."""
    wrap = overflow is Overflow.WRAP
    # an unsigned range is the upper half of a signed one that is a bit wider
    bits = fmt.bits if fmt.signed or wrap else fmt.bits + 1
    mode = apy.OverflowMode.WRAP if wrap else apy.OverflowMode.SAT
    done = array.cast(
        bits=bits, frac_bits=fmt.frac_bits, quantization=MODES[rounding], overflow=mode
    )
    codes = done.to_bits(numpy=True).astype(np.int64)
    if fmt.signed or not wrap:
        codes -= (codes >> (bits - 1)) << bits
    return codes if fmt.signed else np.maximum(codes, 0)


def check(
    got: tuple[np.ndarray, int],
    source: Any,
    fmt: FixedPointFormat,
    rounding: Rounding,
    overflow: Overflow,
) -> None:
    wanted = cast(source, fmt, rounding, overflow)
    np.testing.assert_array_equal(got[0], wanted)
    if overflow is Overflow.WRAP:
        # outside are those that a cast to ample bits tells from what wrapping kept
        ample = source.cast(
            bits=256, frac_bits=fmt.frac_bits, quantization=MODES[rounding]
        ).to_numpy()
        assert got[1] == int((np.ldexp(ample, fmt.frac_bits) != wanted).sum())


@pytest.mark.parametrize("overflow", (Overflow.SAT, Overflow.WRAP))
@pytest.mark.parametrize("rounding", MODES)
@pytest.mark.parametrize("kind", (np.float32, np.float64))
def test_reals(kind: Any, rounding: Rounding, overflow: Overflow) -> None:
    edges = np.array([s * 2.0**k for k in range(-60, 61) for s in (1, -1, 1.5, -1.5, 2.5, -2.5)])
    edges = np.concatenate([[0.0, 0.49999999999999994], edges]).astype(kind)
    near = [np.nextafter(edges, kind(side)) for side in (-np.inf, np.inf)]
    exponents = RNG.integers(-26, 26, COUNT)
    random: np.ndarray = np.ldexp(RNG.normal(size=COUNT), exponents).astype(kind)
    halves: np.ndarray = (RNG.integers(-(2**12), 2**12, COUNT) / 64).astype(
        kind
    )  # ties at five fraction bits
    x = np.concatenate([edges, *near, random, halves])
    # float32's and float64's subnormals next to zero lie below these bits
    x = x[(np.abs(x) > 1e-30) | (x == 0)]
    exact = apy.APyFixedArray.from_array(x.astype(np.float64), bits=230, frac_bits=160)
    assert (exact.to_numpy() == x).all()
    for fmt in FORMATS:
        check(quantize(x, fmt, rounding, overflow), exact, fmt, rounding, overflow)


@pytest.mark.parametrize("overflow", (Overflow.SAT, Overflow.WRAP))
@pytest.mark.parametrize("rounding", MODES)
@pytest.mark.parametrize("frac_bits", (-9, 0, 7, 33, 61))
def test_casts(frac_bits: int, rounding: Rounding, overflow: Overflow) -> None:
    edges = sorted({s * 2**k + d for k in range(63) for s in (-1, 1) for d in (-2, -1, 0, 1, 2)})
    spread = RNG.integers(-(2**62), 2**62, COUNT) >> RNG.integers(0, 62, COUNT)
    codes = np.concatenate([np.array(edges), spread])
    # widened first: apytypes 0.5.1 shifts left within the source's 64 bits before it saturates
    exact = apy.APyFixedArray(codes, bits=64, frac_bits=frac_bits)
    exact = exact.cast(bits=256, frac_bits=frac_bits)
    for fmt in FORMATS:
        got = requantize(codes, frac_bits, fmt, rounding, overflow)
        check(got, exact, fmt, rounding, overflow)


def test_casts_of_every_small_code() -> None:
    codes = np.arange(-128, 128, dtype=np.int32)
    for frac_bits in range(-6, 7):
        exact = apy.APyFixedArray(codes, bits=8, frac_bits=frac_bits)
        for rounding in MODES:
            for overflow in (Overflow.SAT, Overflow.WRAP):
                for bits in range(2, 8):
                    for signed in (True, False):
                        fmt = FixedPointFormat(bits, 1, signed)
                        got = requantize(codes, frac_bits, fmt, rounding, overflow)
                        check(got, exact, fmt, rounding, overflow)
