"""ResNet-20, -32, -44 and -56 for CIFAR-10 (He et al. 2016, section 4.2), shortcuts by option A.

Batch normalisation is folded into the convolutions (refq.networks.folding), which thereby have
biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from refq.networks.graph import INPUT, Network, Node, chain, scaled
from refq.networks.layers import Add, Conv, Dense, GlobalAvgPool, ReLU, Shape, Subsample

CHANNELS = (16, 32, 64)


def _conv(channels: int, stride: int = 1) -> Conv:
    return Conv(channels, (3, 3), (stride, stride), (1, 1, 1, 1))


def _block(name: str, source: str, channels: int, stride: int, shortcut: Subsample) -> list[Node]:
    """Two 3x3 convolutions, added to the block's input or, where that is larger, to every second
    row and column of it with channels of zeros (option A)."""
    nodes, kept = [], source
    if stride > 1:
        kept = f"{name}_shortcut"
        nodes.append(Node(kept, shortcut, (source,)))
    nodes += chain(
        source,
        (f"{name}_conv1", _conv(channels, stride)),
        (f"{name}_conv1_relu", ReLU()),
        (f"{name}_conv2", _conv(channels)),
    )
    nodes.append(Node(name, Add(), (kept, f"{name}_conv2")))
    return [*nodes, Node(f"{name}_relu", ReLU(), (name,))]


def _resnet(
    name: str,
    depth: int,
    input_size: int = 32,
    classes: int = 10,
    width: float = 1.0,
    centred: bool = False,
    top: bool = True,
) -> Network:
    """6 * depth + 2 weighted layers: three stages of `depth` blocks, at 1, 1/2 and 1/4 of the size.

    The added channels of zeros come last (the paper does not say); centred puts half of them
    first, as many weights for PyTorch expect. width scales all channels, top False stops before
    the global average.
    """
    before = scaled(CHANNELS[0], width)
    nodes = chain(INPUT, ("conv1", _conv(before)), ("conv1_relu", ReLU()))
    for stage, channels in enumerate(CHANNELS, start=1):
        count = scaled(channels, width)
        first = (count - before) // 2 if centred else 0
        shortcut = Subsample((2, 2), (first, count - before - first))
        for index in range(1, depth + 1):
            stride = 2 if index == 1 and stage > 1 else 1
            nodes += _block(f"res{stage}_{index}", nodes[-1].name, count, stride, shortcut)
        before = count
    if top:
        nodes += chain(nodes[-1].name, ("pool", GlobalAvgPool()), ("fc", Dense(classes)))
    parameters = dict(input_size=input_size, classes=classes, width=width, centred=centred, top=top)
    return Network(name, (3, input_size, input_size), tuple(nodes), parameters)


NETWORKS: dict[str, Callable[..., Network]] = {
    f"resnet{6 * depth + 2}": partial(_resnet, f"resnet{6 * depth + 2}", depth)
    for depth in (3, 5, 7, 9)
}


def infer(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Sizes from a dump's weight shapes."""
    found: dict[str, Any] = {"top": "fc" in shapes}
    if "conv1" in shapes:
        found["width"] = shapes["conv1"][0] / CHANNELS[0]
    if "fc" in shapes:
        found["classes"] = shapes["fc"][0]
    return found
