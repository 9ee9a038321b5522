"""What a layer's weights and biases lose when they are quantized: what saturates, what vanishes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Losses:
    """Counts of one layer.

    weights: coefficients as they are stored, base kernels and residuals of a clustered layer both;
    saturated_weights, saturated_biases: those beyond their format. kernels, biases: those that hold
    anything but zero; empty_kernels, empty_biases: of them those that their format left nothing.
    beyond: biases that a declared accumulator does not hold. outputs: kernels, biases, all.
    """

    outputs: int
    weights: int
    saturated_weights: int
    kernels: int
    empty_kernels: int
    saturated_biases: int
    biases: int
    empty_biases: int
    beyond: int = 0


def losses(
    weight: tuple[np.ndarray, np.ndarray],
    bias: tuple[np.ndarray, np.ndarray],
    saturated: tuple[int, int],
    stored: int,
    beyond: int = 0,
) -> Losses:
    """weight, bias: (O, ...) and (O,) before and after, as values or as codes. saturated: weights
    and biases. stored: coefficients."""
    held, left = (_any(array) for array in weight)
    biased, kept = (array != 0 for array in bias)
    return Losses(
        outputs=len(held),
        weights=stored,
        saturated_weights=saturated[0],
        kernels=int(held.sum()),
        empty_kernels=int((held & ~left).sum()),
        saturated_biases=saturated[1],
        biases=int(biased.sum()),
        empty_biases=int((biased & ~kept).sum()),
        beyond=beyond,
    )


def _any(array: np.ndarray) -> np.ndarray:
    """bool (O,): whether a kernel holds anything but zero."""
    return np.asarray(array.reshape(len(array), -1).any(axis=1))
