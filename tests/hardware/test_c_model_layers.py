"""The C model computes every layer type: one network that has them all, so that C is compiled once
a scheme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from refq.errors import OptionError
from refq.formats.fixed import Overflow, Rounding
from refq.hardware.c_model.kinds import KINDS
from refq.networks import Network, Node, layers
from refq.networks.layers import Clip, Conv, ConvTranspose, Dense, Function, PReLU
from refq.networks.weights import random_weights
from tests.hardware.c_programs import GCC, Run, modelled, passes
from tests.layer_cases import LAYERS, network_of
from tests.small_networks import Way, narrowed, observed, planned

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


@pytest.mark.parametrize("every_mac", [False, True])
def test_transposed_convolutions_in_narrow_accumulators(
    every_mac: bool, run_model: Run, tmp_path: Path
) -> None:
    layer = ConvTranspose(6, (3, 2), (2, 3), (1, 0, 2, 1), 2, output_padding=(1, 2))
    more = Node("clip", Clip(-4.0, 30.0), ("made",)), Node("end", Dense(2), ("clip",))
    network = network_of(layer, [(4, 5, 7)], *more)
    weights = random_weights(network, 1)
    plan = planned(network, weights, "hybrid", granularity="2D", data_granularity="map")
    way = Way(Overflow.WRAP, every_mac, 1, Rounding.TIES_AWAY, by_kernel=True)
    plan = narrowed(network, weights, plan, [way])
    assert observed(network, weights, plan)["made"].overflows
    passes(run_model(modelled(tmp_path, network, weights, plan)))


def test_a_function_without_its_table_is_refused(tmp_path: Path) -> None:
    layer = Function(("sigmoid", ("mul", "x", 0.02)))
    network = network_of(layer, [(3, 4, 5)], Node("end", Dense(2), ("made",)))
    weights = random_weights(network, 1)
    plan = planned(network, weights, "uniform", rounding=Rounding.STOCHASTIC)
    with pytest.raises(OptionError, match="function made under stochastic rounding; expected ano"):
        modelled(tmp_path, network, weights, plan)
    (tmp_path / "wide").mkdir()
    plan = planned(network, weights, "uniform", bits_act=18)
    with pytest.raises(OptionError, match="function made of codes of 18 bits; expected at most 16"):
        modelled(tmp_path / "wide", network, weights, plan)
