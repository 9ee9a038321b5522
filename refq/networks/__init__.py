"""Networks as plain descriptions: one file a family, each sized by parameters.

A family file defines `NETWORKS`, a mapping from command-line name to builder. A builder takes
keyword parameters (all with defaults) and returns a Network; `infer` in the same file turns
the weight shapes of a dump without metadata into such parameters.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from refq.errors import OptionError, ShapeError, unknown
from refq.networks.graph import Network, Node, chain
from refq.networks.layers import Shape

KINDS = {bool: "true or false", int: "a whole number", float: "a number"}
LARGEST = 1 << 31  # values of one tensor of an image, or weights of one layer

# modules of a user's own that define networks (definitions.py)
OWN: list[Any] = []

__all__ = ["Network", "Node", "build", "chain", "infer", "known"]


def _families() -> list[Any]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [module for module in [*modules, *OWN] if hasattr(module, "NETWORKS")]


def known() -> list[str]:
    """Names of all networks, sorted."""
    return sorted(name for family in _families() for name in family.NETWORKS)


def _family(name: str) -> Any:
    for family in _families():
        if name in family.NETWORKS:
            return family
    raise unknown("network", name, known())


def build(name: str, parameters: Mapping[str, Any] | None = None) -> Network:
    """The named network at the given size. Raises OptionError for an unknown name or
    parameter and ShapeError for sizes that do not fit."""
    builder: Callable[..., Network] = _family(name).NETWORKS[name]
    given = dict(parameters or {})
    known = inspect.signature(builder).parameters
    for key, value in given.items():
        if key not in known:
            raise unknown(f"parameter of {name}", str(key), list(known))
        kind = type(known[key].default)
        # true is no whole number, and 5.0 none either
        if type(value) is not kind and (kind is not float or type(value) is not int):
            raise OptionError(f"{key} {value!r} for {name}", KINDS[kind])
    try:
        network = builder(**given)
    except (ValueError, OverflowError) as error:
        raise OptionError(f"parameters {given} for {name}: {error}") from None
    for tensor, shape in (*network.shapes.items(), *network.weight_shapes().items()):
        if math.prod(shape) > LARGEST:
            found = f"{name}: {tensor} with {math.prod(shape):,} values"
            raise ShapeError(found, f"at most {LARGEST:,}")
    return network


def infer(name: str, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Builder parameters that fit the weight shapes {layer: shape} of a dump."""
    family = _family(name)
    return family.infer(shapes) if hasattr(family, "infer") else {}
