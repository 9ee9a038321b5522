"""Windows over an image: their attributes, and how many there are (contract section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from refq.errors import ShapeError

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
NO_PADS: Pads = (0, 0, 0, 0)


class Windowed(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def kernel(self) -> Pair: ...
    @property
    def strides(self) -> Pair: ...
    @property
    def pads(self) -> Pads: ...
    @property
    def dilations(self) -> Pair: ...


def reach(kernel: Pair, dilations: Pair) -> Pair:
    """Rows and columns from a kernel's first tap to its last, both included."""
    return (kernel[0] - 1) * dilations[0] + 1, (kernel[1] - 1) * dilations[1] + 1


def conv_size(length: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Output rows (or columns) of a convolution; below 1 where the kernel does not fit. kernel:
    what it reaches over."""
    return (length + before + after - kernel) // stride + 1


def pool_size(
    length: int, kernel: int, stride: int, before: int, after: int, ceil_mode: bool
) -> int:
    """Output rows (or columns) of a pooling layer.

    Ceil mode follows Caffe: round up, then drop a last window that starts in the padding.
    """
    room = length + before + after - kernel
    if not ceil_mode:
        return room // stride + 1
    count = math.ceil(room / stride) + 1
    if (count - 1) * stride >= length + before:
        count -= 1
    return count


def swept(
    layer: Windowed, shape: tuple[int, ...], count: Callable[[int, int, int, int, int], int]
) -> Pair:
    """Rows and columns of the output; count: as conv_size. Raises ShapeError for windows that do
    not fit."""
    if min(layer.kernel) < 1 or min(layer.strides) < 1 or min(layer.pads) < 0:
        raise ShapeError(
            f"{layer.kind} with kernel {layer.kernel}, strides {layer.strides}, pads {layer.pads}",
            "kernel and strides of 1 or more and pads of 0 or more",
        )
    if min(layer.dilations) < 1:
        raise ShapeError(f"{layer.kind} with dilations {layer.dilations}", "1 or more")
    kernel, sizes = reach(layer.kernel, layer.dilations), []
    for axis in (0, 1):
        pads = layer.pads[axis], layer.pads[axis + 2]
        size = count(shape[1 + axis], kernel[axis], layer.strides[axis], *pads)
        if size < 1:
            raise ShapeError(
                f"{layer.kind} {kernel} over {shape[1]}x{shape[2]} padded by {layer.pads}",
                "an input at least as large as the kernel",
                "use a larger input size",
            )
        sizes.append(size)
    return sizes[0], sizes[1]
