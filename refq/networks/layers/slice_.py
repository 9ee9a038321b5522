"""Parts of a tensor: slices, and what a split leaves of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq.errors import ShapeError
from refq.networks.layers.layer import Layer, Shape


@dataclass(frozen=True)
class Slice(Layer):
    """Along every axis, without the batch, from starts on every steps-th value before stops:
    0 <= start < stop <= size, and steps of 1 or more."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

    moves_codes = True

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        parts = list(zip(shape, self.starts, self.stops, self.steps))
        inside = all(0 <= a < b <= size and step >= 1 for size, a, b, step in parts)
        ranks = {len(shape), len(self.starts), len(self.stops), len(self.steps)}
        if len(ranks) != 1 or not inside:
            raise ShapeError(
                f"Slice {self.starts} to {self.stops} by {self.steps} of shape {shape}",
                "a part of it along each axis",
            )
        return tuple(-(-(b - a) // step) for _, a, b, step in parts)

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        part: np.ndarray = ops.slice_(*inputs, self.starts, self.stops, self.steps)
        return part

    def of_channels(self, numbers: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return numbers[0][self.starts[0] : self.stops[0] : self.steps[0]]
