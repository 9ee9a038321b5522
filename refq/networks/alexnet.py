"""AlexNet as Caffe's bvlc_alexnet has it: two groups, LRN before pooling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from refq.layers import LRN, Conv, Dense, Layer, MaxPool, ReLU, Shape
from refq.networks.graph import INPUT, Network, chain, scaled


def alexnet(
    input_size: int = 227,
    classes: int = 1000,
    width: float = 1.0,
    hidden: int = 4096,
    stem_stride: int = 4,
    stem_pad: int = 0,
    top: bool = True,
) -> Network:
    """Krizhevsky et al. 2012. stem_stride and stem_pad fit conv1 to small images."""

    def conv(channels: int, kernel: int, pad: int, stride: int = 1, group: int = 1) -> Conv:
        # a multiple of two channels, so that the groups of the next layer divide them
        count = 2 * scaled(channels // 2, width)
        return Conv(count, (kernel, kernel), (stride, stride), (pad, pad, pad, pad), group)

    pool = MaxPool((3, 3), (2, 2), ceil_mode=True)
    steps: list[tuple[str, Layer]] = [
        ("conv1", conv(96, 11, stem_pad, stem_stride)),
        ("relu1", ReLU()),
        ("norm1", LRN()),
        ("pool1", pool),
        ("conv2", conv(256, 5, 2, group=2)),
        ("relu2", ReLU()),
        ("norm2", LRN()),
        ("pool2", pool),
        ("conv3", conv(384, 3, 1)),
        ("relu3", ReLU()),
        ("conv4", conv(384, 3, 1, group=2)),
        ("relu4", ReLU()),
        ("conv5", conv(256, 3, 1, group=2)),
        ("relu5", ReLU()),
        ("pool5", pool),
    ]
    if top:
        steps += [("fc6", Dense(hidden)), ("relu6", ReLU())]
        steps += [("fc7", Dense(hidden)), ("relu7", ReLU()), ("fc8", Dense(classes))]
    parameters = dict(
        input_size=input_size,
        classes=classes,
        width=width,
        hidden=hidden,
        stem_stride=stem_stride,
        stem_pad=stem_pad,
        top=top,
    )
    return Network("alexnet", (3, input_size, input_size), tuple(chain(INPUT, *steps)), parameters)


NETWORKS = {"alexnet": alexnet}


def infer(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Sizes from a dump's weight shapes; conv1's stride and padding are Caffe's."""
    found: dict[str, Any] = {"top": any(name.startswith("fc") for name in shapes)}
    if "conv1" in shapes:
        found["width"] = shapes["conv1"][0] / 96
    if "fc6" in shapes and "conv5" in shapes:
        found["hidden"] = shapes["fc6"][0]
        side = math.isqrt(shapes["fc6"][-1] // max(1, shapes["conv5"][0]))
        # three 3x3/2 pools without padding and conv1 11x11/4 undone: 6 -> 227
        found["input_size"] = 4 * (2 * (2 * (2 * side + 1) + 1) + 1 - 1) + 11
    if "fc8" in shapes:
        found["classes"] = shapes["fc8"][0]
    return found
