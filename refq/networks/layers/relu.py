"""Rectified linear units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer, MapStep


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0)."""

    words = "ReLU"
    takes_sums = moves_stored = True

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, math.inf

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        rectified: np.ndarray = ops.relu(*inputs)
        return rectified

    def integer_step(self, step: IntegerStep) -> Any:
        return step.passed(self.computed(step.ops, step.inputs))

    def map_step(self, step: MapStep) -> Any:
        return step.bounded()

    def signed(self, inputs: Sequence[bool]) -> bool:
        return False

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        return frac_bits[0]
