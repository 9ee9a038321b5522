"""Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer


@dataclass(frozen=True)
class Softmax(Layer):
    """exp(x_c) / sum over channels."""

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        shares: np.ndarray = ops.softmax(*inputs)
        return shares

    def integer_step(self, step: IntegerStep) -> Any:
        shares = step.ops.softmax_integer(*step.inputs, *step.frac_bits, step.format)
        return step.rounded(shares, 0)

    def signed(self, inputs: Sequence[bool]) -> bool:
        return False

    def wide_format(self, source: FixedPointFormat, bits: int) -> FixedPointFormat:
        return FixedPointFormat(bits, bits - 2)
