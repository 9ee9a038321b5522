"""Layers that models have in front, to make what they compute on of the user's images."""

from __future__ import annotations

from typing import Any

import numpy as np

from refq.importers.building import Value
from refq.importers.keras_layers.activations import scaled
from refq.importers.keras_layers.axes import cut
from refq.importers.keras_layers.layer import Layer

LEAST_DEVIATION = 1e-7  # keras.backend.epsilon()


def _numbers(layer: Layer, name: str, said: Any) -> np.ndarray:
    """Numbers of a field, which Keras 3 may write as {"class_name": "__numpy__", ...}."""
    if isinstance(said, dict) and isinstance(said.get("config"), dict):
        said = said["config"].get("value")
    try:
        made = np.array(said, np.float64)
    except (TypeError, ValueError):
        raise layer.refuse(f"{name} {said}", "numbers") from None
    if made.size > 1 << 24 or not np.isfinite(made).all():
        raise layer.refuse(f"{name} {said}", "finite numbers")
    return made


def _placed(layer: Layer, value: Value, array: np.ndarray) -> np.ndarray:
    """An array that is broadcast against the file's axes, against those that the value has here."""
    if array.ndim > value.rank:
        raise layer.refuse(f"numbers of shape {array.shape}", f"at most {value.rank} axes")
    whole = array.reshape((1,) * (value.rank - array.ndim) + array.shape)
    return whole.transpose(value.arranged(range(value.rank)))


def rescaling(layer: Layer) -> Value:
    value = layer.value
    scale = _numbers(layer, "scale", layer.facts.value("scale", 1.0))
    offset = _numbers(layer, "offset", layer.facts.value("offset", 0.0))
    return scaled(layer, value, _placed(layer, value, scale), _placed(layer, value, offset))


def normalization(layer: Layer) -> Value:
    """(x - mean) / deviation; its moments are fields, or arrays that it has been adapted to."""
    value, axis = layer.value, layer.facts.value("axis", -1)
    layer.facts.value("input_mean"), layer.facts.value("input_variance")
    mean, variance = (layer.facts.value(word) for word in ("mean", "variance"))
    if mean is None and not layer.stored:
        raise layer.refuse("no mean and variance", "a layer that has been adapted")
    if mean is not None:
        moments = {"mean": _numbers(layer, "mean", mean)}
        moments["variance"] = _numbers(layer, "variance", variance)
    else:
        moments = layer.arrays(["mean", "variance", "count"][: len(layer.stored)])
    axes = [] if layer.facts.fields.get("axis", -1) is None else axis
    axes = [axes] if type(axes) is int else axes
    if not isinstance(axes, list) or not all(type(each) is int for each in axes):
        raise layer.refuse(f"axis {axis}", "axes of an image")
    kept = {each % value.rank for each in axes}
    placed = {}
    for word in ("mean", "variance"):
        array = np.asarray(moments[word], np.float64)
        if array.ndim == len(kept):
            sizes = iter(array.shape)
            array = array.reshape([next(sizes) if i in kept else 1 for i in range(value.rank)])
        placed[word] = _placed(layer, value, array)
    deviation = np.maximum(np.sqrt(placed["variance"]), LEAST_DEVIATION)
    if layer.flag("invert", default=False):
        return scaled(layer, value, deviation, placed["mean"])
    return scaled(layer, value, 1 / deviation, -placed["mean"] / deviation)


def center_crop(layer: Layer) -> Value:
    """Of an input of the model, whose rows and columns are known."""
    value = layer.image(4)
    said, size = [], layer.sizes.get(layer.value.name, (None,) * 4)[2:]
    for word, length in zip(("height", "width"), size):
        (wanted,) = layer.whole(word, axes=1)
        if length is None or length < wanted:
            raise layer.refuse(f"cuts {wanted} of {length} {word}", "a known image that is larger")
        begin = (length - wanted) // 2
        said.append((begin, length - wanted - begin))
    return cut(layer, value, said)
