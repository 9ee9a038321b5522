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
class Whole(Layer):
    """What pools over whole rows and columns share. axes: which of (1, 2), counted without the
    batch; keepdims: whether they stay, of size 1. (C, H, W) -> (C,) as a rule."""

    axes: tuple[int, ...] = (1, 2)
    keepdims: bool = False

    images = True
    near = 0

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        if self.axes not in ((1,), (2,), (1, 2)):
            raise ShapeError(f"{self.kind} over axes {self.axes}", "rows (1), columns (2), or both")
        sizes = [(size, axis in self.axes) for axis, size in enumerate(shape)]
        return tuple(1 if gone else size for size, gone in sizes if self.keepdims or not gone)

    def whole(self, x: np.ndarray) -> np.ndarray:
        """The input as operations take it, which pool all rows and columns: (N, maps, H', W'), a
        map for each value of the output, in order."""
        if self.axes == (1,):
            x = np.ascontiguousarray(x.transpose(0, 1, 3, 2))
        if len(self.axes) == 1:
            x = x.reshape(len(x), -1, 1, x.shape[3])
        return x

    def of_output(self, pooled: np.ndarray, shape: Shape) -> np.ndarray:
        """What operations made of an input of such a shape, (N, maps), as it is to be."""
        return pooled.reshape(len(pooled), *self.shape_of(shape))


@dataclass(frozen=True)
class GlobalAvgPool(Whole, Mean):
    """Mean over all rows and columns, or over one of the two."""

    words = "global mean"

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        (x,) = inputs
        return self.of_output(ops.global_avg_pool(self.whole(x)), x.shape[1:])

    def integer_step(self, step: IntegerStep) -> Any:
        (x,) = step.inputs
        mean = partial(step.ops.global_avg_pool_integer, **step.modes)
        codes, outside = mean(self.whole(x), *step.frac_bits, step.format)
        return step.rounded(self.of_output(codes, x.shape[1:]), outside)


@dataclass(frozen=True)
class GlobalMaxPool(Whole):
    """Maximum over all rows and columns, or over one of the two."""

    words = "global max"
    moves_codes = True

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        (x,) = inputs
        whole = self.whole(x)
        window = (whole.shape[2], whole.shape[3])
        return self.of_output(ops.max_pool(whole, window, (1, 1)), x.shape[1:])
