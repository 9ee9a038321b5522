"""How the rows of an array become a network's input: as they are, or with their channels moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refq.networks.layers import Shape


@dataclass(frozen=True)
class Fit:
    """A row is reshaped; then, where it has its channels last, these go first."""

    shape: Shape
    channels_last: bool = False

    def __call__(self, row: np.ndarray) -> np.ndarray:
        """The row in the network's order, contiguous."""
        values = row.reshape(self.shape)
        return np.ascontiguousarray(np.moveaxis(values, -1, 0) if self.channels_last else values)


def fit(row: Shape, wanted: Shape) -> Fit | None:
    """How a row becomes an input of the wanted shape; None where it does not. Axes of length 1 say
    nothing, so that (C, L) is (C, 1, L) and (H, W) is (1, H, W). Channels are taken to be last only
    where the row does not fit with them first."""
    if _without_ones(row) == _without_ones(wanted):
        return Fit(wanted)
    last = (*wanted[1:], *wanted[:1])
    if _without_ones(row) == _without_ones(last):
        return Fit(last, channels_last=True)
    return None


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)
