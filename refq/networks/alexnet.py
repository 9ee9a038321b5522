"""AlexNet (Krizhevsky et al. 2012) in the forms whose weights were published.

| Name | Order | Groups | Channels |
|---|---|---|---|
| alexnet (Caffe's bvlc_alexnet) | ReLU, LRN, pool | 2 | 96 256 384 384 256 |
| caffenet (bvlc_reference_caffenet) | ReLU, pool, LRN | 2 | as above |
| alexnet_onnx (ONNX model zoo, 224x224) | as alexnet; pool1, pool2 round down | 2 | as above |
| alexnet_matconvnet (batch normalisation, folded) | ReLU, pool | 2 | as above |
| alexnet_torchvision ("one weird trick", Krizhevsky 2014) | ReLU, pool | 1 | 64 192 384 256 256 |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from refq.networks.graph import INPUT, Network, chain, scaled
from refq.networks.layers import LRN, Conv, Dense, Layer, MaxPool, ReLU, Shape

CHANNELS = (96, 256, 384, 384, 256)
TORCHVISION_CHANNELS = (64, 192, 384, 256, 256)


def _grouped(
    name: str,
    after_relu: tuple[str, ...],
    ceil_mode: bool,
    input_size: int = 227,
    classes: int = 1000,
    width: float = 1.0,
    hidden: int = 4096,
    stem_stride: int = 4,
    stem_pad: int = 0,
    top: bool = True,
) -> Network:
    """The two groups of the original. after_relu: what follows conv1 and conv2, norm and pool in
    some order; ceil_mode: of these pools. stem_stride and stem_pad fit conv1 to small images."""
    # a multiple of two channels, so that the groups of the next layer divide them
    channels = tuple(2 * scaled(count // 2, width) for count in CHANNELS)
    known: dict[str, Layer] = {"norm": LRN(), "pool": MaxPool((3, 3), (2, 2), ceil_mode=ceil_mode)}
    after = {kind: known[kind] for kind in after_relu}
    stem = Conv(channels[0], (11, 11), (stem_stride, stem_stride), (stem_pad,) * 4)
    parameters = dict(
        input_size=input_size,
        classes=classes,
        width=width,
        hidden=hidden,
        stem_stride=stem_stride,
        stem_pad=stem_pad,
        top=top,
    )
    return _alexnet(name, channels, 2, stem, after, True, parameters)


def _torchvision(
    input_size: int = 224,
    classes: int = 1000,
    width: float = 1.0,
    hidden: int = 4096,
    top: bool = True,
) -> Network:
    """No groups, no LRN, other channels, a padding of 2 at conv1, pools that round down.

    Its adaptive 6x6 pooling is left out, so input_size decides what fc6 reads; at 224 they agree.
    """
    channels = tuple(scaled(count, width) for count in TORCHVISION_CHANNELS)
    stem = Conv(channels[0], (11, 11), (4, 4), (2, 2, 2, 2))
    parameters = dict(input_size=input_size, classes=classes, width=width, hidden=hidden, top=top)
    after: dict[str, Layer] = {"pool": MaxPool((3, 3), (2, 2))}
    return _alexnet("alexnet_torchvision", channels, 1, stem, after, False, parameters)


def _alexnet(
    name: str,
    channels: tuple[int, ...],
    group: int,
    stem: Conv,
    after: Mapping[str, Layer],
    ceil_mode: bool,
    parameters: Mapping[str, Any],
) -> Network:
    """Five convolutions and, unless parameters say top False, fc6, fc7 and fc8. after: what
    follows the ReLUs of conv1 and conv2, by what its name begins with. ceil_mode: of pool5."""

    def conv(index: int, side: int, group: int = 1) -> Conv:
        pad = side // 2
        return Conv(channels[index - 1], (side, side), pads=(pad, pad, pad, pad), group=group)

    steps: list[tuple[str, Layer]] = [("conv1", stem), ("relu1", ReLU())]
    steps += [(f"{kind}1", layer) for kind, layer in after.items()]
    steps += [("conv2", conv(2, 5, group)), ("relu2", ReLU())]
    steps += [(f"{kind}2", layer) for kind, layer in after.items()]
    steps += [("conv3", conv(3, 3)), ("relu3", ReLU())]
    steps += [("conv4", conv(4, 3, group)), ("relu4", ReLU())]
    steps += [("conv5", conv(5, 3, group)), ("relu5", ReLU())]
    steps.append(("pool5", MaxPool((3, 3), (2, 2), ceil_mode=ceil_mode)))
    if parameters["top"]:
        hidden = parameters["hidden"]
        steps += [("fc6", Dense(hidden)), ("relu6", ReLU()), ("fc7", Dense(hidden))]
        steps += [("relu7", ReLU()), ("fc8", Dense(parameters["classes"]))]
    size = parameters["input_size"]
    return Network(name, (3, size, size), tuple(chain(INPUT, *steps)), dict(parameters))


NETWORKS: dict[str, Callable[..., Network]] = {
    "alexnet": partial(_grouped, "alexnet", ("norm", "pool"), True),
    "alexnet_onnx": partial(_grouped, "alexnet_onnx", ("norm", "pool"), False, input_size=224),
    "caffenet": partial(_grouped, "caffenet", ("pool", "norm"), True),
    "alexnet_matconvnet": partial(_grouped, "alexnet_matconvnet", ("pool",), True),
    "alexnet_torchvision": _torchvision,
}


def infer(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Sizes from a dump's weight shapes; conv1's stride and padding are the original's."""
    found: dict[str, Any] = {"top": any(name.startswith("fc") for name in shapes)}
    # with two groups conv2 reads half of the channels
    whole = "conv1" in shapes and "conv2" in shapes and shapes["conv2"][1:2] == shapes["conv1"][:1]
    if "conv1" in shapes:
        found["width"] = shapes["conv1"][0] / (TORCHVISION_CHANNELS if whole else CHANNELS)[0]
    if "fc6" in shapes and "conv5" in shapes:
        found["hidden"] = shapes["fc6"][0]
        side = math.isqrt(shapes["fc6"][-1] // max(1, shapes["conv5"][0]))
        # three 3x3/2 pools without padding undone, 6 -> 55, then conv1 11x11/4: 227, or 224 with
        # torchvision's padding
        rows = 2 * (2 * (2 * side + 1) + 1) + 1
        found["input_size"] = 4 * (rows - 1) + (8 if whole else 11)
    if "fc8" in shapes:
        found["classes"] = shapes["fc8"][0]
    return found
