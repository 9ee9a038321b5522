"""Convolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from refq.errors import ShapeError
from refq.networks.layers.layer import Shape, Weighted, positive
from refq.networks.layers.windows import NO_PADS, Pads, Pair, conv_size, swept


@dataclass(frozen=True)
class Conv(Weighted):
    """Convolution with bias; weights (out_channels, C/group, kernel rows, kernel columns)."""

    out_channels: int
    kernel: Pair
    strides: Pair = (1, 1)
    pads: Pads = NO_PADS
    group: int = 1
    dilations: Pair = (1, 1)

    images = windows = float_maps = True

    @property
    def words(self) -> str:
        return f"convolution in {self.group} groups" if self.group > 1 else "convolution"

    @property
    def map_pads(self) -> Pads:
        return self.pads

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        if self.group < 1 or shape[0] % self.group or self.out_channels % self.group:
            raise ShapeError(
                f"Conv from {shape[0]} to {self.out_channels} channels in {self.group} groups",
                "channel counts that the groups divide",
            )
        return (positive(self, self.out_channels), *swept(self, shape, conv_size))

    def weight_shape(self, source: Shape) -> Shape:
        return (self.out_channels, source[0] // self.group, *self.kernel)

    def operation(self, ops: ModuleType, integer: bool) -> Callable[..., Any]:
        conv = ops.conv_integer if integer else ops.conv
        return partial(
            conv, strides=self.strides, pads=self.pads, group=self.group, dilations=self.dilations
        )
