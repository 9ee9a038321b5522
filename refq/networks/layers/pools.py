"""Pooling: maxima and means over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from refq.errors import ShapeError
from refq.formats.fixed import FixedPointFormat, within
from refq.networks.layers.layer import IntegerStep, Layer, MapStep, Shape
from refq.networks.layers.windows import NO_PADS, Pads, Pair, pool_size, swept


@dataclass(frozen=True)
class Pool(Layer):
    """What pools over windows share."""

    kernel: Pair
    strides: Pair
    pads: Pads = NO_PADS
    ceil_mode: bool = False

    images = windows = True
    near = 0

    @property
    def arguments(self) -> dict[str, Any]:
        """The attributes as operations take them, by ONNX's names."""
        attributes = self.attributes
        return {"kernel_shape": attributes.pop("kernel"), **attributes}

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        return (shape[0], *swept(self, shape, self._count))

    def _count(self, length: int, kernel: int, stride: int, before: int, after: int) -> int:
        if kernel <= max(before, after):
            raise ShapeError(f"{self.kind} pads {self.pads}", f"pads smaller than kernel {kernel}")
        return pool_size(length, kernel, stride, before, after, self.ceil_mode)


@dataclass(frozen=True)
class MaxPool(Pool):
    """Maximum over windows; padded cells never win."""

    words = "max"
    moves_codes = float_maps = True

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        maxima: np.ndarray = ops.max_pool(*inputs, **self.arguments)
        return maxima

    def map_step(self, step: MapStep) -> Any:
        return step.max_pooled()


class Mean(Layer):
    """What means share: they round on their own, and as outputs take all bits that there are."""

    images = True
    near = 0

    def wide_format(self, source: FixedPointFormat, bits: int) -> FixedPointFormat:
        return FixedPointFormat(bits, within(source.frac_bits + bits - source.bits), source.signed)


@dataclass(frozen=True)
class AvgPool(Pool, Mean):
    """Mean over windows, divided by the window clipped to the padded image
    (count_include_pad, Caffe) or by the count of real cells."""

    count_include_pad: bool = True

    @property
    def words(self) -> str:
        return "mean with padding" if self.count_include_pad else "mean"

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        means: np.ndarray = ops.avg_pool(*inputs, **self.arguments)
        return means

    def integer_step(self, step: IntegerStep) -> Any:
        mean = partial(step.ops.avg_pool_integer, **self.arguments, **step.modes)
        return step.rounded(*mean(*step.inputs, *step.frac_bits, step.format))


@dataclass(frozen=True)
class GlobalAvgPool(Mean):
    """Mean over all rows and columns: (C, H, W) -> (C,)."""

    words = "global mean"

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        return (shape[0],)

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        means: np.ndarray = ops.global_avg_pool(*inputs)
        return means

    def integer_step(self, step: IntegerStep) -> Any:
        mean = partial(step.ops.global_avg_pool_integer, **step.modes)
        return step.rounded(*mean(*step.inputs, *step.frac_bits, step.format))
