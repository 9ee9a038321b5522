"""What MatConvNet's networks look like in MATLAB, whichever file version holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

from refq.importers.contents import MOST, Contents, Tensor, Unit, refuse


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


def contents(variables: Mapping[str, Value], form: str) -> Contents:
    """A network saved as its fields, or as one struct named net; SimpleNN or DagNN."""
    net = variables.get("net")
    if isinstance(net, Struct) and len(net.elements) == 1:
        variables = net.elements[0]
    layers, params = variables.get("layers"), variables.get("params")
    if isinstance(layers, Cell):
        units, order = _simple(layers)
        form = f"{form}, SimpleNN"
    elif isinstance(params, Struct) and isinstance(layers, Struct):
        units, order = _dag(layers, params)
        form = f"{form}, DagNN"
    else:
        raise refuse(
            "no network in the file",
            "the fields layers (SimpleNN) or layers and params (DagNN)",
            "save it with save('-struct', 'net')",
        )
    mean = _mean(variables)
    return Contents("matconvnet", form, units, tuple(order), mean=mean)


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


def _simple(layers: Cell) -> tuple[dict[str, Unit], list[str]]:
    units: dict[str, Unit] = {}
    order: list[str] = []
    for index, layer in enumerate(layers.items):
        if not isinstance(layer, Struct) or len(layer.elements) != 1:
            raise refuse(f"layer {index + 1} is no struct", "a SimpleNN network")
        fields = layer.elements[0]
        name = _text(fields, "name") or f"layer{index + 1}"
        order.append(name)
        weights = fields.get("weights")
        values = (
            weights.items
            if isinstance(weights, Cell)
            else [fields[key] for key in ("filters", "biases") if key in fields]
        )
        arrays = [value for value in values if isinstance(value, Tensor)]
        if arrays:
            if name in units:
                raise refuse(f"two layers named {name}", "a name for each")
            units[name] = _unit(name, arrays)
    return units, order


def _dag(layers: Struct, params: Struct) -> tuple[dict[str, Unit], list[str]]:
    values = {}
    for param in params.elements:
        if isinstance(param.get("value"), Tensor):
            values[_text(param, "name")] = param["value"]
    units: dict[str, Unit] = {}
    order: list[str] = []
    for layer in layers.elements:
        name, wanted = _text(layer, "name"), layer.get("params")
        order.append(name)
        names = [wanted] if isinstance(wanted, str) else getattr(wanted, "items", [])
        found = [values.get(each) for each in names if isinstance(each, str) and each]
        arrays = [each for each in found if isinstance(each, Tensor)]
        if len(arrays) < len(found):
            raise refuse(f"{name}: parameters that are not in the file", "a complete network")
        if arrays:
            units[name] = _unit(name, arrays)
    return units, order


def _mean(variables: Mapping[str, Value]) -> tuple[float, float, float] | None:
    """meta.normalization.averageImage, RGB: three values, or the mean of an image."""
    meta = variables.get("meta")
    inside = meta.elements[0] if isinstance(meta, Struct) and meta.elements else variables
    rule = inside.get("normalization")
    image = (
        rule.elements[0].get("averageImage") if isinstance(rule, Struct) and rule.elements else None
    )
    if not isinstance(image, Tensor) or (image.shape[-1] != 3 and 3 not in image.shape[:1]):
        return None
    values = image.load()
    values = values.reshape(-1, 3) if image.shape[-1] == 3 else values.reshape(3, -1).T
    red, green, blue = values.astype(float).mean(axis=0).tolist()
    return red, green, blue


def counted(count: int) -> None:
    if count > MOST:
        raise refuse(f"more than {MOST} parts", "a network")
