"""Stochastic rounding's random sequence, and threads that do not change a result."""

from __future__ import annotations

from functools import partial
from typing import Any

import numba
import numpy as np
import pytest

from refq import oracle
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels import avg_pool_integer, fixed, quantize, requantize
from tests.machine import COMPILED, THREADS

STOCHASTIC = Rounding.STOCHASTIC


def test_stochastic_sequence_is_splitmix64() -> None:
    """The first outputs of the published generator for seed 1234567."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    with np.errstate(over="ignore"):
        ours = [int(fixed._random(np.uint64(1234567), index)) for index in range(5)]
    assert ours == published
    assert [oracle.random_fraction(1234567, i) * 2**64 for i in range(5)] == published


def test_stochastic_is_unbiased_reproducible_and_independent_of_splits() -> None:
    count, fmt = 200_000 if COMPILED else 5_000, FixedPointFormat(8, 0)
    for sixteenths in (1, 5, 8, 15, 35, -1, -5, -8, -35):
        codes = np.full(count, sixteenths, np.int64)
        window = np.zeros((count, 1, 1, 16), np.int32)
        window[..., 0] = sixteenths
        calls = [
            (codes / 16, partial(quantize, fmt=fmt)),
            (codes, partial(requantize, frac_bits=4, fmt=fmt)),
            (codes << 56, partial(requantize, frac_bits=60, fmt=fmt)),
            (window, partial(avg_pool_integer, frac_bits=0, fmt=fmt, kernel_shape=(1, 16))),
        ]
        for value, call in calls:

            def draw(part: np.ndarray, seed: int = 42, offset: int = 0, call: Any = call) -> Any:
                return call(part, rounding=STOCHASTIC, seed=seed, offset=offset)[0].reshape(-1)

            got = draw(value)
            assert set(got.tolist()) <= {sixteenths // 16, -(-sixteenths // 16)}
            share = abs(sixteenths) / 16 % 1
            spread = np.sqrt(share * (1 - share) / count)
            assert abs(got.mean() - sixteenths / 16) < 5 * spread
            np.testing.assert_array_equal(draw(value), got)
            assert (draw(value, seed=43) != got).any()
            cut = count // 3
            parts = [draw(value[:cut]), draw(value[cut:], offset=cut)]
            np.testing.assert_array_equal(np.concatenate(parts), got)


# the same loops built without parallel=True
SERIAL = {
    loop: numba.njit(getattr(loop, "py_func", loop))
    for loop in (fixed._quantize, fixed._requantize)
}


@pytest.mark.parametrize("mode", Rounding)
def test_parallel_equals_serial(mode: Rounding) -> None:
    rng = np.random.default_rng(8)
    x, codes = rng.normal(0, 90, (7, 501)), rng.integers(-(2**40), 2**40, (7, 501))
    fmt, results = FixedPointFormat(8, 1), []
    for count in (1, THREADS):
        numba.set_num_threads(count)
        try:
            got, outside_x = quantize(x, fmt, mode, seed=2)
            results.append((got, outside_x, *requantize(codes, 34, fmt, mode, seed=2)))
        finally:
            numba.set_num_threads(THREADS)
    serial = [np.empty(x.size, np.int32), np.empty(x.size, np.int32)]
    rule = fixed.rule_of(fmt, mode, Overflow.SAT, 2, 0)
    with np.errstate(over="ignore"):
        outside, unusable = SERIAL[fixed._quantize](x.reshape(-1), serial[0], 2.0, rule)
        above = SERIAL[fixed._requantize](codes.reshape(-1), serial[1], -33, rule)
    assert unusable == 0
    for got, outside_x, scaled, outside_codes in results:
        np.testing.assert_array_equal(got.reshape(-1), serial[0])
        np.testing.assert_array_equal(scaled.reshape(-1), serial[1])
        assert (outside_x, outside_codes) == (outside, above)
