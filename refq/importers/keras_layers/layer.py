"""One call of a Keras layer: what its configuration says, what it reads, what it stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refq.errors import WeightsError, listed
from refq.importers.building import Builder, Value
from refq.importers.contents import Tensor, refuse
from refq.importers.keras_fields import either
from refq.importers.stating import Facts
from refq.networks.layers import Pair

# names of one array in Keras 1, 2 and 3
SYNONYMS = {
    "kernel": ("kernel", "depthwise_kernel", "W"),
    "depthwise": ("depthwise_kernel", "depthwise"),
    "pointwise": ("pointwise_kernel", "pointwise"),
    "bias": ("bias", "b"),
    "mean": ("moving_mean", "running_mean", "mean"),
    "variance": (
        "moving_variance",
        "running_std",
        "variance",
    ),  # Keras 1's deviations are variances
}
FIRST = ("channels_first", "th")


@dataclass(frozen=True)
class Layer:
    """name: with those of the models that it is in. era: 1, 2 or 3, the Keras that wrote it.
    version: that Keras, as the file says it. stored: its arrays, by their names, or by numbers in
    the order in which Keras makes them. arguments: of the call, besides tensors. flipped: whether
    kernels are turned by half a turn before they are multiplied (Theano). operands: its values,
    and the numbers among them. sizes: shapes, by name, of the model's inputs. of_ops: whether it is
    a function of keras.ops, whose classes have names of layers."""

    name: str
    kind: str
    facts: Facts
    builder: Builder
    values: tuple[Value, ...]
    stored: Mapping[str, Tensor]
    arguments: Mapping[str, Any]
    era: int
    version: str
    flipped: bool = False
    operands: tuple[Value | float, ...] = ()
    sizes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    of_ops: bool = False

    def refuse(self, found: str, wanted: str = "", remedy: str = "") -> WeightsError:
        return refuse(f"{self.name} ({self.kind}): {found}", wanted, remedy)

    @property
    def value(self) -> Value:
        """The tensor of a layer that reads one."""
        if len(self.values) != 1:
            raise self.refuse(f"{len(self.values)} inputs", "1")
        return self.values[0]

    @property
    def channels_first(self) -> bool:
        said = either(self.facts, "data_format", "dim_ordering", default="channels_last")
        if said not in (*FIRST, "channels_last", "tf", "default"):
            raise self.refuse(f"data_format {said}", "channels_first or channels_last")
        return said in FIRST

    def image(self, rank: int = 0) -> Value:
        """The tensor with its channels second. rank: of which the layer wants it to be."""
        value = self.value
        if rank and value.rank != rank:
            raise self.refuse(f"reads a tensor of {value.rank} axes", f"{rank}, with the batch's")
        return self.builder.last(value) if self.channels_first else self.builder.first(value)

    def as_last(self) -> Value:
        return self.builder.last(self.value)

    def arrays(self, roles: Sequence[str]) -> dict[str, np.ndarray]:
        """{role: array} of everything that the layer stores, in the order in which Keras makes it;
        Raises WeightsError where that is not what it states."""
        if len(self.stored) != len(roles):
            what = listed(self.stored) or "no arrays"
            raise self.refuse(f"stores {what}", f"{listed(roles) or 'none'}, as it states them")
        if all(name.isdecimal() for name in self.stored):
            named = dict(zip(roles, self.stored.values()))
        else:
            named = {}
            for role in roles:
                names = [each for each in SYNONYMS.get(role, (role,)) if each in self.stored]
                if not names:
                    raise self.refuse(f"stores {listed(self.stored)}, and no {role}")
                named[role] = self.stored[names[0]]
        return {role: tensor.load() for role, tensor in named.items() if role != "count"}

    def number(self, *names: str, default: float) -> float:
        """A field that is one number; Keras 3 writes some as arrays, {"config": {"value": ...}}."""
        said = either(self.facts, *names, default=default)
        if isinstance(said, dict):
            inner = said.get("config")
            said = inner.get("value") if isinstance(inner, dict) else said.get("value")
        if type(said) not in (int, float) or said != said:
            raise self.refuse(f"{names[0]} {said}", "a number")
        return float(said)

    def whole(self, *names: str, axes: int, default: Any = None) -> tuple[int, ...]:
        """A field that is a whole number, or one of each axis."""
        said = either(self.facts, *names, default=default)
        many = [said] * axes if type(said) is int else said
        good = isinstance(many, (list, tuple)) and len(many) == axes
        if not good or not all(type(each) is int and 0 <= each < 1 << 20 for each in many):
            raise self.refuse(f"{names[0]} {said}", f"{axes} whole numbers of 0 or more")
        return tuple(many)

    def flag(self, *names: str, default: bool) -> bool:
        return bool(either(self.facts, *names, default=default))

    def sides(self, axes: int, *names: str, default: Any) -> list[Pair]:
        """(before, after) of each axis: of a padding or cropping, in any of Keras' forms."""
        said = either(self.facts, *names, default=default)
        if isinstance(said, dict):  # Keras 1
            keys = ("left_pad", "right_pad") if axes == 1 else ("top", "bottom", "left", "right")
            said = [said.get(key, said.get(f"{key}_pad", 0)) for key in keys]
        if isinstance(said, (list, tuple)) and len(said) == 2 * axes and type(said[0]) is int:
            said = [said[place : place + 2] for place in range(0, 2 * axes, 2)]
        many = said if isinstance(said, (list, tuple)) and len(said) == axes else [said] * axes
        pairs = [(each, each) if type(each) is int else each for each in many]
        for each in pairs:
            good = isinstance(each, (list, tuple)) and len(each) == 2
            if not good or not all(type(one) is int and 0 <= one < 1 << 20 for one in each):
                raise self.refuse(f"{names[0]} {said}", "whole numbers of 0 or more")
        return [(each[0], each[1]) for each in pairs]
