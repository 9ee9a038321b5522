"""Concatenation of channels."""

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
    """Joins channels of its inputs, in order."""

    words = "concat"
    several = images = moves_codes = joins = float_maps = True

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        if any(other[1:] != shape[1:] for other in more):
            raise ShapeError(f"Concat of shapes {[shape, *more]}", "equal rows and columns")
        return (shape[0] + sum(other[0] for other in more), *shape[1:])

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        joined: np.ndarray = ops.concat(inputs)
        return joined

    def map_step(self, step: MapStep) -> Any:
        return step.joined()
