"""GoogLeNet (Szegedy et al. 2015) as Caffe's bvlc_googlenet, ONNX and torchvision have it.

Nine inception modules; the auxiliary heads, which only training needs, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from refq.networks.graph import INPUT, Network, Node, chain, scaled
from refq.networks.layers import LRN, Concat, Conv, Dense, GlobalAvgPool, MaxPool, ReLU, Shape

# channels of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5 and pool_proj (Szegedy et al. 2015, Table 1)
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
CLASSIFIER = "loss3/classifier"


def _conv(stage: str, name: str, source: str, channels: int, side: int, stride: int = 1) -> Node:
    pad = side // 2
    layer = Conv(channels, (side, side), (stride, stride), (pad, pad, pad, pad))
    return Node(f"{stage}/{name}", layer, (source,))


def _convs(stage: str, source: str, *steps: tuple[str, int, int], stride: int = 1) -> list[Node]:
    """Convolutions (name, channels, side) one after the other, each with its ReLU."""
    nodes: list[Node] = []
    for name, channels, side in steps:
        nodes.append(_conv(stage, name, source, channels, side, stride))
        source = f"{stage}/relu_{name.removesuffix('_s2')}"
        nodes.append(Node(source, ReLU(), (nodes[-1].name,)))
    return nodes


def _inception(stage: str, source: str, channels: tuple[int, ...], large: int) -> list[Node]:
    """1x1, 3x3, 5x5 and pooled branches side by side, joined channel after channel.

    large: side of the branch named 5x5.
    """
    one, reduce3, three, reduce5, five, pooled = channels
    pool = Node(f"{stage}/pool", MaxPool((3, 3), (1, 1), (1, 1, 1, 1), True), (source,))
    branches = [
        _convs(stage, source, ("1x1", one, 1)),
        _convs(stage, source, ("3x3_reduce", reduce3, 1), ("3x3", three, 3)),
        _convs(stage, source, ("5x5_reduce", reduce5, 1), ("5x5", five, large)),
        [pool, *_convs(stage, pool.name, ("pool_proj", pooled, 1))],
    ]
    ends = tuple(branch[-1].name for branch in branches)
    nodes = [node for branch in branches for node in branch]
    return [*nodes, Node(f"{stage}/output", Concat(), ends)]


def _googlenet(
    name: str,
    form: str,
    ceil_mode: bool,
    input_size: int = 224,
    classes: int = 1000,
    width: float = 1.0,
    stem_stride: int = 2,
    top: bool = True,
) -> Network:
    """form "caffe" has LRN around conv2; "torchvision" (batch normalisation, folded) has none,
    3x3 where the others have 5x5, and 2x2 in the last pool. ceil_mode: of the pools.

    width scales all channels, stem_stride fits conv1 to small images, top False stops before the
    global average.
    """
    caffe = form == "caffe"
    pool = MaxPool((3, 3), (2, 2), ceil_mode=ceil_mode)
    last = pool if caffe else MaxPool((2, 2), (2, 2), ceil_mode=ceil_mode)
    nodes = _convs("conv1", INPUT, ("7x7_s2", scaled(64, width), 7), stride=stem_stride)
    nodes += chain(nodes[-1].name, ("pool1/3x3_s2", pool))
    if caffe:
        nodes += chain(nodes[-1].name, ("pool1/norm1", LRN()))
    steps = ("3x3_reduce", scaled(64, width), 1), ("3x3", scaled(192, width), 3)
    nodes += _convs("conv2", nodes[-1].name, *steps)
    if caffe:
        nodes += chain(nodes[-1].name, ("conv2/norm2", LRN()))
    nodes += chain(nodes[-1].name, ("pool2/3x3_s2", pool))
    for stage, channels in INCEPTIONS.items():
        sizes = tuple(scaled(count, width) for count in channels)
        nodes += _inception(f"inception_{stage}", nodes[-1].name, sizes, 5 if caffe else 3)
        if stage == "3b":
            nodes += chain(nodes[-1].name, ("pool3/3x3_s2", pool))
        elif stage == "4e":
            nodes += chain(nodes[-1].name, ("pool4/3x3_s2", last))
    if top:
        nodes += chain(
            nodes[-1].name, ("pool5/7x7_s1", GlobalAvgPool()), (CLASSIFIER, Dense(classes))
        )
    parameters = dict(
        input_size=input_size, classes=classes, width=width, stem_stride=stem_stride, top=top
    )
    return Network(name, (3, input_size, input_size), tuple(nodes), parameters)


NETWORKS: dict[str, Callable[..., Network]] = {
    "googlenet": partial(_googlenet, "googlenet", "caffe", True),
    "googlenet_onnx": partial(_googlenet, "googlenet_onnx", "caffe", False),
    "googlenet_torchvision": partial(_googlenet, "googlenet_torchvision", "torchvision", True),
}


def infer(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Sizes from a dump's weight shapes."""
    found: dict[str, Any] = {"top": CLASSIFIER in shapes}
    if "conv1/7x7_s2" in shapes:
        found["width"] = shapes["conv1/7x7_s2"][0] / 64
    if CLASSIFIER in shapes:
        found["classes"] = shapes[CLASSIFIER][0]
    return found
