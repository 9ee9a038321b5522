"""ResNet-50, -101 and -152 (He et al. 2016) in the form of Caffe and MatConvNet, and torchvision's.

Batch normalisation is folded into the convolutions (refq.folding), which thereby have biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from refq.layers import Add, Conv, Dense, GlobalAvgPool, MaxPool, ReLU, Shape
from refq.networks.graph import INPUT, Network, Node, chain, scaled

CHANNELS = (64, 128, 256, 512)  # of a block's 3x3 convolution; its output has four times as many
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def block_names(stage: int, depth: int) -> list[str]:
    """Caffe's names of a stage's blocks: res3a, res3b, ... or, from ResNet-101's and -152's long
    stages, res3a, res3b1, res3b2, ..."""
    if depth <= 6:
        return [f"res{stage}{letter}" for letter in "abcdef"[:depth]]
    return [f"res{stage}a", *(f"res{stage}b{index}" for index in range(1, depth))]


def _block(
    name: str, source: str, channels: int, strides: tuple[int, int], project: bool
) -> list[Node]:
    """1x1, 3x3 and 1x1 convolutions, added to the block's input or to a projection of it.

    strides: of the first 1x1 and of the 3x3; the projection has their product.
    """
    first, second = strides
    shortcut, nodes = source, []
    if project:
        shortcut = f"{name}_branch1"
        stride = first * second
        nodes.append(Node(shortcut, Conv(4 * channels, (1, 1), (stride, stride)), (source,)))
    nodes += chain(
        source,
        (f"{name}_branch2a", Conv(channels, (1, 1), (first, first))),
        (f"{name}_branch2a_relu", ReLU()),
        (f"{name}_branch2b", Conv(channels, (3, 3), (second, second), (1, 1, 1, 1))),
        (f"{name}_branch2b_relu", ReLU()),
        (f"{name}_branch2c", Conv(4 * channels, (1, 1))),
    )
    nodes.append(Node(name, Add(), (shortcut, f"{name}_branch2c")))
    return [*nodes, Node(f"{name}_relu", ReLU(), (name,))]


def _resnet(
    name: str,
    depths: tuple[int, ...],
    form: str,
    input_size: int = 224,
    classes: int = 1000,
    width: float = 1.0,
    stem_stride: int = 2,
    top: bool = True,
) -> Network:
    """form "caffe": a stage's first block strides in its first 1x1 convolution, pool1 is in ceil
    mode without padding; "torchvision": in its 3x3, and pool1 has a padding of 1.

    width scales all channels, stem_stride fits conv1 to small images, top False stops before the
    global average.
    """
    caffe = form == "caffe"
    conv1 = Conv(scaled(64, width), (7, 7), (stem_stride, stem_stride), (3, 3, 3, 3))
    pool1 = MaxPool((3, 3), (2, 2), ceil_mode=True) if caffe else MaxPool((3, 3), (2, 2), (1,) * 4)
    nodes = chain(INPUT, ("conv1", conv1), ("conv1_relu", ReLU()), ("pool1", pool1))
    for stage, (channels, depth) in enumerate(zip(CHANNELS, depths, strict=True), start=2):
        for index, block in enumerate(block_names(stage, depth)):
            stride = 2 if index == 0 and stage > 2 else 1
            strides = (stride, 1) if caffe else (1, stride)
            count = scaled(channels, width)
            nodes += _block(block, nodes[-1].name, count, strides, project=index == 0)
    if top:
        nodes += chain(nodes[-1].name, ("pool5", GlobalAvgPool()), ("fc1000", Dense(classes)))
    parameters = dict(
        input_size=input_size, classes=classes, width=width, stem_stride=stem_stride, top=top
    )
    return Network(name, (3, input_size, input_size), tuple(nodes), parameters)


NETWORKS: dict[str, Callable[..., Network]] = {
    f"resnet{size}{suffix}": partial(_resnet, f"resnet{size}{suffix}", depths, form)
    for size, depths in DEPTHS.items()
    for suffix, form in (("", "caffe"), ("_torchvision", "torchvision"))
}


def infer(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Sizes from a dump's weight shapes."""
    found: dict[str, Any] = {"top": "fc1000" in shapes}
    if "conv1" in shapes:
        found["width"] = shapes["conv1"][0] / 64
    if "fc1000" in shapes:
        found["classes"] = shapes["fc1000"][0]
    return found
