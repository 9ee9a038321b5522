"""Operators one after the other: each makes constants, nodes, or what is beyond any network.

Everything is computed for a batch of one image, so that shapes are known; the leading 1 is the
batch. Handlers of operators are in the files beside this one, each entered in HANDLERS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refq.errors import NAME, ShapeError, WeightsError, clipped
from refq.importers.foreign import Foreign, Operator
from refq.importers.lowering.constants import Unknown, computed
from refq.importers.lowering.drafts import Drafts
from refq.importers.lowering.expressions import put, size
from refq.importers.lowering.values import Beyond, Held, Value
from refq.networks.layers import Function, Layer, Shape, Weighted
from refq.networks.layers.expressions import Expression
from refq.networks.layers.rearrange import reshape, transpose

# operators whose handlers are asked even where all they read is constant
BRANCHING = {"If"}
# what operators raise whose attributes make no sense
FAULTS = (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError)
# expressions grow no further before they become nodes
MOST_OPERATORS, DEEPEST = 96, 20


class Unheld(Exception):  # noqa: N818 - a condition, told as Beyond
    """An operator that no network of refq holds; why, in words."""


@dataclass(frozen=True)
class Step:
    """What a handler is given. inputs: values, None for one that is left out."""

    walker: Walker
    operator: Operator
    inputs: Sequence[Value | None]

    @property
    def attributes(self) -> Any:
        return self.operator.attributes

    def held(self, number: int = 0) -> Held:
        """An input that a node makes. Raises Unheld for a constant."""
        value = self.inputs[number] if number < len(self.inputs) else None
        if not isinstance(value, Held):
            raise Unheld(f"input {number} is {'a constant' if value is not None else 'missing'}")
        return value

    def constant(self, number: int, name: str = "", default: Any = None) -> np.ndarray | None:
        """An input that is constant, or in older files the attribute of that name."""
        value = self.inputs[number] if number < len(self.inputs) else None
        if value is None:
            given = self.attributes.get(name, default) if name else default
            return None if given is None else np.asarray(given)
        if not isinstance(value, np.ndarray):
            raise Unheld(f"its input {number} is computed")
        return value

    def needed(self, number: int, name: str = "") -> np.ndarray:
        """A constant that has to be there."""
        given = self.constant(number, name)
        if given is None:
            raise Unheld(f"its input {number} is missing")
        return given

    def whole(self, number: int, name: str = "") -> list[int] | None:
        """Whole numbers that an input or an attribute holds."""
        given = self.constant(number, name)
        return None if given is None else [int(each) for each in given.reshape(-1)]

    def number(self, number: int, name: str = "", default: Any = None) -> float | None:
        """The one number that an input or an attribute holds. Raises ShapeError for several."""
        given = self.constant(number, name, default)
        if given is not None and given.size != 1:
            raise ShapeError(f"input {number} of shape {given.shape}", "one number")
        return None if given is None else float(given.reshape(-1)[0])

    def mode(self, name: str, default: str, *others: str) -> str:
        """An attribute that is one of a few words. Raises ShapeError for another."""
        given = self.attributes.get(name, default)
        if given not in (default, *others):
            raise ShapeError(f"{name} {given!r}", f"{', '.join((default, *others))}")
        return str(given)

    def add(
        self,
        layer: Layer,
        *sources: Held,
        dims: Shape | None = None,
        weight: np.ndarray | None = None,
        bias: np.ndarray | None = None,
    ) -> Held:
        """A node that reads tensors as their nodes hold them. dims: the file's shape of the
        result, by default a batch of the node's."""
        walker = self.walker
        inputs = tuple(walker.made(source) for source in sources)
        if isinstance(layer, Weighted) and weight is not None and bias is not None:
            self._check(layer, walker.drafts.shapes[inputs[0]], weight, bias)
        name = walker.drafts.add(walker.named(self.operator), layer, inputs, weight, bias)
        return Held(name, (1, *walker.drafts.shapes[name]) if dims is None else dims)

    def _check(self, layer: Weighted, source: Shape, weight: np.ndarray, bias: np.ndarray) -> None:
        """Raises ShapeError for weights that are not those of the layer."""
        layer.output_shape([source])
        wanted = layer.weight_shape(source)
        if weight.shape != wanted or bias.shape != wanted[:1]:
            raise ShapeError(
                f"weights of shape {weight.shape} and biases of {bias.shape}",
                f"{wanted} and {wanted[:1]}",
            )

    def shaped(self, value: Held, shape: Shape) -> Held:
        """The same values, held by a node of such a shape, whose dims have a batch."""
        tensor = self.walker.made(value)
        shapes = self.walker.drafts.shapes
        if shapes[tensor] != shape:
            tensor = self.walker.drafts.add(
                f"{self.walker.named(self.operator)}.shape", reshape(shape), (tensor,)
            )
        return Held(tensor, (1, *shape))

    def applied(self, made: Expression, value: Held) -> Held:
        """A function of what is a function already."""
        whole = put(made, "x", value.expression)
        return self.walker.function(replace(value, expression=whole), self.operator)

    def plain(self, value: Held) -> Held:
        """Held by a node of the very shape that the file gives it."""
        return self.shaped(value, value.shape)

    def moved(self, value: Held, axes: Sequence[int]) -> Held:
        """Transposed, axes as NumPy's of the shape without a batch; dims have a batch."""
        shape = value.shape
        kept = [axis for axis in axes if shape[axis] != 1]
        result = tuple(shape[axis] for axis in axes)
        if kept == sorted(kept):  # nothing but axes of size 1 moves
            return value.viewed((1, *result))
        tensor = self.walker.made(self.plain(value))
        name = f"{self.walker.named(self.operator)}.transpose"
        return Held(
            self.walker.drafts.add(name, transpose(shape, tuple(axes)), (tensor,)), (1, *result)
        )

    def image(self, value: Held) -> Held:
        """As (channels, rows, columns): a signal of (channels, length) has one row."""
        shape = value.shape
        if not value.batched or len(shape) not in (2, 3):
            raise Unheld(f"it reads a tensor of shape {value.dims}")
        return self.shaped(value, shape if len(shape) == 3 else (shape[0], 1, shape[1]))


Handler = Callable[[Step], "Value | Sequence[Value]"]
HANDLERS: dict[str, Handler] = {}


def handles(*kinds: str) -> Callable[[Handler], Handler]:
    """Enters a handler of operators."""

    def entered(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(kinds, handler))
        return handler

    return entered


class Walker:
    """values: of the file's tensors, by name; drafts: the nodes so far."""

    def __init__(self, foreign: Foreign, drafts: Drafts, values: dict[str, Value]) -> None:
        self.foreign, self.drafts, self.values = foreign, drafts, values
        self.values.update(foreign.constants)
        # what the file fixes the batch to; here it is 1
        batches = {dims[0] for dims in foreign.inputs.values() if len(dims) > 1}
        self.batch = batches.pop() if len(batches) == 1 else None
        self.origins: dict[str, str] = {}

    def walk(self) -> None:
        last = {name: n for n, op in enumerate(self.foreign.operators) for name in op.inputs}
        for number, operator in enumerate(self.foreign.operators):
            self.through([operator])
            for name in operator.inputs:
                # constants of the file go as soon as nothing reads them
                gone = last[name] == number and name not in self.foreign.outputs
                if gone and isinstance(self.values.get(name), np.ndarray):
                    self.values.pop(name)

    def through(self, operators: Sequence[Operator]) -> None:
        """Makes the values of operators, one after the other."""
        for operator in operators:
            inputs = [self._value(name, operator) for name in operator.inputs]
            for name, value in zip(operator.outputs, self._made(operator, inputs)):
                if name:
                    self.values[name] = value

    def _value(self, name: str, operator: Operator) -> Value | None:
        if not name:
            return None
        if name not in self.values:
            raise WeightsError(
                f"{told(operator)} reads {clipped(name)}, which nothing makes before it",
                "a graph in order of computation",
            )
        return self.values[name]

    def _made(self, operator: Operator, inputs: Sequence[Value | None]) -> Sequence[Value]:
        beyond = [value for value in inputs if isinstance(value, Beyond)]
        held = tuple(value for value in inputs if isinstance(value, Held))
        if beyond:
            first = replace(
                beyond[0],
                sources=tuple(
                    dict.fromkeys([*held, *(each for value in beyond for each in value.sources)])
                ),
            )
            if learned(operator, inputs):
                raise WeightsError(
                    f"{first.operator}: {first.why}",
                    "operators that a network of refq holds (docs/operators.md)",
                    f"{told(operator)} needs what it makes",
                )
            return [first] * len(operator.outputs)
        try:
            if inputs and not held and operator.kind not in BRANCHING:
                return self._constants(operator, inputs)
            handler = HANDLERS.get(operator.kind) if not operator.domain else None
            if handler is None:
                raise Unheld("no layer of refq computes it")
            made = handler(Step(self, operator, inputs))
            return [made] if isinstance(made, (np.ndarray, Held, Beyond)) else list(made)
        except Unheld as reason:
            if learned(operator, inputs):
                raise WeightsError(
                    f"{told(operator)}: {reason}",
                    "layers with weights that a network of refq holds (docs/operators.md)",
                ) from None
            return [Beyond(told(operator), str(reason), held)] * len(operator.outputs)
        except ShapeError as error:
            raise WeightsError(f"{told(operator)}: {error.found}", error.wanted) from None
        except FAULTS as error:
            found = f"{told(operator)}: {type(error).__name__}: {clipped(str(error), NAME)}"
            raise WeightsError(found, "attributes and inputs that fit it") from None

    def _constants(self, operator: Operator, inputs: Sequence[Value | None]) -> Sequence[Value]:
        arrays = [value for value in inputs if value is None or isinstance(value, np.ndarray)]
        try:
            return computed(operator, arrays)
        except Unknown:
            raise Unheld("it is not computed on constants") from None

    def named(self, operator: Operator) -> str:
        """What the nodes of an operator are called."""
        return operator.name or next((name for name in operator.outputs if name), operator.kind)

    def made(self, value: Held) -> str:
        """The node that makes a tensor: what is computed of each value becomes a Function."""
        if value.expression == "x":
            return value.tensor
        name = self.origins.get(repr((value.tensor, value.expression)), f"{value.tensor}.function")
        return self.drafts.add(name, Function(value.expression), (value.tensor,))

    def function(self, value: Held, operator: Operator) -> Held:
        """A function of a tensor as a value, made a node where it grew too large."""
        self.origins.setdefault(repr((value.tensor, value.expression)), self.named(operator))
        operators, depth = size(value.expression)
        if operators > MOST_OPERATORS or depth > DEEPEST:
            return Held(self.made(value), value.dims)
        return value


def learned(operator: Operator, inputs: Sequence[Value | None]) -> bool:
    """Whether an operator has weights: what follows it is no epilogue."""
    kinds = (
        "Conv",
        "ConvTranspose",
        "DeformConv",
        "Einsum",
        "Gemm",
        "MatMul",
        "LSTM",
        "GRU",
        "RNN",
    )
    weights = [value for value in inputs if isinstance(value, np.ndarray)]
    return operator.kind in kinds and any(each.ndim > 1 for each in weights)


def told(operator: Operator) -> str:
    """An operator as lines name it."""
    domain = f"{operator.domain}." if operator.domain else ""
    name = operator.name or next((name for name in operator.outputs if name), "")
    return f"node {clipped(name)!r} ({domain}{operator.kind})"
