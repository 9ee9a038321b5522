"""Subsampling: a shortcut without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq.errors import ShapeError
from refq.networks.layers.layer import Layer, Shape
from refq.networks.layers.windows import Pair


@dataclass(frozen=True)
class Subsample(Layer):
    """Every so many rows and columns, from the first on, between channels of zeros: the shortcut
    of He et al. 2016, section 3.3, option A. channels: how many zeros come before and after."""

    strides: Pair
    channels: Pair = (0, 0)

    images = moves_codes = subsamples = True

    @property
    def words(self) -> str:
        sides = [side for side, count in zip(("before", "behind"), self.channels) if count]
        return f"channels of zeros {' and '.join(sides)}" if sides else ""

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        if min(self.strides) < 1 or min(self.channels) < 0:
            raise ShapeError(
                f"Subsample with strides {self.strides} and {self.channels} more channels",
                "strides of 1 or more and channels of 0 or more",
            )
        sizes = (-(-size // stride) for size, stride in zip(shape[1:], self.strides))
        return (shape[0] + sum(self.channels), *sizes)

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        kept: np.ndarray = ops.subsample(*inputs, self.strides, self.channels)
        return kept

    def of_channels(self, numbers: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        before, after = self.channels
        return ((0,) * before) + numbers[0] + ((0,) * after)
