"""ResNet-50, -101 and -152 (He et al. 2016) in the forms of Caffe, Keras and torchvision.

Batch normalisation is folded into the convolutions (refq.networks.folding), which thereby have
biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from refq.networks.graph import INPUT, Network, Node, chain, scaled
from refq.networks.layers import Add, Conv, Dense, GlobalAvgPool, MaxPool, ReLU, Shape

CHANNELS = (64, 128, 256, 512)  # of a block's 3x3 convolution; its output has four times as many
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# suffix of the name: (where a stage's first block strides, whether pool1 has a padding)
FORMS = {
    "": ("1x1", False),
    "_3x3": ("3x3", False),
    "_keras": ("1x1", True),
    "_torchvision": ("3x3", True),
}


def block_names(size: int, stage: int) -> list[str]:
    """Caffe's names of a stage's blocks: res3a, res3b, ... or, in the stages of ResNet-101 and -152
    with more than three, res3a, res3b1, res3b2, ..."""
    depth = DEPTHS[size][stage - 2]
    if size == 50 or depth == 3:
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
    size: int,
    strided: str,
    padded: bool,
    input_size: int = 224,
    classes: int = 1000,
    width: float = 1.0,
    stem_stride: int = 2,
    top: bool = True,
) -> Network:
    """strided: the convolution in which a stage's first block strides, "1x1" (its first) or "3x3".
    padded: pool1 has a padding of 1; else it rounds up.

    width scales all channels, stem_stride fits conv1 to small images, top False stops before the
    global average.
    """
    conv1 = Conv(scaled(64, width), (7, 7), (stem_stride, stem_stride), (3, 3, 3, 3))
    pool1 = MaxPool((3, 3), (2, 2), (1,) * 4) if padded else MaxPool((3, 3), (2, 2), ceil_mode=True)
    nodes = chain(INPUT, ("conv1", conv1), ("conv1_relu", ReLU()), ("pool1", pool1))
    for stage, channels in enumerate(CHANNELS, start=2):
        for index, block in enumerate(block_names(size, stage)):
            stride = 2 if index == 0 and stage > 2 else 1
            strides = (stride, 1) if strided == "1x1" else (1, stride)
            count = scaled(channels, width)
            nodes += _block(block, nodes[-1].name, count, strides, project=index == 0)
    if top:
        nodes += chain(nodes[-1].name, ("pool5", GlobalAvgPool()), ("fc1000", Dense(classes)))
    parameters = dict(
        input_size=input_size, classes=classes, width=width, stem_stride=stem_stride, top=top
    )
    return Network(name, (3, input_size, input_size), tuple(nodes), parameters)


NETWORKS: dict[str, Callable[..., Network]] = {
    f"resnet{size}{suffix}": partial(_resnet, f"resnet{size}{suffix}", size, *form)
    for size in DEPTHS
    for suffix, form in FORMS.items()
}


def infer(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Sizes from a dump's weight shapes."""
    found: dict[str, Any] = {"top": "fc1000" in shapes}
    if "conv1" in shapes:
        found["width"] = shapes["conv1"][0] / 64
    if "fc1000" in shapes:
        found["classes"] = shapes["fc1000"][0]
    return found
