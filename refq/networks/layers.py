"""Frozen layer specifications and their shape inference.

Attributes carry ONNX's names and meaning: pads are (top, left, bottom, right),
strides (down, right). Shapes are without the batch: (C, H, W), or (K,) after a dense layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Union

from refq.errors import ShapeError

Shape = tuple[int, ...]
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
NO_PADS: Pads = (0, 0, 0, 0)


@dataclass(frozen=True)
class Conv:
    """Convolution with bias; weights (out_channels, C/group, kernel rows, kernel columns)."""

    out_channels: int
    kernel: Pair
    strides: Pair = (1, 1)
    pads: Pads = NO_PADS
    group: int = 1


@dataclass(frozen=True)
class Dense:
    """Fully connected layer with bias; its input is flattened in C, H, W order."""

    out_features: int


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; padded cells never win."""

    kernel: Pair
    strides: Pair
    pads: Pads = NO_PADS
    ceil_mode: bool = False


@dataclass(frozen=True)
class AvgPool:
    """Mean over windows, divided by the window clipped to the padded image
    (count_include_pad, Caffe) or by the count of real cells."""

    kernel: Pair
    strides: Pair
    pads: Pads = NO_PADS
    ceil_mode: bool = False
    count_include_pad: bool = True


@dataclass(frozen=True)
class GlobalAvgPool:
    """Mean over all rows and columns: (C, H, W) -> (C,)."""


@dataclass(frozen=True)
class LRN:
    """Local response normalisation across channels (ONNX LRN):
    y = x / (bias + alpha' * sum x^2) ** beta over `size` neighbouring channels.

    alpha' = alpha / size (Caffe, ONNX) or alpha itself (MatConvNet: per_window False).
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0
    per_window: bool = True


@dataclass(frozen=True)
class ReLU:
    """max(x, 0)."""


@dataclass(frozen=True)
class Concat:
    """Joins channels of its inputs, in order."""


@dataclass(frozen=True)
class Subsample:
    """Every so many rows and columns, from the first on, between channels of zeros: the shortcut
    of He et al. 2016, section 3.3, option A. channels: how many zeros come before and after."""

    strides: Pair
    channels: Pair = (0, 0)


@dataclass(frozen=True)
class Add:
    """Elementwise sum of its inputs."""


@dataclass(frozen=True)
class Softmax:
    """exp(x_c) / sum over channels."""


Layer = Union[
    Conv, Dense, MaxPool, AvgPool, GlobalAvgPool, LRN, ReLU, Concat, Subsample, Add, Softmax
]
WEIGHTED = (Conv, Dense)


def conv_size(length: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Output rows (or columns) of a convolution; below 1 where the kernel does not fit."""
    return (length + before + after - kernel) // stride + 1


def pool_size(
    length: int, kernel: int, stride: int, before: int, after: int, ceil_mode: bool
) -> int:
    """Output rows (or columns) of a pooling layer (contract section 4).

    Ceil mode follows Caffe: round up, then drop a last window that starts in the padding.
    """
    room = length + before + after - kernel
    if not ceil_mode:
        return room // stride + 1
    count = math.ceil(room / stride) + 1
    if (count - 1) * stride >= length + before:
        count -= 1
    return count


def output_shape(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    """Shape of the layer's output, without batch. Raises ShapeError that says what did not fit."""
    kind = type(layer).__name__
    if isinstance(layer, (Concat, Add)):
        if len(inputs) < 2:
            raise ShapeError(f"{kind} of {len(inputs)} input", "two or more")
    elif len(inputs) != 1:
        raise ShapeError(f"{kind} with {len(inputs)} inputs", "one")
    shape = inputs[0]

    if isinstance(layer, Dense):
        return (_positive(kind, layer.out_features),)
    if isinstance(layer, (ReLU, Softmax)):
        return shape
    if isinstance(layer, Add):
        if any(other != shape for other in inputs[1:]):
            raise ShapeError(f"Add of shapes {list(inputs)}", "equal shapes")
        return shape

    if any(len(each) != 3 for each in inputs):
        raise ShapeError(f"{kind} on shape {shape}", "(channels, rows, columns)")
    if isinstance(layer, Concat):
        if any(other[1:] != shape[1:] for other in inputs[1:]):
            raise ShapeError(f"Concat of shapes {list(inputs)}", "equal rows and columns")
        return (sum(each[0] for each in inputs), *shape[1:])
    if isinstance(layer, LRN):
        if layer.size < 1:
            raise ShapeError(f"LRN over {layer.size} channels", "1 or more")
        return shape
    if isinstance(layer, GlobalAvgPool):
        return (shape[0],)
    if isinstance(layer, Subsample):
        if min(layer.strides) < 1 or min(layer.channels) < 0:
            raise ShapeError(
                f"Subsample with strides {layer.strides} and {layer.channels} more channels",
                "strides of 1 or more and channels of 0 or more",
            )
        sizes = (-(-size // stride) for size, stride in zip(shape[1:], layer.strides))
        return (shape[0] + sum(layer.channels), *sizes)
    if isinstance(layer, Conv):
        if layer.group < 1 or shape[0] % layer.group or layer.out_channels % layer.group:
            raise ShapeError(
                f"Conv from {shape[0]} to {layer.out_channels} channels in {layer.group} groups",
                "channel counts that the groups divide",
            )
        channels = _positive(kind, layer.out_channels)
    else:
        channels = shape[0]
    return (channels, *_window_sizes(kind, layer, shape))


def _window_sizes(kind: str, layer: Conv | MaxPool | AvgPool, shape: Shape) -> Pair:
    if min(layer.kernel) < 1 or min(layer.strides) < 1 or min(layer.pads) < 0:
        raise ShapeError(
            f"{kind} with kernel {layer.kernel}, strides {layer.strides}, pads {layer.pads}",
            "kernel and strides of 1 or more and pads of 0 or more",
        )
    sizes = []
    for axis in (0, 1):
        length, k, stride = shape[1 + axis], layer.kernel[axis], layer.strides[axis]
        before, after = layer.pads[axis], layer.pads[axis + 2]
        if isinstance(layer, Conv):
            size = conv_size(length, k, stride, before, after)
        else:
            if k <= max(before, after):
                raise ShapeError(f"{kind} pads {layer.pads}", f"pads smaller than kernel {k}")
            size = pool_size(length, k, stride, before, after, layer.ceil_mode)
        if size < 1:
            raise ShapeError(
                f"{kind} {layer.kernel} over {shape[1]}x{shape[2]} padded by {layer.pads}",
                "an input at least as large as the kernel",
                "use a larger input size",
            )
        sizes.append(size)
    return sizes[0], sizes[1]


def _positive(kind: str, count: int) -> int:
    if count < 1:
        raise ShapeError(f"{kind} with {count} outputs", "1 or more")
    return count


def weight_shape(layer: Conv | Dense, inputs: tuple[Shape, ...]) -> Shape:
    """Shape of the layer's weights: (O, I/group, rows, columns) or (O, inputs)."""
    if isinstance(layer, Conv):
        return (layer.out_channels, inputs[0][0] // layer.group, *layer.kernel)
    return (layer.out_features, math.prod(inputs[0]))
