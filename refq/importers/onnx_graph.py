"""From nodes of an ONNX graph to layers and the steps between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from refq.importers.contents import Contents, Step, Tensor, Unit, refuse, stated_size
from refq.importers.onnx_constants import entered, gathered
from refq.importers.onnx_steps import Plain, read_on
from refq.networks.layers import Pair

EPS = 1e-5  # of BatchNormalization


def contents(
    form: str,
    producer: str,
    nodes: Sequence[Any],
    tensors: Mapping[str, Tensor],
    integers: Mapping[str, list[int]],
    image: Sequence[int],
    outputs: Sequence[str],
) -> Contents:
    """nodes: kind, name, inputs, outputs, attributes, each after those it reads from.
    image: dimensions of the graph's input, 0 where they are open."""
    known = gathered(tensors, integers)
    readers = Counter(name for node in nodes for name in node.inputs)
    readers.update(outputs)
    units: dict[str, Unit] = {}
    steps: list[Step] = []
    made: dict[str, str] = {}  # the unit that makes a tensor, as far as it can still be folded into
    plain = Plain(known, {name for node in nodes for name in node.outputs}, read_on(nodes))
    check_order(nodes)
    for node in nodes:
        if not node.outputs:
            continue
        if entered(node, known):
            continue
        output = node.outputs[0]
        read = tuple(name for name in node.inputs if name not in known)
        arrays = [known.tensors.get(name) for name in node.inputs]
        source = read[0] if read else ""
        alone = source in made and readers[source] == 1
        if node.kind in ("Conv", "Gemm", "MatMul") and len(arrays) > 1 and arrays[1] is not None:
            unit = _weighted(node, arrays, source in plain.last)
            if unit.name in units:
                raise refuse(f"two layers that share {unit.name}", "weights for each layer")
            units[unit.name] = unit
            made[output] = unit.name
            steps.append(plain.weighted(node, arrays[1].shape, source, unit.name))
        elif node.kind == "BatchNormalization" and alone and len(arrays) == 5 and all(arrays[1:]):
            name = made[output] = made[source]
            units[name] = _normalised(units[name], node, arrays)
            steps.append(Step(output, "", read))
        elif node.kind == "Add" and alone and _is_bias(arrays, units[made[source]]):
            name = made[output] = made[source]
            (bias,) = (each for each in arrays if each is not None)
            own = {**units[name].arrays, "bias": bias.reshaped((math.prod(bias.shape),))}
            units[name] = replace(units[name], arrays=own)
            steps.append(Step(output, "", read))
        elif read:
            steps += plain.steps(node, read)
    foreign = [node for node in nodes if "." in node.kind]
    if foreign and not units:
        domain, _, kind = foreign[0].kind.rpartition(".")
        raise refuse(
            f"{foreign[0].name or kind}: {kind} of {domain}, and no layer with weights of floats",
            "operators of ONNX itself",
        )
    order = tuple(node.name or node.outputs[0] for node in nodes if node.outputs)
    graph = (*steps, *(Step("", "output", (name,)) for name in outputs))
    return Contents("onnx", form, units, order, (), graph, producer, size=image_size(image))


def check_order(nodes: Sequence[Any]) -> None:
    """Raises WeightsError where a node reads what a later one makes, or makes what another does."""
    makers: dict[str, int] = {}
    for place, node in enumerate(nodes):
        for output in filter(None, node.outputs):
            if output in makers:
                raise refuse(f"{output}, which two nodes make", "one maker of each tensor")
            makers[output] = place
    for place, node in enumerate(nodes):
        late = [name for name in node.inputs if makers.get(name, -1) >= place]
        if late:
            raise refuse(
                f"{node.name or node.kind}: reads {late[0]}, which no node before it makes",
                "nodes in the order in which they compute",
                "onnx.checker.check_model tells more",
            )


def image_size(dimensions: Sequence[int]) -> Pair | None:
    """Rows and columns of (N, 3, rows, columns) or (N, rows, columns, 3), where they are stated."""
    if len(dimensions) != 4:
        return None
    _, first, second, last = dimensions
    if last == 3 != first:
        return stated_size(last, first, second)
    # open dimensions may be anything
    return stated_size(first if last > 0 else 0, second, last)


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
        if len(weight.shape) != 4:
            raise refuse(f"{name}: a convolution not of images")
        kernel = said.get("kernel_shape") or list(weight.shape[2:])
        if kernel != list(weight.shape[2:]):
            raise refuse(f"{name}: states kernel {kernel}", f"{weight.shape[2:]}, as its array is")
        return Unit(name, arrays)
    if len(weight.shape) != 2:
        raise refuse(f"{name}: a product with {len(weight.shape)} dimensions", "a matrix")
    if said.get("transA") or said.get("alpha", 1.0) != 1.0 or said.get("beta", 1.0) != 1.0:
        raise refuse(f"{name}: a Gemm with transA, alpha or beta", "x W + b")
    if not said.get("transB"):
        arrays["weight"] = weight.transposed(1, 0)
    return Unit(name, arrays, channels_last=last)


def _normalised(unit: Unit, node: Any, known: Sequence[Tensor | None]) -> Unit:
    if node.attributes.get("training_mode") or node.attributes.get("spatial") == 0:
        raise refuse(
            f"{unit.name}: a normalisation in training mode, or of single pixels",
            "one by the stored means",
            "export after model.eval()",
        )
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


def _is_bias(arrays: Sequence[Tensor | None], unit: Unit) -> bool:
    """Whether an addition adds one constant an output to a matrix product that has no bias."""
    added = [each for each in arrays if each is not None]
    outputs = unit.arrays["weight"].shape[0]
    plain = set(unit.arrays) == {"weight"} and len(unit.arrays["weight"].shape) == 2
    return plain and len(added) == 1 and added[0].shape in ((outputs,), (1, outputs))
