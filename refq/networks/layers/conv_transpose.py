"""Transposed convolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from refq.errors import ShapeError
from refq.networks.layers.layer import MapStep, Shape, Weighted, positive
from refq.networks.layers.windows import NO_PADS, Pads, Pair


@dataclass(frozen=True)
class ConvTranspose(Weighted):
    """Transposed convolution with bias (ONNX ConvTranspose); weights (out_channels, C/group,
    kernel rows, kernel columns): the outputs come first, as a convolution's do.

    y[o, stride h + dilation r - pad] += x[i, h] w[o, i, r], along rows and columns.
    """

    out_channels: int
    kernel: Pair
    strides: Pair = (1, 1)
    pads: Pads = NO_PADS
    group: int = 1
    dilations: Pair = (1, 1)
    output_padding: Pair = (0, 0)

    images = True

    @property
    def words(self) -> str:
        return "transposed convolution"

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        if self.group < 1 or shape[0] % self.group or self.out_channels % self.group:
            raise ShapeError(
                f"{self.kind} from {shape[0]} to {self.out_channels} channels in {self.group} "
                "groups",
                "channel counts that the groups divide",
            )
        counts = (*self.kernel, *self.strides, *self.dilations)
        if min(counts) < 1 or min(self.pads) < 0 or min(self.output_padding) < 0:
            raise ShapeError(
                f"{self.kind} with kernel, strides, dilations {counts} and pads {self.pads}",
                "1 or more, and pads of 0 or more",
            )
        sizes = tuple(self._size(shape[1 + axis], axis) for axis in (0, 1))
        if min(sizes) < 1:
            raise ShapeError(f"{self.kind} with an output of {sizes}", "1 or more rows and columns")
        return (positive(self, self.out_channels), *sizes)

    def _size(self, length: int, axis: int) -> int:
        reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1
        whole = self.strides[axis] * (length - 1) + reach + self.output_padding[axis]
        return whole - self.pads[axis] - self.pads[axis + 2]

    def weight_shape(self, source: Shape) -> Shape:
        return (self.out_channels, source[0] // self.group, *self.kernel)

    def map_step(self, step: MapStep) -> Any:
        return None  # the fused kernels gather, and do not scatter

    def operation(self, ops: ModuleType, integer: bool) -> Callable[..., Any]:
        transposed = ops.conv_transpose_integer if integer else ops.conv_transpose
        return partial(
            transposed,
            strides=self.strides,
            pads=self.pads,
            group=self.group,
            dilations=self.dilations,
            output_padding=self.output_padding,
        )
