"""Fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from refq.networks.layers.layer import Shape, Weighted, positive


@dataclass(frozen=True)
class Dense(Weighted):
    """Fully connected layer with bias, weights (out_features, inputs); its input is flattened in
    C, H, W order."""

    out_features: int

    words = "dense"
    flat = True
    kernel = strides = (1, 1)

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        return (positive(self, self.out_features),)

    def weight_shape(self, source: Shape) -> Shape:
        return (self.out_features, math.prod(source))

    def operation(self, ops: ModuleType, integer: bool) -> Callable[..., Any]:
        dense: Callable[..., Any] = ops.dense_integer if integer else ops.dense
        return dense
