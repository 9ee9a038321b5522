"""Addition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer, MapStep, Shape, aligned_reach, broadcast


@dataclass(frozen=True)
class Add(Layer):
    """Elementwise sum of its inputs, whose sizes are equal or 1."""

    words = "add"
    several = makes_sums = True

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        return broadcast(self.kind, [shape, *more])

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        total: np.ndarray = ops.add(inputs)
        return total

    def integer_step(self, step: IntegerStep) -> Any:
        # exact left shifts bring the operands to the largest F (contract section 4)
        most = max(step.frac_bits)
        return step.exact(step.ops.add(step.inputs, [most - f for f in step.frac_bits]), most)

    def map_step(self, step: MapStep) -> Any:
        return step.summed()

    def reach(self, operands: Sequence[tuple[int, int]]) -> tuple[int, int]:
        return aligned_reach(operands)

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        return max(frac_bits)
