"""Subtraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer, Shape, aligned_reach, broadcast, two


@dataclass(frozen=True)
class Sub(Layer):
    """The first input minus the second, whose sizes are equal or 1."""

    words = "subtract"
    several = makes_sums = True

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        return broadcast(self.kind, two(self, [shape, *more]))

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        difference: np.ndarray = ops.subtract(*inputs)
        return difference

    def integer_step(self, step: IntegerStep) -> Any:
        # as of an addition (contract section 4)
        most = max(step.frac_bits)
        shifts = [most - own for own in step.frac_bits]
        return step.exact(step.ops.subtract(*step.inputs, shifts), most)

    def reach(self, operands: Sequence[tuple[int, int]]) -> tuple[int, int]:
        return aligned_reach(operands)

    def signed(self, inputs: Sequence[bool]) -> bool:
        return True

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        return max(frac_bits)
