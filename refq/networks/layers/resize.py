"""Other numbers of rows and columns: nearest and bilinear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np

from refq.errors import ShapeError
from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer, Shape
from refq.networks.layers.windows import Pair

# fraction bits of bilinear weights in integers
WEIGHT_BITS = 12
MODES = ("nearest", "linear")
COORDINATES = (
    "asymmetric",
    "align_corners",
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "tf_half_pixel_for_nn",
)
NEAREST = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Resize(Layer):
    """As many rows and columns as size says, by ONNX Resize's rules: mode nearest or linear;
    coordinates: its coordinate_transformation_mode; scales: of rows and columns where the file has
    them, else the sizes' ratios. Linear weights are codes of 12 fraction bits in integers."""

    size: Pair
    mode: str = "nearest"
    coordinates: str = "asymmetric"
    nearest_mode: str = "floor"
    scales: tuple[float, float] | None = None

    images = True
    near = 0

    @property
    def moves_codes(self) -> bool:  # type: ignore[override]
        return self.mode == "nearest"

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        known = self.mode in MODES and self.nearest_mode in NEAREST
        if not known or self.coordinates not in COORDINATES or min(self.size) < 1:
            raise ShapeError(
                f"Resize {self.mode!r} to {self.size} by {self.coordinates!r}, "
                f"{self.nearest_mode!r}",
                f"{' or '.join(MODES)}, {', '.join(COORDINATES)}, {', '.join(NEAREST)}",
            )
        if self.scales is not None and not all(0 < scale < 2**16 for scale in self.scales):
            raise ShapeError(f"Resize by scales {self.scales}", "positive ones")
        return (shape[0], *self.size)

    def places(self, shape: Shape, axis: int) -> list[Fraction]:
        """Where in the input, of such a shape, each output row (axis 0) or column lies."""
        length, count = shape[1 + axis], self.size[axis]
        scale = Fraction(count, length)
        if self.scales is not None:
            # a scale of float32 stands for the ratio that it is nearest to
            stated = Fraction(self.scales[axis])
            near = abs(stated - scale) * 2**22 <= scale
            scale = scale if near else stated.limit_denominator(1 << 20)
        match self.coordinates:
            case "asymmetric":
                return [n / scale for n in range(count)]
            case "align_corners":
                step = Fraction(length - 1, count - 1) if count > 1 else Fraction(0)
                return [n * step for n in range(count)]
            case "pytorch_half_pixel" if count == 1:
                return [Fraction(0)]
            case "tf_half_pixel_for_nn":
                return [(n + HALF) / scale for n in range(count)]
            case "half_pixel_symmetric":
                centre = Fraction(length, 2) * (1 - Fraction(count) / (scale * length))
                return [centre + (n + HALF) / scale - HALF for n in range(count)]
        return [(n + HALF) / scale - HALF for n in range(count)]

    def nearest(self, shape: Shape, axis: int) -> np.ndarray:
        """int64 (size,): the input row or column that each of the output's is."""
        rules = {
            "floor": math.floor,
            "ceil": math.ceil,
            "round_prefer_floor": lambda place: math.ceil(place - HALF),
            "round_prefer_ceil": lambda place: math.floor(place + HALF),
        }
        found = [rules[self.nearest_mode](place) for place in self.places(shape, axis)]
        return np.clip(np.array(found, np.int64), 0, shape[1 + axis] - 1)

    def linear(self, shape: Shape, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(place before, place behind, int64, share of the one behind, float64), (size,) each."""
        places = self.places(shape, axis)
        before = np.array([math.floor(place) for place in places], np.int64)
        share = np.array([float(place - math.floor(place)) for place in places])
        last = shape[1 + axis] - 1
        return np.clip(before, 0, last), np.clip(before + 1, 0, last), share

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        (x,) = inputs
        shape = x.shape[1:]
        if self.mode == "nearest":
            for axis in (0, 1):
                x = ops.take(x, 2 + axis, self.nearest(shape, axis))
            return x
        for axis in (0, 1):
            before, behind, share = self.linear(shape, axis)
            x = ops.interpolate(x, 2 + axis, before, behind, share.astype(np.float32))
        return x

    def integer_step(self, step: IntegerStep) -> Any:
        if self.mode == "nearest":
            return super().integer_step(step)
        (x,), (frac_bits,) = step.inputs, step.frac_bits
        shape = x.shape[1:]
        for axis in (0, 1):
            before, behind, share = self.linear(shape, axis)
            # the nearest code, ties to even; the other share is what is left of 1
            codes = np.rint(share * (1 << WEIGHT_BITS)).astype(np.int64)
            x = step.ops.interpolate_integer(x, 2 + axis, before, behind, codes, WEIGHT_BITS)
        return step.exact(x, frac_bits + 2 * WEIGHT_BITS)

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        return None if self.moves_codes else frac_bits[0] + 2 * WEIGHT_BITS
