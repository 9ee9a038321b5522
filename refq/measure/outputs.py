"""A network's outputs under a plan, beside what they are in float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from refq.measure.noise import sqnr_db
from refq.measure.streaming import check_finite


@dataclass(frozen=True)
class OutputNoise:
    """Of one output over all images: energies in float and of the error; the largest error and the
    largest value in float, as magnitudes."""

    signal: float = 0.0
    noise: float = 0.0
    error: float = 0.0
    largest: float = 0.0

    @property
    def sqnr_db(self) -> float | None:
        """10 log10(signal / noise); None where there is no noise, or no signal."""
        return sqnr_db(self.signal, self.noise)

    def __add__(self, other: OutputNoise) -> OutputNoise:
        return OutputNoise(
            self.signal + other.signal,
            self.noise + other.noise,
            max(self.error, other.error),
            max(self.largest, other.largest),
        )


def noises(
    so_far: Mapping[str, OutputNoise],
    wanted: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
) -> dict[str, OutputNoise]:
    """{output: noise} with a batch's. Raises FormatError where float's values are not finite."""
    return {
        name: so_far.get(name, OutputNoise()) + _noise(name, values, got[name])
        for name, values in wanted.items()
    }


def _noise(name: str, wanted: np.ndarray, got: np.ndarray) -> OutputNoise:
    exact = np.asarray(wanted, np.float64)
    with np.errstate(invalid="ignore"):  # infinite ones are told below
        error = np.abs(np.asarray(got, np.float64) - exact)
    signal = float(np.square(exact).sum())
    check_finite(name, signal)
    return OutputNoise(
        signal, float(np.square(error).sum()), float(error.max()), float(np.abs(exact).max())
    )
