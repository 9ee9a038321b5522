"""Constants of an ONNX graph, also those that exporters compute from others on the way.

Weights stay where they are in the file until they are read; whole numbers, of shapes and paddings,
are few and computed at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refq.importers.contents import Tensor, checked_shape, refuse

MOST = 1 << 12  # whole numbers of one constant


@dataclass
class Constants:
    """tensors: floats. integers: int64, of any shape; scalars are vectors of one.

    unknown: tensors of numbers that follow from the image's size, as a Reshape reads them.
    """

    tensors: dict[str, Tensor]
    integers: dict[str, np.ndarray]
    unknown: set[str] = field(default_factory=set)

    def __contains__(self, name: str) -> bool:
        return name in self.tensors or name in self.integers or name in self.unknown

    def listed(self, name: str) -> list[int]:
        """Whole numbers in a row; none where they are not known."""
        return [int(each) for each in self.integers.get(name, np.empty(0)).reshape(-1)]

    def scalar(self, name: str) -> float:
        return float(self.tensors[name].load().reshape(-1)[0])


def gathered(tensors: Mapping[str, Tensor], integers: Mapping[str, list[int]]) -> Constants:
    """Those that stand in the file."""
    return Constants(
        dict(tensors), {name: np.array(values, np.int64) for name, values in integers.items()}
    )


def entered(node: Any, known: Constants) -> bool:
    """Whether a node makes a constant, or numbers about sizes; if so they are known from now on."""
    output, said = node.outputs[0], node.attributes
    if node.kind == "Constant":
        # tensors are entered already, under the node's output
        if isinstance(said.get("value_float"), float):
            value = said["value_float"]
            known.tensors[output] = Tensor((), lambda: np.full((), value, np.float32))
        for key in ("value_int", "value_ints"):
            if said.get(key) is not None:
                known.integers[output] = np.atleast_1d(np.array(said[key], np.int64))
        return True
    first = node.inputs[0] if node.inputs else ""
    if node.kind == "Shape":
        known.unknown.add(output)
        return True
    if node.kind == "ConstantOfShape" and first in known.integers:
        _filled(output, known.listed(first), known)
        return True
    if first in known.tensors:
        return _moved(node, known)
    if first in known.integers or first in known.unknown:
        made = _computed(node, known)
        if made is not None and made.size <= MOST:
            known.integers[output] = made
        elif all(name in known for name in node.inputs if name):
            known.unknown.add(output)
        return output in known
    return False


def _filled(output: str, sizes: list[int], known: Constants) -> None:
    if output in known.integers:  # the value to fill with
        if math.prod(sizes) > MOST or min(sizes, default=1) < 0:
            raise refuse(f"{output}: {sizes} whole numbers", f"{MOST} or less")
        known.integers[output] = np.full(sizes, known.integers[output].reshape(-1)[0])
        return
    shape, value = checked_shape(output, sizes), known.tensors.get(output)

    def load() -> np.ndarray:
        return np.full(shape, value.load().reshape(-1)[0] if value else 0.0, np.float32)

    known.tensors[output] = Tensor(shape, load)


def _moved(node: Any, known: Constants) -> bool:
    """Whether the node gives a constant another form."""
    output, tensor = node.outputs[0], known.tensors[node.inputs[0]]
    turn = node.attributes.get("perm")
    if node.kind == "Identity":
        known.tensors[output] = tensor
        return True
    if node.kind == "Reshape" and len(node.inputs) > 1 and node.inputs[1] in known.integers:
        sizes = known.listed(node.inputs[1])
        if sizes.count(-1) == 1:
            rest = -math.prod(sizes)
            sizes[sizes.index(-1)] = math.prod(tensor.shape) // max(rest, 1)
        if math.prod(checked_shape(output, sizes)) != math.prod(tensor.shape):
            raise refuse(f"{output}: {tensor.shape} reshaped to {sizes}", "as many values")
        known.tensors[output] = tensor.reshaped(tuple(sizes))
        return True
    if node.kind == "Transpose" and sorted(turn or []) == list(range(len(tensor.shape))):
        known.tensors[output] = tensor.transposed(*turn)
        return True
    return False


def _computed(node: Any, known: Constants) -> np.ndarray | None:
    """What a node makes of whole numbers; None where that is not known here."""
    if not all(name in known.integers for name in node.inputs if name):
        return None
    values = [known.integers[name] for name in node.inputs if name]
    first, rest = values[0], [each.reshape(-1).tolist() for each in values[1:]]
    match node.kind:
        case "Identity" | "Cast" | "Unsqueeze" | "Squeeze":
            return first
        case "Concat" if all(each.ndim == 1 for each in values):
            return np.concatenate(values)
        case "Reshape" if rest and first.size:
            return first.reshape(rest[0])
        case "Transpose" if first.ndim == 2:
            return first.T
        case "Gather" if first.ndim == 1 and rest:
            return first[rest[0]]
        case "Slice" if len(rest) == 4 and len(rest[2]) == 1 and rest[3] != [0]:
            (start,), (end,), (axis,), (step,) = rest
            # an end before the first: all of them
            stop = None if end < -first.shape[axis] else end
            part = [slice(None)] * first.ndim
            part[axis] = slice(start, stop, step)
            return first[tuple(part)]
    return None
