"""Multiplication of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer, Shape, broadcast, two


@dataclass(frozen=True)
class Mul(Layer):
    """Elementwise product of two inputs, whose sizes are equal or 1: the second half of squeeze and
    excite (Hu et al. 2018) multiplies each map by one number."""

    words = "multiply"
    several = makes_sums = True

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        return broadcast(self.kind, two(self, [shape, *more]))

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        product: np.ndarray = ops.multiply(*inputs)
        return product

    def integer_step(self, step: IntegerStep) -> Any:
        return step.exact(self.computed(step.ops, step.inputs), sum(step.frac_bits))

    def reach(self, operands: Sequence[tuple[int, int]]) -> tuple[int, int]:
        (one, first), (two, second) = operands
        return one * two, first + second

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        return sum(frac_bits)
