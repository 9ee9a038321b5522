"""Concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.errors import ShapeError
from refq.networks.layers.layer import Layer, MapStep, Shape


@dataclass(frozen=True)
class Concat(Layer):
    """Joins its inputs along an axis, in order; the axis is counted without the batch."""

    axis: int = 0

    words = "concat"
    several = moves_codes = True

    @property
    def joins(self) -> bool:  # type: ignore[override]
        return self.axis == 0

    float_maps = keeps_maps = joins

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        axis = self.axis
        rest = {other[:axis] + other[axis + 1 :] for other in (shape, *more)}
        ranks = {len(other) for other in (shape, *more)}
        if len(rest) != 1 or len(ranks) != 1 or not 0 <= axis < len(shape):
            raise ShapeError(
                f"Concat of shapes {[shape, *more]} along axis {axis}", "other axes of equal sizes"
            )
        return (*shape[:axis], sum(other[axis] for other in (shape, *more)), *shape[axis + 1 :])

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        joined: np.ndarray = ops.concat(inputs, self.axis + 1)
        return joined

    def map_step(self, step: MapStep) -> Any:
        return step.joined() if self.joins else None
