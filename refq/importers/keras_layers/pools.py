"""Pooling layers. Means count no zeros of the padding."""

from __future__ import annotations

from refq.importers.building import Value
from refq.importers.keras_fields import either
from refq.importers.keras_layers.layer import Layer


def pool(layer: Layer, axes: int) -> Value:
    value = layer.image(axes + 2)
    kernel = layer.whole("pool_size", "pool_length", axes=axes, default=2)
    strides = layer.whole("strides", "stride", axes=axes, default=list(kernel))
    padding = either(layer.facts, "padding", "border_mode", default="valid")
    if padding not in ("same", "valid") or min(*kernel, *strides) < 1:
        raise layer.refuse(
            f"pool_size {kernel}, strides {strides}, padding {padding}", "1 or more; same or valid"
        )
    kind = "MaxPool" if layer.kind.startswith("Max") else "AveragePool"
    pads = {"auto_pad": "SAME_UPPER"} if padding == "same" else {}
    return layer.builder.add(
        kind, layer.name, [value], value, kernel_shape=kernel, strides=strides, **pads
    )


def whole(layer: Layer, axes: int) -> Value:
    value = layer.image(axes + 2)
    kind = "GlobalMaxPool" if layer.kind.startswith("GlobalMax") else "GlobalAveragePool"
    made = layer.builder.add(kind, layer.name, [value], value)
    if layer.flag("keepdims", default=False):
        return made
    return layer.builder.add("Flatten", layer.name, [made], Value("", 2), axis=1)
