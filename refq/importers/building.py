"""A Foreign as it is being made of a channels-last file: operators by ONNX's names, and tensors
that are turned to N,C,H,W where an operator wants them so, and back where their order matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refq.importers.contents import MOST, refuse
from refq.importers.foreign import Operator

END = np.iinfo(np.int64).max  # of a Slice: as far as there are values


@dataclass(frozen=True)
class Value:
    """A tensor. name: of what operators read. rank: how many axes it has, with the batch's.
    turned: whether the file's last axis, the channels, is the second here."""

    name: str
    rank: int
    turned: bool = False

    def axis(self, number: int) -> int:
        """Where an axis of the file is here. Raises WeightsError for one that there is not."""
        if not -self.rank <= number < self.rank:
            raise refuse(f"axis {number} of {self.name}", f"one of {self.rank} axes")
        number %= self.rank
        if not self.turned or number == 0:
            return number
        return 1 if number == self.rank - 1 else number + 1

    def arranged(self, of_axes: Sequence[Any]) -> list[Any]:
        """What a file says of every axis, in the order of the axes here."""
        said = list(of_axes)
        return [said[0], said[-1], *said[1:-1]] if self.turned else said


@dataclass
class Builder:
    """operators, constants: of the Foreign. taken: names of tensors."""

    operators: list[Operator] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    turns: dict[tuple[str, bool], Value] = field(default_factory=dict)

    def fresh(self, wanted: str) -> str:
        """A name that no tensor has yet."""
        name, count = wanted, 1
        while name in self.taken:
            name, count = f"{wanted}:{count}", count + 1
        self.taken.add(name)
        return name

    def constant(self, array: Any, wanted: str) -> Value:
        """The name of an array; floats become float32, whole numbers int64."""
        made = np.asarray(array)
        made = made.astype(np.float32 if made.dtype.kind == "f" else np.int64, copy=False)
        name = self.fresh(wanted)
        self.constants[name] = made
        return Value(name, made.ndim)

    def add(
        self, kind: str, name: str, inputs: Sequence[Value], like: Value, **attributes: Any
    ) -> Value:
        """One more operator; its output has the axes of `like`."""
        if len(self.operators) > MOST:
            raise refuse(f"more than {MOST:,} operators")
        output = replace(like, name=self.fresh(f"{name}/{kind}"))
        read = tuple(each.name for each in inputs)
        self.operators.append(Operator(kind, name, read, (output.name,), attributes))
        return output

    def called(self, value: Value, name: str, since: int) -> Value:
        """The tensor under the file's name for it, if an operator after the first `since` makes it;
        else it is another's, which only has one name more."""
        made = self.operators[-1] if len(self.operators) > since else None
        if made is None or value.name not in made.outputs or name in self.taken:
            return value
        self.taken.add(name)
        outputs = tuple(name if each == value.name else each for each in made.outputs)
        self.operators[-1] = replace(made, outputs=outputs)
        self.turns = {key: each for key, each in self.turns.items() if each.name != value.name}
        return replace(value, name=name)

    def first(self, value: Value) -> Value:
        """The tensor with the file's last axis second."""
        if value.turned or value.rank < 3:
            return value
        axes = (0, value.rank - 1, *range(1, value.rank - 1))
        return self._turned(value, axes, turned=True)

    def last(self, value: Value) -> Value:
        """The tensor with its axes as the file has them."""
        if not value.turned:
            return value
        return self._turned(value, (0, *range(2, value.rank), 1), turned=False)

    def _turned(self, value: Value, axes: tuple[int, ...], turned: bool) -> Value:
        key = value.name, turned
        if key not in self.turns:
            side = "channels first" if turned else "channels last"
            like = replace(value, turned=turned)
            made = self.add("Transpose", f"{value.name} ({side})", [value], like, perm=axes)
            self.turns[key] = made
            self.turns[made.name, not turned] = value
        return self.turns[key]

    def alike(self, values: Sequence[Value]) -> list[Value]:
        """Tensors of one rank with their axes in one order: turned, if one of them is."""
        if any(value.turned for value in values):
            return [self.first(value) for value in values]
        return list(values)

    # --- operators that more than one kind of layer is made of ---

    def binary(self, kind: str, name: str, one: Value, other: Any) -> Value:
        """An operator of a tensor and a number or an array that has the tensor's axes."""
        if not isinstance(other, Value):
            other = self.constant(np.asarray(other, np.float32), f"{name}/{kind} by")
        return self.add(kind, name, [one, other], one)

    def clip(self, name: str, value: Value, low: float | None, high: float | None) -> Value:
        nothing = Value("", 0)
        bounds = [
            nothing if bound is None else self.constant(np.float32(bound), f"{name}/{word}")
            for word, bound in (("low", low), ("high", high))
        ]
        return self.add("Clip", name, [value, *bounds[: 1 if high is None else 2]], value)

    def slice(self, name: str, value: Value, begin: Sequence[int], end: Sequence[int]) -> Value:
        """The values from begin to end of every axis, in steps of one, as the axes are here."""
        limits = [
            self.constant(np.array(each, np.int64), f"{name}/{word}")
            for word, each in (("begin", begin), ("end", end), ("axes", range(value.rank)))
        ]
        return self.add("Slice", name, [value, *limits], value)

    def reshape(self, name: str, value: Value, shape: Sequence[int]) -> Value:
        """A tensor that is not turned, under another shape; 0 keeps a size, -1 is what is left."""
        assert not value.turned
        sizes = self.constant(np.array(shape, np.int64), f"{name}/shape")
        return self.add("Reshape", name, [value, sizes], Value("", len(shape)))
