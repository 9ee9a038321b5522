"""Layers of several tensors."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np

from refq.importers.building import Value
from refq.importers.keras_fields import either
from refq.importers.keras_layers.layer import Layer

ELEMENTWISE = {
    "Add": "Add",
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Average": "Add",
    "Maximum": "Max",
    "Minimum": "Min",
}
MODES = {  # of Keras 1's Merge
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
}


def elementwise(layer: Layer) -> Value:
    kind, values = ELEMENTWISE[layer.kind], _of_one_rank(layer)
    if len(values) < 2 or (layer.kind == "Subtract" and len(values) > 2):
        raise layer.refuse(
            f"{len(values)} inputs", "2" if layer.kind == "Subtract" else "2 or more"
        )
    builder, name = layer.builder, layer.name
    made = reduce(lambda one, other: builder.add(kind, name, [one, other], one), values)
    if layer.kind == "Average":
        made = builder.binary("Mul", name, made, 1 / len(values))
    return made


def _of_one_rank(layer: Layer) -> list[Value]:
    """Tensors of fewer axes get axes of size 1 behind the batch's, as Keras adds them."""
    builder = layer.builder
    if not layer.values:
        raise layer.refuse("no inputs", "2 or more")
    rank = max(value.rank for value in layer.values)
    turned = any(value.turned for value in layer.values)
    raised = []
    for value in layer.values:
        missing = rank - value.rank
        if missing:
            short = builder.last(value)
            # of a vector the channels are second both before and after
            behind = turned and short.rank == 2
            begin = 2 if behind else 1
            axes = builder.constant(np.arange(begin, begin + missing), f"{layer.name}/axes")
            like = Value("", rank, turned=behind)
            value = builder.add("Unsqueeze", layer.name, [short, axes], like)
        raised.append(value)
    return builder.alike(raised)


def concat(layer: Layer) -> Value:
    axis = either(layer.facts, "axis", "concat_axis", default=-1)
    values = layer.builder.alike(layer.values)
    if type(axis) is not int or len({value.rank for value in values}) != 1:
        raise layer.refuse(f"axis {axis} of {len(values)} inputs", "one axis of equal tensors")
    place = values[0].axis(axis)
    if place == 0:
        raise layer.refuse(f"axis {axis}, the batch's", "an axis of an image")
    return layer.builder.add("Concat", layer.name, values, values[0], axis=place)


def merge(layer: Layer) -> Value:
    """Keras 1's."""
    mode = layer.facts.value("mode", "sum")
    for word in ("mode_type", "dot_axes", "output_shape", "output_shape_type", "output_mask"):
        layer.facts.value(word)
    layer.facts.value("output_mask_type"), layer.facts.value("arguments")
    layer.facts.value("concat_axis")
    if mode == "concat":
        return concat(layer)
    if mode not in MODES:
        raise layer.refuse(f"mode {mode}", f"{', '.join(MODES)} or concat")
    return elementwise(replace(layer, kind=MODES[mode]))
