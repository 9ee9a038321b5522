"""From nodes of an ONNX graph to layers and the steps between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from importers.contents import Contents, Step, Tensor, Unit, checked_shape, refuse
from importers.onnx_steps import Plain, read_on
from refq.layers import Pair

EPS = 1e-5  # of BatchNormalization
LARGEST = 1 << 14  # rows or columns of an image


def contents(
    form: str,
    producer: str,
    nodes: Sequence[Any],
    tensors: dict[str, Tensor],
    integers: Mapping[str, list[int]],
    image: Sequence[int],
    outputs: Sequence[str],
) -> Contents:
    """nodes: kind, name, inputs, outputs, attributes, each after those it reads from.
    image: dimensions of the graph's input, 0 where they are open."""
    tensors = {**tensors}
    readers = Counter(name for node in nodes for name in node.inputs)
    readers.update(outputs)
    units: dict[str, Unit] = {}
    steps: list[Step] = []
    made: dict[str, str] = {}  # the unit that makes a tensor, as far as it can still be folded into
    plain = Plain(tensors, integers, read_on(nodes))
    for node in nodes:
        if not node.outputs or _constant(node, tensors, integers):
            continue
        output = node.outputs[0]
        read = tuple(name for name in node.inputs if name not in tensors and name not in integers)
        known = [tensors.get(name) for name in node.inputs]
        source = read[0] if read else ""
        alone = source in made and readers[source] == 1
        if node.kind in ("Conv", "Gemm", "MatMul") and len(known) > 1 and known[1] is not None:
            unit = _weighted(node, known, source in plain.last)
            if unit.name in units:
                raise refuse(f"two layers that share {unit.name}", "weights for each layer")
            units[unit.name] = unit
            made[output] = unit.name
            steps.append(plain.weighted(node, known[1].shape, source, unit.name))
        elif node.kind == "BatchNormalization" and alone and len(known) == 5 and all(known[1:]):
            name = made[output] = made[source]
            units[name] = _normalised(units[name], node, known)
            steps.append(Step(output, "", read))
        elif node.kind == "Add" and alone and _is_bias(node, tensors, units[made[source]]):
            name = made[output] = made[source]
            (bias,) = (tensors[each] for each in node.inputs if each in tensors)
            arrays = {**units[name].arrays, "bias": bias.reshaped((math.prod(bias.shape),))}
            units[name] = replace(units[name], arrays=arrays)
            steps.append(Step(output, "", read))
        elif read:
            steps += plain.steps(node, read)
    order = tuple(node.name or node.outputs[0] for node in nodes if node.outputs)
    graph = (*steps, *(Step("", "output", (name,)) for name in outputs))
    return Contents("onnx", form, units, order, (), graph, producer, size=image_size(image))


def image_size(dimensions: Sequence[int]) -> Pair | None:
    """Rows and columns of (N, 3, rows, columns) or (N, rows, columns, 3), where they are stated."""
    if len(dimensions) != 4 or 3 not in dimensions[1:]:
        return None
    rows, columns = dimensions[2:] if dimensions[1] == 3 else dimensions[1:3]
    return (rows, columns) if 0 < min(rows, columns) <= max(rows, columns) <= LARGEST else None


def _constant(node: Any, tensors: dict[str, Tensor], integers: Mapping[str, list[int]]) -> bool:
    """Whether the node is a constant; if so it is in tensors from now on."""
    output, first = node.outputs[0], node.inputs[0] if node.inputs else ""
    if node.kind == "Constant":
        return True  # the reader has entered its value
    if node.kind == "ConstantOfShape" and first in integers:
        shape = checked_shape(output, integers[first])
        filled = tensors.get(output)

        def load() -> np.ndarray:
            value = filled.load().reshape(-1)[0] if filled else 0.0
            return np.full(shape, value, np.float32)

        tensors[output] = Tensor(shape, load)
        return True
    if first not in tensors:
        return False
    tensor, turn = tensors[first], node.attributes.get("perm")
    if node.kind == "Identity":
        tensors[output] = tensor
        return True
    if node.kind == "Reshape" and len(node.inputs) > 1 and node.inputs[1] in integers:
        sizes = list(integers[node.inputs[1]])
        if sizes.count(-1) == 1:
            known = -math.prod(sizes)
            sizes[sizes.index(-1)] = math.prod(tensor.shape) // max(known, 1)
        if math.prod(checked_shape(output, sizes)) != math.prod(tensor.shape):
            raise refuse(f"{output}: {tensor.shape} reshaped to {sizes}", "as many values")
        tensors[output] = tensor.reshaped(tuple(sizes))
        return True
    if node.kind == "Transpose" and sorted(turn or []) == list(range(len(tensor.shape))):
        tensors[output] = tensor.transposed(*turn)
        return True
    return False


def _weighted(node: Any, known: Sequence[Tensor | None], last: bool) -> Unit:
    """A convolution or matrix product with constant weights."""
    weight, name, said = known[1], node.inputs[1], node.attributes
    assert weight is not None
    arrays = {"weight": weight}
    if len(known) > 2 and node.inputs[2]:
        bias = known[2]
        if bias is None:
            raise refuse(f"{name}: a bias that is computed", "constants")
        arrays["bias"] = bias.reshaped((math.prod(bias.shape),))
    if node.kind == "Conv":
        if len(weight.shape) != 4 or set(said.get("dilations") or [1]) != {1}:
            raise refuse(f"{name}: a convolution that is dilated, or not of images")
        return Unit(name, arrays)
    if len(weight.shape) != 2:
        raise refuse(f"{name}: a product with {len(weight.shape)} dimensions", "a matrix")
    if said.get("transA") or said.get("alpha", 1.0) != 1.0 or said.get("beta", 1.0) != 1.0:
        raise refuse(f"{name}: a Gemm with transA, alpha or beta", "x W + b")
    if not said.get("transB"):
        arrays["weight"] = weight.transposed(1, 0)
    return Unit(name, arrays, channels_last=last)


def _normalised(unit: Unit, node: Any, known: Sequence[Tensor | None]) -> Unit:
    if "mean" in unit.arrays:
        raise refuse(f"{unit.name}: two normalisations behind each other", "one")
    roles = ("gamma", "beta", "mean", "variance")
    arrays = {role: each for role, each in zip(roles, known[1:]) if each is not None}
    name = node.name or node.inputs[1]
    # an attribute without a number is 0, as in all of protobuf
    eps = node.attributes.get("epsilon", EPS) or 0.0
    return replace(
        unit, arrays={**unit.arrays, **arrays}, eps=float(np.float32(eps)), folded=(name,)
    )


def _is_bias(node: Any, tensors: Mapping[str, Tensor], unit: Unit) -> bool:
    """Whether an addition adds one constant an output to a matrix product that has no bias."""
    added = [tensors[name] for name in node.inputs if name in tensors]
    outputs = unit.arrays["weight"].shape[0]
    plain = set(unit.arrays) == {"weight"} and len(unit.arrays["weight"].shape) == 2
    return plain and len(added) == 1 and added[0].shape in ((outputs,), (1, outputs))
