"""Layers that move values and add none but zeros: shapes, orders of axes, borders, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refq.importers.building import END, Value
from refq.importers.keras_layers.layer import Layer
from refq.networks.layers import Pair


def flatten(layer: Layer) -> Value:
    """Values as they lie; where it says that channels are first, they are brought to the end."""
    value = layer.as_last()
    if value.rank > 2 and layer.channels_first:
        axes = (0, *range(2, value.rank), 1)
        value = layer.builder.add("Transpose", layer.name, [value], value, perm=axes)
    return layer.builder.add("Flatten", layer.name, [value], Value("", 2), axis=1)


def reshape(layer: Layer) -> Value:
    said = layer.facts.value("target_shape", layer.facts.value("dims"))
    good = isinstance(said, list) and 0 < len(said) < 8
    if not good or not all(type(size) is int and (size == -1 or size > 0) for size in said):
        raise layer.refuse(f"target_shape {said}", "a list of sizes")
    return layer.builder.reshape(layer.name, layer.as_last(), [0, *said])


def permute(layer: Layer) -> Value:
    value, said = layer.as_last(), layer.facts.value("dims")
    if not isinstance(said, list) or sorted(map(str, said)) != [*map(str, range(1, value.rank))]:
        raise layer.refuse(f"dims {said}", f"1 to {value.rank - 1} in any order")
    axes = (0, *map(int, said))
    return layer.builder.add("Transpose", layer.name, [value], value, perm=axes)


def repeat(layer: Layer) -> Value:
    """A vector so many times, as rows."""
    (count,) = layer.whole("n", axes=1, default=1)
    builder, name = layer.builder, layer.name
    rows = builder.reshape(name, layer.as_last(), [0, 1, -1])
    sizes = builder.constant(np.array([1, count, 1]), f"{name}/repeats")
    return builder.add("Tile", name, [rows, sizes], rows)


def pad(layer: Layer, axes: int) -> Value:
    value = layer.image(axes + 2)
    said = layer.sides(axes, "padding", default=1)
    pads = [0, 0, *(before for before, _ in said), 0, 0, *(after for _, after in said)]
    sizes = layer.builder.constant(np.array(pads), f"{layer.name}/pads")
    return layer.builder.add("Pad", layer.name, [value, sizes], value, mode="constant")


def crop(layer: Layer, axes: int) -> Value:
    value = layer.image(axes + 2)
    said = layer.sides(axes, "cropping", default=1)
    return cut(layer, value, said)


def cut(layer: Layer, value: Value, said: Sequence[Pair]) -> Value:
    """Without so many values at both ends of the axes behind the channels."""
    begins = [0, 0, *(before for before, _ in said)]
    ends = [END, END, *(-after if after else END for _, after in said)]
    return layer.builder.slice(layer.name, value, begins, ends)


# ONNX's words for how TensorFlow 2 resizes: centres of pixels, halves up
RESIZED: dict[str, dict[str, Any]] = {
    "nearest": {
        "mode": "nearest",
        "coordinate_transformation_mode": "half_pixel",
        "nearest_mode": "round_prefer_ceil",
    },
    "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
}
# each pixel so many times
REPEATED = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}


def enlarge(layer: Layer, axes: int) -> Value:
    value = layer.image(axes + 2)
    factors = layer.whole("size", "length", axes=axes, default=2)
    how = str(layer.facts.value("interpolation", "nearest"))
    if how not in RESIZED or min(factors) < 1:
        raise layer.refuse(f"interpolation {how}, size {factors}", "nearest or bilinear, 1 or more")
    scales = layer.builder.constant(np.array([1, 1, *factors], np.float32), f"{layer.name}/scales")
    words = REPEATED if how == "nearest" else RESIZED[how]
    nothing = Value("", 0)
    return layer.builder.add("Resize", layer.name, [value, nothing, scales], value, **words)


def resize(layer: Layer) -> Value:
    """To a stated size, as a layer that prepares images."""
    value = layer.image(4)
    size = [layer.whole(word, axes=1)[0] for word in ("height", "width")]
    how = str(layer.facts.value("interpolation", "bilinear"))
    words = ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio")
    strange = [word for word in words if layer.flag(word, default=False)]
    if how not in RESIZED or strange or min(size) < 1:
        what = strange[0] if strange else f"interpolation {how} to {size}"
        raise layer.refuse(what, "nearest or bilinear, of the whole image")
    layer.facts.value("fill_mode"), layer.facts.value("fill_value")
    nothing = Value("", 0)
    batch = layer.builder.constant(np.array(size), f"{layer.name}/size")
    return layer.builder.add(
        "Resize", layer.name, [value, nothing, nothing, batch], value, axes=(2, 3), **RESIZED[how]
    )
