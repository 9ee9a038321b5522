"""How published models expect their images, as refq stores it with the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refq.data.preprocessing import Preprocessing
from refq.errors import unknown
from refq.importers.contents import Contents
from refq.networks import Network

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_DEVIATION = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class Rule:
    """(pixel - mean) / deviation, channel by channel. A deviation goes into the first layer, as
    refq's preprocessing has one scale for all channels. exact: the shorter side becomes 256."""

    channels: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    exact: bool = False


RULES = {
    "caffe": Rule("BGR", (104.0, 117.0, 123.0)),
    "keras": Rule("RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "keras-caffe": Rule("BGR", (103.939, 116.779, 123.68)),
    "matconvnet": Rule("RGB", (123.68, 116.779, 103.939), exact=True),
    "torchvision": Rule("RGB", IMAGENET_MEAN, IMAGENET_DEVIATION, exact=True),
    "inception": Rule("RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5), exact=True),
}


def chosen(name: str) -> Rule:
    """Raises OptionError for the name of a rule that published weights do not have."""
    if name not in RULES:
        raise unknown("preprocessing of a known network's weights", name, [*RULES])
    return RULES[name]


def usual(contents: Contents, network: Network) -> str:
    """The rule of the models that were published in that format."""
    if contents.source == "torch" or contents.producer == "pytorch":
        # torchvision's GoogLeNet brings its images from one rule to the other itself
        return "inception" if network.name == "googlenet_torchvision" else "torchvision"
    if contents.source == "keras" or "tf2onnx" in contents.producer:
        return "keras-caffe"
    return "matconvnet" if contents.source == "matconvnet" else "caffe"


def notes(contents: Contents, rule: str | None) -> tuple[str, ...]:
    """What the report says where nobody has named a rule."""
    if rule is not None:
        return ()
    if contents.mean:
        return ("the mean of the images is the file's; how they were scaled it does not say",)
    return ("the file does not say how images were prepared; --preprocessing changes it",)


def preprocessing(rule: Rule, contents: Contents, network: Network) -> Preprocessing:
    """The rule at the network's input size; a mean that the file states goes first."""
    _, rows, columns = network.input_shape
    side = min(rows, columns)
    longest = max(256, side)
    shortest = longest if rule.exact and side > 128 else side
    mean, scale = rule.mean, 1.0
    if contents.mean and rule == RULES.get(contents.source):
        red, green, blue = contents.mean
        mean = (blue, green, red) if rule.channels == "BGR" else (red, green, blue)
        scale = contents.scale
    mean = (round(mean[0], 6), round(mean[1], 6), round(mean[2], 6))
    return Preprocessing((rows, columns), (shortest, longest), rule.channels, mean, scale)


def rescaled(weight: np.ndarray, rule: Rule) -> np.ndarray:
    """The first layer's weights (O, 3, rows, columns) for images that nobody has divided."""
    deviation = np.asarray(rule.deviation).reshape(1, -1, 1, 1)
    return (weight / deviation).astype(np.float32)
