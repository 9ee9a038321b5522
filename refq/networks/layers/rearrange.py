"""Layers that only rename: reshape, flatten, transpose, depth to space, channel shuffle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq.errors import ShapeError
from refq.networks.layers.layer import Layer, Shape


@dataclass(frozen=True)
class Rearrange(Layer):
    """The same values elsewhere: reshaped to `split`, transposed by `axes`, reshaped to `shape`,
    all without the batch, which stays where it is."""

    split: Shape
    axes: tuple[int, ...]
    shape: Shape

    moves_codes = True
    keeps_maps = False

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        counts = {math.prod(each) for each in (shape, self.split, self.shape)}
        orders = sorted(self.axes) == list(range(len(self.split)))
        if len(counts) != 1 or not orders or min((*self.split, *self.shape), default=1) < 1:
            raise ShapeError(
                f"shape {shape} rearranged by {self.split}, {self.axes}, {self.shape}",
                "as many values, and each axis once",
            )
        return self.shape

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        moved: np.ndarray = ops.rearrange(*inputs, self.split, self.axes, self.shape)
        return moved


def reshape(shape: Shape) -> Rearrange:
    return Rearrange(shape, tuple(range(len(shape))), shape)


def transpose(shape: Shape, axes: tuple[int, ...]) -> Rearrange:
    """Of a tensor of such a shape; axes as NumPy's, without the batch."""
    return Rearrange(shape, axes, tuple(shape[axis] for axis in axes))
