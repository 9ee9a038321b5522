"""Which preprocessing: what the weights state, what published models expect, or a user's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refq.data.preprocessing import Preprocessing, from_json
from refq.errors import OptionError, unknown
from refq.files import json_
from refq.networks.layers import Shape

# images are usually scaled to a little more than is cut out of them: 256 to 224
WIDER = (8, 7)
WANTED = "an object of crop, shorter, channels, mean, scale, resize, filter"


@dataclass(frozen=True)
class Preset:
    """Channels, means and scales that models of one origin have."""

    channels: str = "RGB"
    mean: tuple[float, ...] = (0.0,)
    scale: float | tuple[float, ...] = 1.0


RAW = Preset()
PRESETS = {
    "caffe": Preset("BGR", (104.0, 117.0, 123.0)),
    # x / 127.5 - 1, as Keras' MobileNets and Inceptions
    "keras": Preset(mean=(127.5,), scale=1 / 127.5),
    # as Keras' VGGs and ResNets
    "keras-caffe": Preset("BGR", (103.939, 116.779, 123.68)),
    "inception": Preset(mean=(127.5,), scale=1 / 127.5),
    "mxnet": Preset(mean=(123.68, 116.779, 103.939)),
    "matconvnet": Preset(mean=(123.68, 116.779, 103.939)),
    # (x / 255 - mean) / deviation
    "torchvision": Preset(
        mean=(255 * 0.485, 255 * 0.456, 255 * 0.406),
        scale=(1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
    ),
    "unit": Preset(scale=1 / 255),
    "raw": RAW,
    "none": RAW,
}
# what leaves arrays as they are
UNCHANGED = ("raw", "none")


def caffe(input_shape: Shape) -> Preprocessing:
    """What Caffe's ImageNet models expect: BGR minus (104, 117, 123), shorter side at most 256."""
    crop = (input_shape[1], input_shape[2])
    side = min(crop)
    return Preprocessing(crop, (side, max(256, side)), "BGR", (104.0, 117.0, 123.0))


def named(name: str, input_shape: Shape) -> Preprocessing:
    """A preset for a network's input, (C, rows, columns).

    Of an image as much is cut out as the network reads, once its shorter side is between that
    and 8/7 of it. Raises OptionError for a preset of three channels where the network has others.
    """
    if name == "caffe" and input_shape[0] == 3:
        return caffe(input_shape)
    preset = PRESETS[name]
    channels = {1: "GRAY", 3: preset.channels}.get(input_shape[0], "stored")
    if input_shape[0] != 3 and len(preset.mean) == 3:
        able = [each for each, other in PRESETS.items() if len(other.mean) == 1]
        raise OptionError(
            f"preprocessing {name} for {input_shape[0]} channel{'s' * (input_shape[0] != 1)}",
            f"{', '.join(able)} or a JSON file",
        )
    return Preprocessing(
        **_geometry(input_shape), channels=channels, mean=preset.mean, scale=preset.scale
    )


def _geometry(input_shape: Shape) -> dict[str, Any]:
    """The crop and the bounds of the shorter side that go with an input."""
    rows, columns = (1, 1, *input_shape[1:])[-2:]
    side = min(rows, columns)
    return {"crop": (rows, columns), "shorter": (side, side * WIDER[0] // WIDER[1])}


def asked(text: str, input_shape: Shape) -> Preprocessing:
    """What a user asks for: the name of a preset, or a JSON file with some or all of its keys."""
    if text in PRESETS:
        return named(text, input_shape)
    if not text.lower().endswith(".json") and not Path(text).exists():
        raise unknown("preprocessing", text, [*PRESETS, "FILE.json"])
    stored = json_.load(text, "preprocessing", OptionError, WANTED)
    if not isinstance(stored, dict):
        raise OptionError(f"{text}: no object", WANTED)
    usual = {**_geometry(input_shape), "channels": _channels(input_shape)}
    try:
        return fitting(from_json({**usual, **stored}), input_shape)
    except OptionError as error:
        raise OptionError(f"{text}: {error.found}", error.wanted) from None


def _channels(input_shape: Shape) -> str:
    return {1: "GRAY", 3: "RGB"}.get(input_shape[0], "stored")


def fitting(rule: Preprocessing, input_shape: Shape) -> Preprocessing:
    """The rule. Raises OptionError where its inputs are not of the network's shape."""
    crop = _geometry(input_shape)["crop"]
    if rule.crop != crop:
        raise OptionError(f"crop {rule.crop}", f"the network's {crop}")
    channels, parts = input_shape[0], {len(rule.mean), len(rule.scales)}
    if rule.count not in (0, channels) or not parts <= {1, channels}:
        raise OptionError(
            f"{rule.values} for {channels} channel{'s' * (channels != 1)}",
            f"channels {_channels(input_shape)}, with one mean and scale or one a channel",
        )
    return rule


def for_network(
    metadata: Mapping[str, Any], input_shape: Shape, source: str = "weights", default: str = "caffe"
) -> Preprocessing:
    """What a weight file states, else a preset.

    source: the file's name. Raises OptionError where what it states is none, or is of another size
    than the network's.
    """
    stored = metadata.get("preprocessing")
    if stored is None:
        return named(default, input_shape)
    try:
        return fitting(from_json(stored), input_shape)
    except OptionError as error:
        raise OptionError(
            f"{source}: attribute 'preprocessing': {error.found}", error.wanted
        ) from None
