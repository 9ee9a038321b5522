"""Local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from refq.errors import ShapeError
from refq.networks.layers.layer import IntegerStep, Layer, Shape


@dataclass(frozen=True)
class LRN(Layer):
    """Local response normalisation across channels (ONNX LRN):
    y = x / (bias + alpha' * sum x^2) ** beta over `size` neighbouring channels.

    alpha' = alpha / size (Caffe, ONNX) or alpha itself (MatConvNet: per_window False).
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0
    per_window: bool = True

    images = by_rows = True

    @property
    def near(self) -> int:
        return self.size

    @property
    def words(self) -> str:
        if not self.per_window:
            return super().words
        return (
            f"LRN over {self.size}, alpha {self.alpha:.4g}, beta {self.beta:.4g}, "
            f"bias {self.bias:.4g}"
        )

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        if self.size < 1:
            raise ShapeError(f"LRN over {self.size} channels", "1 or more")
        return shape

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        normalised: np.ndarray = ops.lrn(*inputs, **self.attributes)
        return normalised

    def integer_step(self, step: IntegerStep) -> Any:
        normalised = partial(step.ops.lrn_integer, **self.attributes, **step.modes)
        return step.rounded(*normalised(*step.inputs, *step.frac_bits, step.format))
