"""Drafts as a Network and Weights, under names that files and reports can bear."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from refq.errors import ShapeError, WeightsError, listed
from refq.importers.foreign import Foreign, Model
from refq.importers.lowering.drafts import Draft, Drafts
from refq.networks import LARGEST, description
from refq.networks.graph import INPUT, Network, Node
from refq.networks.layers import Layer
from refq.networks.layers.rearrange import reshape
from refq.networks.weights import Weights

LONGEST = 120
OTHERS = re.compile(r"[^A-Za-z0-9_.:+-]+")


def finished(
    foreign: Foreign, drafts: Drafts, outputs: dict[str, str], notes: tuple[str, ...]
) -> Model:
    """Nodes in order, outputs by the file's names. Raises WeightsError for weights that are not
    finite, and ShapeError for tensors beyond all bounds."""
    if not drafts.nodes:
        raise WeightsError(
            f"a model whose outputs {listed(outputs)} are its input", "one that computes something"
        )
    outputs = _apart(drafts, outputs)
    drafts.prune(outputs)
    names = _names(drafts, outputs)
    nodes, weight, bias = [], dict[str, np.ndarray](), dict[str, np.ndarray]()
    for draft in drafts:
        name = names[draft.name]
        nodes.append(Node(name, draft.layer, tuple(names[each] for each in draft.inputs)))
        if draft.weight is not None and draft.bias is not None:
            weight[name] = np.ascontiguousarray(draft.weight, np.float32)
            bias[name] = np.ascontiguousarray(draft.bias, np.float32)
            _check(draft.origin, weight[name], bias[name])
    network = Network(
        OTHERS.sub("_", foreign.name)[:LONGEST].strip("_") or "network",
        drafts.shapes[INPUT],
        tuple(nodes),
        outputs=tuple(names[tensor] for tensor in outputs.values()),
    )
    for tensor, shape in (*network.shapes.items(), *network.weight_shapes().items()):
        if np.prod(shape, dtype=np.float64) > LARGEST:
            raise ShapeError(f"{tensor} of shape {shape}", f"at most {LARGEST:,} values")
    network = description.hashed(network)
    metadata: dict[str, Any] = {"network": network.name, "source": f"{foreign.format} file"}
    if foreign.preprocessing is not None:
        metadata["preprocessing"] = dict(foreign.preprocessing)
    return Model(network, Weights(weight, bias, metadata), tuple(dict.fromkeys(notes)))


def _apart(drafts: Drafts, outputs: dict[str, str]) -> dict[str, str]:
    """Outputs that are different nodes: one tensor under two names is renamed for the second."""
    found: dict[str, str] = {}
    for name, tensor in outputs.items():
        if tensor in found.values() or tensor == INPUT:
            layer: Layer = reshape(drafts.shapes[tensor])
            copy = drafts.free(f"{tensor}.again")
            shape = drafts.shapes[tensor]
            drafts.nodes[copy] = Draft(copy, layer, (tensor,), shape, origin=name)
            drafts.shapes[copy] = shape
            tensor = copy
        found[name] = tensor
    return found


def _names(drafts: Drafts, outputs: dict[str, str]) -> dict[str, str]:
    """{draft: name of its node}: outputs as the file calls them, others as its operators."""
    wanted = {draft.name: draft.name for draft in drafts}
    wanted |= {tensor: name for name, tensor in outputs.items()}
    names, taken = {INPUT: INPUT}, {INPUT, description.PLACE}
    # outputs first, so that no other node has their names
    for tensor in (*outputs.values(), *(draft.name for draft in drafts)):
        if tensor in names:
            continue
        plain = OTHERS.sub(".", wanted[tensor]).strip(".:")[-LONGEST:] or "node"
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain}_{number}"
        names[tensor] = name
        taken.add(name)
    return names


def _check(origin: str, *arrays: np.ndarray) -> None:
    for array in arrays:
        unusable = int((~np.isfinite(array)).sum())
        if unusable:
            raise WeightsError(
                f"node {origin!r}: {unusable} NaN or infinite weights", "finite ones"
            )
