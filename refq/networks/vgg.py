"""VGG-16 and VGG-19 (Simonyan and Zisserman 2015, configurations D and E)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from refq.networks.graph import INPUT, Network, chain, scaled
from refq.networks.layers import Conv, Dense, Layer, MaxPool, ReLU, Shape

CHANNELS = (64, 128, 256, 512, 512)


def _vgg(
    name: str,
    depths: tuple[int, ...],
    input_size: int = 224,
    classes: int = 1000,
    width: float = 1.0,
    hidden: int = 4096,
    top: bool = True,
) -> Network:
    """Five blocks of 3x3 convolutions, each ended by a 2x2 max pool, then fc6, fc7, fc8.

    width scales the convolutions' channels, hidden is the size of fc6 and fc7,
    top False stops after pool5.
    """
    steps: list[tuple[str, Layer]] = []
    for block, (channels, depth) in enumerate(zip(CHANNELS, depths, strict=True), start=1):
        for index in range(1, depth + 1):
            conv = Conv(scaled(channels, width), (3, 3), pads=(1, 1, 1, 1))
            steps += [(f"conv{block}_{index}", conv), (f"relu{block}_{index}", ReLU())]
        steps.append((f"pool{block}", MaxPool((2, 2), (2, 2))))
    if top:
        steps += [("fc6", Dense(hidden)), ("relu6", ReLU())]
        steps += [("fc7", Dense(hidden)), ("relu7", ReLU()), ("fc8", Dense(classes))]
    parameters = dict(input_size=input_size, classes=classes, width=width, hidden=hidden, top=top)
    return Network(name, (3, input_size, input_size), tuple(chain(INPUT, *steps)), parameters)


NETWORKS: dict[str, Callable[..., Network]] = {
    "vgg16": partial(_vgg, "vgg16", (2, 2, 3, 3, 3)),
    "vgg19": partial(_vgg, "vgg19", (2, 2, 4, 4, 4)),
}


def infer(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Sizes from a dump's weight shapes; layers that are missing keep their defaults."""
    found: dict[str, Any] = {"top": any(name.startswith("fc") for name in shapes)}
    if "conv1_1" in shapes:
        found["width"] = shapes["conv1_1"][0] / CHANNELS[0]
    if "fc6" in shapes and "conv5_1" in shapes:
        found["hidden"] = shapes["fc6"][0]
        found["input_size"] = 32 * math.isqrt(shapes["fc6"][-1] // max(1, shapes["conv5_1"][0]))
    if "fc8" in shapes:
        found["classes"] = shapes["fc8"][0]
    return found
