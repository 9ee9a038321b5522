"""SqueezeNet 1.0 and 1.1 (Iandola et al. 2016): fire modules, no dense layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from refq.networks.graph import INPUT, Network, Node, chain, scaled
from refq.networks.layers import Concat, Conv, GlobalAvgPool, MaxPool, ReLU, Shape

# squeeze channels of fire2..fire9; each expand layer has four times as many
SQUEEZE = (16, 16, 32, 32, 48, 48, 64, 64)


def _fire(name: str, source: str, squeeze: int) -> list[Node]:
    """Squeeze 1x1, then expand 1x1 and 3x3 side by side, joined channel after channel."""
    nodes = chain(
        source, (f"{name}/squeeze1x1", Conv(squeeze, (1, 1))), (f"{name}/relu_squeeze1x1", ReLU())
    )
    branches = []
    for side, pad in ((1, 0), (3, 1)):
        conv = Conv(4 * squeeze, (side, side), pads=(pad, pad, pad, pad))
        tag = f"expand{side}x{side}"
        nodes += chain(
            f"{name}/relu_squeeze1x1", (f"{name}/{tag}", conv), (f"{name}/relu_{tag}", ReLU())
        )
        branches.append(f"{name}/relu_{tag}")
    return [*nodes, Node(f"{name}/concat", Concat(), tuple(branches))]


def _squeezenet(
    name: str,
    stem: tuple[int, int],
    pools_after: tuple[int, ...],
    input_size: int = 227,
    classes: int = 1000,
    width: float = 1.0,
    stem_stride: int = 2,
    top: bool = True,
) -> Network:
    """conv1 without padding, 3x3/2 max pools in ceil mode after conv1 and the given fires,
    conv10 1x1, logits = global average of relu(conv10). top False stops after fire9."""
    channels, kernel = stem
    pool = MaxPool((3, 3), (2, 2), ceil_mode=True)
    nodes = chain(
        INPUT,
        ("conv1", Conv(scaled(channels, width), (kernel, kernel), (stem_stride, stem_stride))),
        ("relu_conv1", ReLU()),
        ("pool1", pool),
    )
    for index, squeeze in enumerate(SQUEEZE, start=2):
        nodes += _fire(f"fire{index}", nodes[-1].name, scaled(squeeze, width))
        if index in pools_after:
            nodes += chain(nodes[-1].name, (f"pool{index}", pool))
    if top:
        nodes += chain(
            nodes[-1].name,
            ("conv10", Conv(classes, (1, 1))),
            ("relu_conv10", ReLU()),
            ("pool10", GlobalAvgPool()),
        )
    parameters = dict(
        input_size=input_size, classes=classes, width=width, stem_stride=stem_stride, top=top
    )
    return Network(name, (3, input_size, input_size), tuple(nodes), parameters)


NETWORKS: dict[str, Callable[..., Network]] = {
    "squeezenet1_0": partial(_squeezenet, "squeezenet1_0", (96, 7), (4, 8)),
    "squeezenet1_1": partial(_squeezenet, "squeezenet1_1", (64, 3), (3, 5)),
}


def infer(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Sizes from a dump's weight shapes."""
    found: dict[str, Any] = {"top": "conv10" in shapes}
    if "fire2/squeeze1x1" in shapes:
        found["width"] = shapes["fire2/squeeze1x1"][0] / SQUEEZE[0]
    if "conv10" in shapes:
        found["classes"] = shapes["conv10"][0]
    return found
