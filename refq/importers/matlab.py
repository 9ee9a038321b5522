"""What MatConvNet's networks look like in MATLAB, whichever file version holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Union

from refq.importers import matlab_graph
from refq.importers.contents import MOST, Contents, Tensor, Unit, refuse, stated_size
from refq.importers.matlab_graph import Layer
from refq.importers.stating import joined
from refq.networks.layers import Pair


@dataclass(frozen=True)
class Cell:
    items: list[Value]


@dataclass(frozen=True)
class Struct:
    """An array of structs, element after element."""

    elements: list[dict[str, Value]]


# a numeric array, text, a cell array, a struct array, or None for what is nothing of these
Value = Union[Tensor, str, Cell, Struct, None]


def padded(tensor: Tensor) -> Tensor:
    """Four dimensions again: MATLAB drops those of size 1 at the end."""
    return tensor.reshaped((*tensor.shape, 1, 1)[:4]) if len(tensor.shape) < 4 else tensor


def flat(tensor: Tensor) -> Tensor:
    """A row or column as a vector."""
    (size, *others) = [size for size in tensor.shape if size > 1] or [1]
    if others:
        raise refuse(f"an array of shape {tensor.shape}", "a row or a column")
    return tensor.reshaped((size,))


def network(variables: Mapping[str, Value]) -> tuple[Mapping[str, Value], list[Layer], str]:
    """(its fields, layers, how it was saved) of a network that was saved as its fields, or as one
    struct named net; SimpleNN or DagNN."""
    net = variables.get("net")
    if isinstance(net, Struct) and len(net.elements) == 1:
        variables = net.elements[0]
    layers, params = variables.get("layers"), variables.get("params")
    if isinstance(layers, Cell):
        return variables, _simple(layers), "SimpleNN"
    if isinstance(layers, Struct) and isinstance(params, (Struct, type(None))):
        return variables, _dag(layers, params or Struct([])), "DagNN"
    raise refuse(
        "no network in the file",
        "the fields layers (SimpleNN) or layers and params (DagNN)",
        "save it with save('-struct', 'net')",
    )


def contents(variables: Mapping[str, Value], form: str) -> Contents:
    variables, read, kind = network(variables)
    form = f"{form}, {kind}"
    read = [
        replace(layer, unit=_unit(layer.name, list(layer.arrays)) if layer.arrays else None)
        for layer in read
    ]
    stated = matlab_graph.stated(read, lambda value: value is None)
    units, graph = joined(stated)
    known = {each.name for each in stated}
    ignored = tuple(layer.name for layer in read if layer.name not in known)
    order = tuple(layer.name for layer in read)
    average, size = mean(variables), _size(variables)
    found = Contents("matconvnet", form, units, order, ignored, graph, mean=average, size=size)
    return replace(found, notes=told(variables, average, size))


def _unit(name: str, arrays: list[Tensor]) -> Unit:
    """Two arrays of a convolution, (rows, columns, inputs, outputs) and biases; three of a
    normalisation, gamma, beta and moments (O, 2), whose deviations already have eps in them."""
    if len(arrays) == 3:
        gamma, beta, moments = arrays
        if len(moments.shape) != 2 or moments.shape[1] != 2:
            raise refuse(f"{name}: moments of shape {moments.shape}", "(channels, 2)")
        roles = {"gamma": flat(gamma), "beta": flat(beta), "moments": moments}
        return Unit(name, roles, eps=0.0)
    roles = {"weight": padded(arrays[0]).transposed(3, 2, 0, 1)}
    if len(arrays) == 2:
        roles["bias"] = flat(arrays[1])
    elif len(arrays) != 1:
        raise refuse(f"{name}: a layer of {len(arrays)} arrays", "filters and biases")
    return Unit(name, roles)


def _text(fields: Mapping[str, Value], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _simple(layers: Cell) -> list[Layer]:
    found: list[Layer] = []
    for index, layer in enumerate(layers.items):
        if not isinstance(layer, Struct) or len(layer.elements) != 1:
            raise refuse(f"layer {index + 1} is no struct", "a SimpleNN network")
        fields = layer.elements[0]
        name = _text(fields, "name") or f"layer{index + 1}"
        weights = fields.get("weights")
        values = (
            weights.items
            if isinstance(weights, Cell)
            else [fields[key] for key in ("filters", "biases") if key in fields]
        )
        arrays = [value for value in values if isinstance(value, Tensor)]
        read, made = (f"x{index}",), (f"x{index + 1}",)
        found.append(Layer(name, _text(fields, "type"), fields, read, made, tuple(arrays)))
    return found


def _dag(layers: Struct, params: Struct) -> list[Layer]:
    values = {}
    for param in params.elements:
        if isinstance(param.get("value"), Tensor):
            values[_text(param, "name")] = param["value"]
    found: list[Layer] = []
    for layer in layers.elements:
        name = _text(layer, "name")
        parts = [values.get(each) for each in _texts(layer, "params") if each]
        arrays = [each for each in parts if isinstance(each, Tensor)]
        if len(arrays) < len(parts):
            raise refuse(f"{name}: parameters that are not in the file", "a complete network")
        block = layer.get("block")
        fields = block.elements[0] if isinstance(block, Struct) and block.elements else {}
        read, made = _texts(layer, "inputs"), _texts(layer, "outputs")
        found.append(Layer(name, _text(layer, "type"), fields, read, made, tuple(arrays)))
    return found


def _texts(fields: Mapping[str, Value], key: str) -> tuple[str, ...]:
    """One name, or a cell of names."""
    value = fields.get(key)
    listed = [value] if isinstance(value, str) else getattr(value, "items", [])
    return tuple(each for each in listed if isinstance(each, str))


def normalization(variables: Mapping[str, Value]) -> Mapping[str, Value]:
    """meta.normalization, how images are prepared."""
    meta = variables.get("meta")
    inside = meta.elements[0] if isinstance(meta, Struct) and meta.elements else variables
    rule = inside.get("normalization")
    return rule.elements[0] if isinstance(rule, Struct) and rule.elements else {}


def _size(variables: Mapping[str, Value]) -> Pair | None:
    """Rows and columns of imageSize."""
    stated = normalization(variables).get("imageSize")
    if not isinstance(stated, Tensor) or math.prod(stated.shape) not in (2, 3, 4):
        return None
    rows, columns, *more = (int(each) for each in stated.load().reshape(-1))
    return stated_size(more[0] if more else 0, rows, columns)


def mean(variables: Mapping[str, Value]) -> tuple[float, float, float] | None:
    """meta.normalization.averageImage, RGB: three values, or the mean of an image."""
    image = normalization(variables).get("averageImage")
    if not isinstance(image, Tensor) or (image.shape[-1] != 3 and 3 not in image.shape[:1]):
        return None
    values = image.load()
    values = values.reshape(-1, 3) if image.shape[-1] == 3 else values.reshape(3, -1).T
    red, green, blue = values.astype(float).mean(axis=0).tolist()
    return red, green, blue


# of training, and what is read
UNTOLD = {"imageSize", "averageImage", "rgbVariance", "transformation", "numAugments", "roi"}


def told(
    variables: Mapping[str, Value], mean: tuple[float, ...] | None, size: Pair | None
) -> tuple[str, ...]:
    """A note of what meta.normalization states and refq's preprocessing may not do: the shorter
    side resized to 256 by a bicubic filter, then the middle."""
    rule, said = normalization(variables), []
    same = {"interpolation": "bicubic", "keepAspect": [1.0], "cropSize": [1.0]}
    if size is not None and max(size) > 128:
        same["border"] = [float(max(0, 256 - side)) for side in size]
    for name, value in rule.items():
        plain = _plain(value)
        if name == "averageImage" and mean is None and value is not None:
            said.append("an averageImage of another kind")
        elif name not in UNTOLD and plain != [] and plain != same.get(name):
            shown = plain if isinstance(plain, str) else " ".join(f"{each:g}" for each in plain)
            said.append(f"{name} {shown}".strip())
    line = f"meta.normalization states {', '.join(said)}; --preprocessing has to say the same"
    return (line,) if said else ()


def _plain(value: Value) -> str | list[float]:
    """A text, or a few numbers."""
    if isinstance(value, str):
        return value
    if isinstance(value, Tensor):
        few = math.prod(value.shape) <= 4
        return [float(each) for each in value.load().reshape(-1)] if few else "of many numbers"
    return [] if value is None else "of several parts"


def counted(count: int) -> None:
    if count > MOST:
        raise refuse(f"more than {MOST} parts", "a network")
