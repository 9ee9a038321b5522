"""Activations between bounds, ReLU6 among them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.errors import ShapeError
from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer, MapStep, Shape


@dataclass(frozen=True)
class Clip(Layer):
    """min(max(x, low), high), without a bound that is None; ReLU6 is Clip(0.0, 6.0).

    In integers the bounds are codes of the format in which the result is stored (contract 4).
    """

    low: float | None = None
    high: float | None = None

    takes_sums = True

    @property
    def words(self) -> str:
        return f"clip to {self.low} .. {self.high}"

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        low, high = self.bounds
        if not low < high or (math.isnan(low + high) and not math.isinf(low)):
            raise ShapeError(f"Clip from {low:g} to {high:g}", "a lower bound below the upper one")
        return shape

    @property
    def bounds(self) -> tuple[float, float]:
        return (
            -math.inf if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        clipped: np.ndarray = ops.clip(*inputs, *self.bounds)
        return clipped

    def integer_step(self, step: IntegerStep) -> Any:
        (codes,), (frac_bits,) = step.inputs, step.frac_bits
        return step.passed(*step.ops.clip_integer(codes, frac_bits, *self.bounds, step.format))

    def map_step(self, step: MapStep) -> Any:
        return step.bounded()

    def signed(self, inputs: Sequence[bool]) -> bool:
        low, high = self.bounds
        return high < 0 or (low < 0 and any(inputs))

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        return max(frac_bits[0], fmt.frac_bits)

    def numbers(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> Mapping[str, np.ndarray]:
        with np.errstate(over="ignore"):
            codes = np.rint(np.ldexp(np.array(self.bounds), fmt.frac_bits))
        return {"bounds": np.clip(codes, fmt.min_code, fmt.max_code).astype(np.int64)}
