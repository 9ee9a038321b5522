"""One operator of a TensorFlow Lite file as it is being read: its tensors, its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from refq.errors import WeightsError
from refq.importers.building import Builder, Value
from refq.importers.contents import refuse
from refq.importers.tflite.file import Model, Node, Tensor
from refq.importers.tflite.schema import NO_FUNCTION, RELU, RELU6, RELU_N1_TO_1, TANH


@dataclass
class Made:
    """What has been read so far. values: tensors that operators make, by number. known: arrays of
    constants, those that are computed of others too. spread: how many images a tensor is spread
    over (SPACE_TO_BATCH_ND), rows and columns; crops: what is then cut off its rows and columns,
    by the number of the operator at the end. makers: of tensors."""

    model: Model
    readers: Mapping[int, list[Node]]
    builder: Builder = field(default_factory=Builder)
    values: dict[int, Value] = field(default_factory=dict)
    known: dict[int, np.ndarray] = field(default_factory=dict)
    spread: dict[int, tuple[int, ...]] = field(default_factory=dict)
    crops: dict[int, list[list[int]]] = field(default_factory=dict)
    makers: dict[int, Node] = field(default_factory=dict)

    def maker(self, number: int, kind: str) -> Operation | None:
        """The operator of a kind that makes a tensor."""
        node = self.makers.get(number)
        return Operation(node, self) if node is not None and node.kind == kind else None

    def array(self, number: int) -> np.ndarray | None:
        """The values of a constant; None for what is computed of the model's inputs."""
        if number not in self.known and number not in self.values and number >= 0:
            tensor = self.model.tensors[number]
            if tensor.constant:
                self.known[number] = self.model.values(tensor)
        return self.known.get(number)


@dataclass(frozen=True)
class Operation:
    node: Node
    made: Made

    @property
    def builder(self) -> Builder:
        return self.made.builder

    @property
    def name(self) -> str:
        """An operator has none; its first output's."""
        outputs = self.node.outputs
        told = self.made.model.tensors[outputs[0]].name if outputs else ""
        return told or f"operator {self.node.index}"

    def refuse(self, found: str, wanted: str = "", remedy: str = "") -> WeightsError:
        return refuse(f"{self.name} ({self.node.kind}): {found}", wanted, remedy)

    def has(self, place: int) -> bool:
        return place < len(self.node.inputs) and self.node.inputs[place] >= 0

    def tensor(self, place: int) -> Tensor:
        if not self.has(place):
            raise self.refuse(f"{len(self.node.inputs)} inputs", f"{place + 1} or more")
        return self.made.model.tensors[self.node.inputs[place]]

    def output(self, place: int = 0) -> Tensor:
        if place >= len(self.node.outputs):
            raise self.refuse(f"{len(self.node.outputs)} outputs", f"{place + 1}")
        return self.made.model.tensors[self.node.outputs[place]]

    def array(self, place: int) -> np.ndarray:
        """An input that is constant."""
        tensor = self.tensor(place)
        found = self.made.array(tensor.index)
        if found is None:
            raise self.refuse(f"reads {tensor}, which is computed", "a constant")
        return found

    def maybe(self, place: int) -> np.ndarray | None:
        return self.made.array(self.tensor(place).index)

    def whole(self, place: int) -> list[int]:
        """An input of whole numbers."""
        found = self.array(place)
        if found.dtype.kind not in "iu" or found.size > 64:
            raise self.refuse(f"reads {self.tensor(place)} of {found.size} values", "whole numbers")
        return [int(each) for each in found.ravel()]

    def value(self, place: int = 0) -> Value:
        """An input, constants among them, which have the file's order of axes."""
        tensor = self.tensor(place)
        found = self.made.array(tensor.index)
        if found is not None:
            return self.builder.constant(found, tensor.name or f"{self.name}/constant")
        if tensor.index not in self.made.values:
            raise self.refuse(f"reads {tensor}, which nothing makes", "operators in order")
        return self.made.values[tensor.index]

    def image(self, place: int = 0) -> Value:
        value = self.value(place)
        if value.rank != 4:
            raise self.refuse(f"reads {value.rank} axes", "4: images, rows, columns, channels")
        return self.builder.first(value)

    def plain(self, place: int = 0) -> Value:
        """An input with its axes as the file has them."""
        return self.builder.last(self.value(place))

    def axis(self, number: int, rank: int) -> int:
        if not -rank <= number < rank:
            raise self.refuse(f"axis {number}", f"one of {rank} axes")
        return number % rank

    def add(self, kind: str, inputs: list[Value], like: Value, **attributes: object) -> Value:
        return self.builder.add(kind, self.name, inputs, like, **attributes)

    def numbers(self, array: np.ndarray | list[int], word: str) -> Value:
        return self.builder.constant(np.asarray(array), f"{self.name}/{word}")

    def followed(self, value: Value, function: int) -> Value:
        """A function that the operator computes behind itself."""
        if function == NO_FUNCTION:
            return value
        if function == RELU:
            return self.add("Relu", [value], value)
        if function == TANH:
            return self.add("Tanh", [value], value)
        if function in (RELU6, RELU_N1_TO_1):
            low, high = (0.0, 6.0) if function == RELU6 else (-1.0, 1.0)
            return self.builder.clip(self.name, value, low, high)
        raise self.refuse(f"function {function} behind it", "a ReLU or tanh")


Reader = Callable[[Operation], Value]
