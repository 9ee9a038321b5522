"""The C model computes every layer type: one network that has them all, so that C is compiled once
a scheme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from refq.hardware.c_model.kinds import KINDS
from refq.networks import Network, Node, layers
from refq.networks.layers import Conv, Dense, PReLU
from refq.networks.weights import random_weights
from tests.hardware.c_programs import GCC, Run, modelled, passes
from tests.layer_cases import LAYERS
from tests.small_networks import planned

pytestmark = pytest.mark.skipif(GCC is None, reason="compiling the C model needs gcc")


def of_every_kind(far: bool) -> Network:
    """Rows of layer_cases side by side: each reads convolutions of one image, and a dense layer
    reads it. far: those too that make numbers of another size than all others."""
    rows, columns = (
        max(shape[axis] for _, shapes in LAYERS for shape in shapes) for axis in (1, 2)
    )
    nodes: list[Node] = []
    for number, (layer, shapes) in enumerate(LAYERS):
        if layer == PReLU((90000.0,)) and not far:
            continue
        made = f"{number}_{layer.kind}"
        makers = [
            Node(f"{made}_in{k}", Conv(c, (rows - h + 1, columns - w + 1)), ("data",))
            for k, (c, h, w) in enumerate(shapes)
        ]
        read = Node(made, layer, tuple(node.name for node in makers))
        nodes += [*makers, read, Node(f"{made}_end", Dense(2), (made,))]
    ends = tuple(node.name for node in nodes if node.name.endswith("_end"))
    return Network("every", (2, rows, columns), tuple(nodes), outputs=ends)


def test_every_kind_is_known() -> None:
    assert {name: kind.layer for name, kind in KINDS.items()} == layers.KINDS


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("uniform", {"frac_by": "layer"}),
        ("enq", {"bits_act": 5, "frac_by": "layer"}),
        ("knq", {"bits_act": 5, "frac_by": "layer"}),
        ("hybrid", {"data_granularity": "map"}),
    ],
    ids=str,
)
def test_every_layer(scheme: str, options: dict[str, Any], run_model: Run, tmp_path: Path) -> None:
    network = of_every_kind(far=scheme in ("uniform", "hybrid"))
    weights = random_weights(network, 1)
    plan = planned(network, weights, scheme, **options)
    passes(run_model(modelled(tmp_path, network, weights, plan)))
