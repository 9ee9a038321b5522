"""The table of optimal steps from the densities, and formats from calibrated values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, optimize, special

from refq import kernels
from refq.formats.fixed import FixedPointFormat
from refq.schemes.clnq import fitted
from refq.schemes.statistics import moments
from refq.schemes.steps import SHAPES, STEPS, recognise, step

# --- the table ---

ROOT3, SCALE = math.sqrt(3), 2 / math.sqrt(3)
DENSITIES: dict[str, Callable[[float], float]] = {
    "uniform": lambda x: 1 / (2 * ROOT3) if x < ROOT3 else 0.0,
    "gaussian": lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "laplacian": lambda x: math.exp(-math.sqrt(2) * x) / math.sqrt(2),
    "gamma": lambda x: math.sqrt(ROOT3 / (8 * math.pi * x)) * math.exp(-ROOT3 * x / 2),
}


def tails(name: str, x: Any) -> tuple[Any, Any]:
    """Integrals of p(t) and t p(t) from x >= 0 up, in closed form."""
    if name == "uniform":
        low = np.minimum(x, ROOT3)
        return (ROOT3 - low) / (2 * ROOT3), (3 - low**2) / (4 * ROOT3)
    if name == "gaussian":
        return special.erfc(x / math.sqrt(2)) / 2, np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    if name == "laplacian":
        share = np.exp(-math.sqrt(2) * x) / 2
        return share, share * (x + math.sqrt(0.5))
    t = x / SCALE
    return special.gammaincc(0.5, t) / 2, SCALE / 4 * special.gammaincc(1.5, t)


@pytest.mark.parametrize("name", STEPS)
def test_closed_forms_belong_to_the_densities(name: str) -> None:
    density = DENSITIES[name]
    end = ROOT3 if name == "uniform" else 60
    for x in (0.0, 0.3, 1.1):
        share, mean = tails(name, x)
        assert share == pytest.approx(integrate.quad(density, x, end)[0], rel=1e-6)
        assert mean == pytest.approx(integrate.quad(lambda t: t * density(t), x, end)[0], rel=1e-6)
    square = integrate.quad(lambda t: t * t * density(t), 0, end)[0]
    assert 2 * square == pytest.approx(1, rel=1e-6)
    assert 2 * tails(name, 0.0)[1] == pytest.approx(SHAPES[name])


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_optimal(name: str) -> None:
    """d/ds of the mean squared error E[(x - q)**2], q = s (k + 1/2) in cell k, is zero where
    E[x q / s] = E[q**2 / s]; with tails as cells' boundaries both are sums of closed forms."""
    for bits, given in enumerate(STEPS[name], start=1):
        k = np.arange(1, 2 ** (bits - 1))

        def slope(s: float, k: np.ndarray = k) -> float:
            shares, means = tails(name, k * s)
            share, mean = tails(name, 0.0)
            return float(mean / 2 + means.sum() - s * (share / 4 + (2 * k * shares).sum()))

        wanted = optimize.brentq(slope, 0.9 * given, 1.1 * given, xtol=1e-14)
        assert given == pytest.approx(wanted, rel=6e-5), bits
        assert len(STEPS[name]) == 17


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_steps_have_the_least_error_of_all(name: str, bits: int) -> None:
    """By quadrature of the error itself, over the whole range of steps."""
    end = ROOT3 if name == "uniform" else 40.0

    def error(s: float) -> float:
        cells = [k * s for k in range(2 ** (bits - 1))] + [max(end, 2**bits * s)]
        return sum(
            integrate.quad(
                lambda t, c=low + s / 2: (t - c) ** 2 * DENSITIES[name](t),
                low,
                high,
                limit=200,
                points=[end] if low < end < high else None,
            )[0]
            for low, high in itertools.pairwise(cells)
        )

    tried = np.geomspace(0.2, 3, 50)
    errors = [error(s) for s in tried]
    best = int(np.argmin(errors))
    assert tried[best - 1] < step(name, bits) < tried[best + 1]
    assert error(step(name, bits)) <= min(errors)


def test_printed_steps() -> None:
    printed = {
        # Max 1960, Table II; Paez and Glisson 1972, Table I, as Lin et al. repeat them
        "gaussian": (1.596, 0.996, 0.586, 0.335, 0.188, 0.104, 0.0569, 0.0308),
        "laplacian": (1.414, 1.087, 0.731, 0.456),
        "gamma": (1.154, 1.060, 0.796, 0.540),
    }
    for name, row in printed.items():
        for bits, wanted in enumerate(row, start=1):
            # the two of 1972 that were computed less well: 0.456 is 0.461, and 1.060 is 1.066
            loose = (name, bits) in (("laplacian", 4), ("gamma", 2))
            assert step(name, bits) == pytest.approx(wanted, rel=0.012 if loose else 2e-3)
    assert step("gamma", 19) == STEPS["gamma"][16] / 4


# --- distribution and deviation of calibrated values ---


def samples(name: str, count: int = 40000) -> np.ndarray:
    rng = np.random.default_rng(5)
    signs = rng.choice([-1.0, 1.0], count)
    return {
        "uniform": rng.uniform(-ROOT3, ROOT3, count),
        "gaussian": rng.normal(0, 1, count),
        "laplacian": rng.laplace(0, math.sqrt(0.5), count),
        "gamma": signs * rng.gamma(0.5, SCALE, count),
    }[name].astype(np.float32)


def magnitudes(values: np.ndarray) -> np.ndarray:
    counts = kernels.float_histogram(values.astype(np.float32))
    return counts[:32768] + counts[32768:]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("scale", [0.003, 700.0])
def test_distributions_are_recognised(name: str, scale: float) -> None:
    """Of all values, or of the half that a ReLU leaves among zeros."""
    values = samples(name) * np.float32(scale)
    for signed, seen in ((True, values), (False, np.maximum(values, 0))):
        fmt, found = fitted(magnitudes(seen), 5, signed, "fit")
        assert found["distribution"] == name
        assert found["sigma"] == pytest.approx(scale, rel=0.03)
        size = found["sigma"] * STEPS[name][5 - 1 if signed else 5]
        assert found["step"] == pytest.approx(size)
        assert (fmt.bits, fmt.signed) == (5, signed)
        # the step of the format is the next power of two
        assert size <= 2.0**-fmt.frac_bits < 2 * size


def test_moments_leave_out_zero_and_infinity() -> None:
    values = np.array([0.0, -0.0, 3.0, -4.0, np.inf, -np.inf, 1e-45])
    mean, rms = moments(magnitudes(values))
    assert mean == pytest.approx(3.5, rel=0.004) and rms == pytest.approx(12.5**0.5, rel=0.004)
    exact = samples("laplacian").astype(np.float64)
    mean, rms = moments(magnitudes(exact))
    assert mean == pytest.approx(np.abs(exact).mean(), rel=1e-4)
    assert rms == pytest.approx(np.sqrt((exact**2).mean()), rel=1e-4)


def test_a_point_of_zeros_has_a_format() -> None:
    assert recognise(0.0, 0.0) == "uniform"
    fmt, found = fitted(magnitudes(np.zeros(9)), 4, False, "fit")
    assert found["sigma"] == 0.0 and fmt == FixedPointFormat(4, 3, False)
    fmt, _ = fitted(magnitudes(np.full(9, 1e-38)), 4, False, "fit")
    assert fmt == FixedPointFormat(4, 50, False)


def test_a_power_of_two_is_its_own_step() -> None:
    """-ceil(log2 s), not the next one."""
    values = np.full(8, 1.0 + 2.0**-8, np.float32)  # the middle of its bin: moments are exact
    sigma = 1.0 + 2.0**-8
    distribution = "uniform"
    size = sigma * step(distribution, 3)
    fmt, found = fitted(magnitudes(values), 3, True, distribution)
    assert found["sigma"] == sigma and fmt.frac_bits == -math.ceil(math.log2(size)) == 1
    # forced, whatever the data look like
    assert fitted(magnitudes(values), 3, True, "gamma")[1]["distribution"] == "gamma"
    assert fitted(magnitudes(values), 3, True, "gamma")[0].frac_bits == 0
