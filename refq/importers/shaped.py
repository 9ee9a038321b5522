"""Operators as a reader of whole models makes them, layer by layer, with the shape of each tensor.

For formats whose layers are not ONNX's: one layer may become several operators, and what some of
them say follows from the shapes of what they read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refq.importers.contents import MOST, refuse
from refq.importers.foreign import Operator

Sizes = tuple[int, ...]


class UnsaidError(Exception):
    """A layer that ONNX's operators do not say; the text is what it computes, in words."""


@dataclass(frozen=True)
class Known:
    """A tensor with its shape, with the batch; None behind an operator that nobody knows."""

    name: str
    shape: Sizes | None

    def sizes(self, kind: str) -> Sizes:
        """The shape. Raises UnsaidError, in the words `kind`, where it is not known."""
        if self.shape is None:
            raise UnsaidError(kind)
        return self.shape


@dataclass
class Building:
    """A network that is being made. domain: of operators that ONNX has not."""

    domain: str
    operators: list[Operator] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    layers: set[str] = field(default_factory=set)

    def layer(
        self,
        name: str,
        kind: str,
        inputs: Sequence[Known],
        outputs: int,
        make: Callable[[Place], Sequence[Known]] | None,
    ) -> list[Known]:
        """What a layer makes. make: the maker of its operators; without one, and where it raises
        UnsaidError, the layer is an operator that lowering refuses by name, or cuts off."""
        name = self._once(name or kind)
        begin, constants = len(self.operators), set(self.constants)
        try:
            if make is None:
                raise UnsaidError(kind)
            made = list(make(Place(self, name, tuple(inputs))))
            if len(made) != outputs:
                raise UnsaidError(f"{kind} with {outputs} outputs")
        except UnsaidError as unsaid:
            del self.operators[begin:]
            for constant in self.constants.keys() - constants:
                del self.constants[constant]
            tops = [Known(f"{name}:{number}", None) for number in range(outputs)]
            read = tuple(known.name for known in inputs)
            named = tuple(known.name for known in tops)
            self.operators.append(Operator(str(unsaid), name, read, named, {}, self.domain))
            return tops
        # the last one is what the layer is known by
        for index in range(begin, len(self.operators) - 1):
            step = self.operators[index]
            told = f"{name}/{step.kind}{index - begin + 1}"
            self.operators[index] = replace(step, name=told)
        return made

    def _once(self, name: str) -> str:
        if len(self.layers) > MOST:
            raise refuse(f"more than {MOST} layers", "a network")
        if name in self.layers:
            name = f"{name} (layer {len(self.layers) + 1})"
        self.layers.add(name)
        return name

    def renamed(self, names: Mapping[str, str]) -> tuple[Operator, ...]:
        """The operators, tensors under the names that the file has for them."""
        return tuple(
            replace(
                step,
                inputs=tuple(names.get(name, name) for name in step.inputs),
                outputs=tuple(names.get(name, name) for name in step.outputs),
            )
            for step in self.operators
        )


@dataclass(frozen=True)
class Place:
    """A layer while its operators are made. inputs: what it reads."""

    whole: Building
    layer: str
    inputs: tuple[Known, ...]

    @property
    def x(self) -> Known:
        """The first input. Raises WeightsError for a layer that reads nothing."""
        if not self.inputs:
            raise refuse(f"{self.layer}: a layer that does not say what it reads", "its inputs")
        return self.inputs[0]

    def add(
        self, kind: str, inputs: Sequence[Known], shape: Sizes | None, **attributes: Any
    ) -> Known:
        """An operator of one output of that shape."""
        return self.split(kind, inputs, [shape], **attributes)[0]

    def split(
        self, kind: str, inputs: Sequence[Known], shapes: Sequence[Sizes | None], **attributes: Any
    ) -> list[Known]:
        """An operator of several outputs."""
        steps = len(self.whole.operators)
        made = [
            Known(f"{self.layer}:{steps}:{number}", shape) for number, shape in enumerate(shapes)
        ]
        read, named = ([each.name for each in some] for some in (inputs, made))
        step = Operator(kind, self.layer, tuple(read), tuple(named), attributes)
        self.whole.operators.append(step)
        return made

    def like(self, kind: str, *inputs: Known, **attributes: Any) -> Known:
        """An operator that keeps the shape of its first input."""
        return self.add(kind, inputs, inputs[0].shape, **attributes)

    def constant(self, role: str, values: np.ndarray) -> Known:
        name = f"{self.layer}.{role}"
        while name in self.whole.constants:
            name += "'"
        floats = values.dtype.kind == "f"
        self.whole.constants[name] = values.astype(np.float32, copy=False) if floats else values
        return Known(name, values.shape)

    def number(self, role: str, value: float) -> Known:
        return self.constant(role, np.array(value, np.float32))

    def whole_numbers(self, role: str, values: Sequence[int]) -> Known:
        """A constant of int64, as shapes and axes are."""
        if not all(-(1 << 62) < value < 1 << 62 for value in values):
            raise refuse(f"{self.layer}: {role} of numbers that are no sizes", "sizes")
        return self.constant(role, np.array(values, np.int64))

    def times(self, x: Known, factor: float) -> Known:
        """x, multiplied where that changes it."""
        return x if factor == 1 else self.like("Mul", x, self.number("scale", factor))

    def plus(self, x: Known, offset: float) -> Known:
        return x if offset == 0 else self.like("Add", x, self.number("shift", offset))

    def unchanged(self, x: Known) -> Known:
        return self.like("Identity", x)
