"""Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer, Shape, inside


@dataclass(frozen=True)
class Softmax(Layer):
    """exp(x_c) / sum over an axis, counted without the batch: channels by default."""

    axis: int = 0

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        return inside(self, self.axis, shape)

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        shares = ops.softmax(np.moveaxis(inputs[0], 1 + self.axis, 1))
        return np.ascontiguousarray(np.moveaxis(shares, 1, 1 + self.axis))

    def integer_step(self, step: IntegerStep) -> Any:
        codes = np.moveaxis(step.inputs[0], 1 + self.axis, 1)
        shares = step.ops.softmax_integer(codes, *step.frac_bits, step.format)
        return step.rounded(np.ascontiguousarray(np.moveaxis(shares, 1, 1 + self.axis)), 0)

    def signed(self, inputs: Sequence[bool]) -> bool:
        return False

    def wide_format(self, source: FixedPointFormat, bits: int) -> FixedPointFormat:
        return FixedPointFormat(bits, bits - 2)
