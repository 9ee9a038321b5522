"""The place of a maximum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer, Shape, inside


@dataclass(frozen=True)
class ArgMax(Layer):
    """Where along an axis, counted without the batch, the largest value is; of equal ones the first
    (ONNX ArgMax with select_last_index 0)."""

    axis: int = 0
    keepdims: bool = False

    keeps_maps = False

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        inside(self, self.axis, shape)
        kept = (1,) if self.keepdims else ()
        return (*shape[: self.axis], *kept, *shape[self.axis + 1 :])

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        places: np.ndarray = ops.argmax(*inputs, self.axis + 1, self.keepdims)
        return places

    def float_step(self, step: Any) -> np.ndarray:
        return self.computed(step.ops, step.inputs).astype(np.float32)

    def integer_step(self, step: IntegerStep) -> Any:
        return step.exact(self.computed(step.ops, step.inputs), 0)

    def signed(self, inputs: Sequence[bool]) -> bool:
        return False

    def wide_format(self, source: FixedPointFormat, bits: int) -> FixedPointFormat:
        return FixedPointFormat(bits, 0, signed=False)

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        return 0
