"""Rectified linear units with a slope below zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.errors import ShapeError
from refq.formats.fixed import FixedPointFormat, within
from refq.networks.layers.layer import IntegerStep, Layer, Shape

SLOPE_BITS = 16


@dataclass(frozen=True)
class PReLU(Layer):
    """x where it is not negative, slope * x elsewhere (He et al. 2015); slopes: one, as of a
    LeakyReLU, or one a channel.

    In integers slopes are signed codes of 16 bits, by magnitude (contract section 4).
    """

    slopes: tuple[float, ...]

    takes_sums = True

    @property
    def words(self) -> str:
        return f"leaky ReLU of slope {self.slopes[0]:g}" if len(self.slopes) == 1 else "PReLU"

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        if len(self.slopes) not in (1, shape[0]) or not all(map(math.isfinite, self.slopes)):
            raise ShapeError(f"PReLU of {len(self.slopes)} slopes", f"1 or {shape[0]}, finite")
        return shape

    @property
    def slope_format(self) -> FixedPointFormat:
        """F = T - I - 1, I = ceil(log2 max|slope|) (paper B, eq. 6)."""
        mantissa, exponent = math.frexp(max(map(abs, self.slopes)))
        integer_bits = exponent - 1 if mantissa == 0.5 else exponent
        return FixedPointFormat(SLOPE_BITS, within(SLOPE_BITS - integer_bits - 1))

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        rectified: np.ndarray = ops.prelu(*inputs, np.array(self.slopes, np.float32))
        return rectified

    def integer_step(self, step: IntegerStep) -> Any:
        (codes,), (frac_bits,), fmt = step.inputs, step.frac_bits, self.slope_format
        slopes, _ = step.ops.quantize(np.array(self.slopes), fmt)
        rectified = step.ops.prelu_integer(codes, slopes, fmt.frac_bits)
        return step.passed(rectified, frac_bits + max(0, fmt.frac_bits))

    def signed(self, inputs: Sequence[bool]) -> bool:
        return (any(inputs) and max(self.slopes) > 0) or (min(self.slopes) < 0 and any(inputs))

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        return frac_bits[0] + max(0, self.slope_format.frac_bits)

    def numbers(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> Mapping[str, np.ndarray]:
        own = self.slope_format
        codes = np.rint(np.ldexp(np.array(self.slopes), own.frac_bits))
        return {"slope": np.clip(codes, own.min_code, own.max_code).astype(np.int64)}
