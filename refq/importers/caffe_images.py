"""How the images of a .caffemodel are made: their size, their mean and scale, and what else its
data layers state of them."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import Any

from refq.importers.caffe_layer import Layer, Net
from refq.importers.caffe_messages import UNREAD, Values
from refq.importers.contents import refuse, stated_size
from refq.networks.layers import Pair

# what data layers state of images in, old ones by themselves
PREPARING = ("transform_param", "data_param", "image_data_param", "window_data_param")
COLOURS = {"force_color", "force_gray", "is_color"}
MESSAGES = (*PREPARING, "input_param", "memory_data_param")
# the size is told elsewhere; others are of where images lie, or of training alone
WITHOUT_EFFECT = {
    "crop_size",
    "mirror",
    "source",
    "batch_size",
    "rand_skip",
    "shuffle",
    "backend",
    "force_color",
    "force_encoded_color",
    "prefetch",
    "root_folder",
    "fg_threshold",
    "bg_threshold",
    "fg_fraction",
    "cache_images",
}


def shapes(net: Net, layers: Sequence[Layer]) -> list[list[int]]:
    """What is stated of the image's shape, (N, C, H, W), 0 for what is open: by an input of the
    network, an Input layer, or a crop. layers: those that give images."""
    found = [net.shape(0)]
    for layer in layers[:1]:
        found += layer.parameters.get("input_param", {}).get("shape", [])[:1]
    for layer in layers:
        memory = layer.facts("memory_data_param").fields
        sizes = (memory.get(key, [0])[-1] for key in ("channels", "height", "width"))
        found.append([memory.get("batch_size", [1])[-1], *sizes])
        for message in PREPARING:
            crop = layer.facts(message).fields.get("crop_size", [0])[-1]
            found.append([1, 0, crop, crop])
    return found


def size(net: Net, layers: Sequence[Layer]) -> Pair | None:
    """Rows and columns. layers: those that give images."""
    for shape in shapes(net, layers):
        if len(shape) >= 4 and (found := stated_size(shape[1], shape[2], shape[3])):
            return found
    return None


def prepared(
    layers: Sequence[Layer],
) -> tuple[tuple[float, float, float] | None, float, tuple[str, ...]]:
    """(mean of the images, R, G, B, where a data layer states it; their scale; notes)."""
    for layer in layers:
        said = _said(layer)
        if said.get("force_gray", [0])[-1] or not said.get("is_color", [1])[-1]:
            raise refuse(f"{layer.name}: states images without colours", "images of 3 channels")
        mean, scale = said.get("mean_value", []), said.get("scale", [1.0])[-1]
        usable = len(mean) in (1, 3)
        rest = said.keys() - COLOURS
        rest -= {"mean_value", "scale"} if usable else set()
        if scale == 1.0:
            rest -= {"scale"}
        notes = _notes(layer, rest)
        if usable:
            return (mean[-1], mean[len(mean) // 2], mean[0]), scale, notes
        if notes:
            return None, 1.0, notes
    return None, 1.0, ()


def preprocessing(
    layers: Sequence[Layer], image: Sequence[int]
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """(refq's Preprocessing as JSON, where a data layer states all of it; notes of what is stated
    besides). image: the shape of the input."""
    for layer in layers:
        said = _said(layer)
        mean, scale = said.get("mean_value", []), said.get("scale", [1.0])[-1]
        changing = said.keys() - COLOURS
        if not changing or (changing == {"scale"} and scale == 1.0):
            continue
        channels = {1: "GRAY", 3: "BGR"}.get(image[1]) if len(image) == 4 else None
        finite = all(map(math.isfinite, (*mean, scale))) and scale != 0
        if channels is None or len(mean) not in (0, 1, image[1]) or not finite:
            return None, _notes(layer, changing)
        if changing - {"mean_value", "scale"}:
            return None, _notes(layer, changing)
        crop = (image[2], image[3])
        side = min(crop)
        rule = {"crop": crop, "shorter": (side, max(256, side)), "channels": channels}
        return {**rule, "mean": tuple(mean or [0.0]), "scale": scale}, ()
    return None, ()


def _said(layer: Layer) -> Values:
    """What a data layer states of its images."""
    return {
        name: values
        for message in PREPARING
        for name, values in layer.facts(message).fields.items()
        if name not in WITHOUT_EFFECT
    }


def _notes(layer: Layer, names: Set[str]) -> tuple[str, ...]:
    said = _said(layer)
    told = ", ".join(_told(name, values) for name, values in said.items() if name in names)
    return (f"{layer.name} states {told}; --preprocessing has to say the same",) if told else ()


def _told(name: str, values: Sequence[float]) -> str:
    """A field with its numbers; of texts it is known that they are there."""
    if name in UNREAD:
        return f"a {name}"
    return f"a {name} of {', '.join(f'{value:g}' for value in values)}"
