"""Networks as JSON: there and back, their hash, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import networks
from refq.errors import OptionError, RefqError, WeightsError
from refq.networks import Network, Node, description, weights
from refq.networks.graph import INPUT
from refq.networks.layers import Clip, Conv, Function, Layer, Resize
from refq.networks.weights import load, random_weights, save
from tests.layer_cases import LAYERS


def network(name: str = "own") -> Network:
    nodes = (
        Node("conv", Conv(4, (3, 3), pads=(1, 1, 1, 1)), (INPUT,)),
        Node("silu", Function(("mul", "x", ("sigmoid", "x"))), ("conv",)),
        Node("wide", Resize((8, 10), scales=(2.0, 2.0)), ("silu",)),
        Node("clip", Clip(0.0, 6.0), ("wide",)),
    )
    return Network(name, (3, 4, 5), nodes, outputs=("clip", "silu"))


@pytest.mark.parametrize("name", networks.known())
def test_every_named_network_goes_there_and_back(name: str) -> None:
    built = networks.build(name)
    stored = json.loads(json.dumps(description.to_json(built)))
    back = description.from_json(stored)
    assert (back.name, back.input_shape, back.nodes) == (name, built.input_shape, built.nodes)
    assert back.outputs == built.outputs
    assert back.parameters == {"graph": description.sha256(built)}


@pytest.mark.parametrize("layer", [layer for layer, _ in LAYERS], ids=str)
def test_every_layer_goes_there_and_back(layer: Layer) -> None:
    node = Node("made", layer, ("one", "two"))
    stored = json.loads(json.dumps(description._of_node(node)))
    assert description._node(stored, 0) == node


def test_the_hash_is_the_graphs_alone() -> None:
    one = description.sha256(network())
    assert description.sha256(network("another")) == one
    stored = description.to_json(network())
    stored["nodes"][3]["high"] = 7.0
    assert description.sha256(description.from_json(stored)) != one
    # whole numbers where JSON lost the point
    stored["nodes"][3]["high"] = 6
    stored["nodes"][2]["scales"] = [2, 2]
    assert description.sha256(description.from_json(stored)) == one


def test_a_weight_file_holds_its_graph(tmp_path: Path) -> None:
    own = description.from_json(description.to_json(network()))
    saved = random_weights(own, 3)
    save(tmp_path / "own.h5", own, saved)
    assert weights.holds_graph(tmp_path / "own.h5")
    back, loaded = load(tmp_path / "own.h5", None)
    assert back == own and loaded.sha256 == saved.sha256
    with pytest.raises(OptionError, match="its graph has all sizes"):
        load(tmp_path / "own.h5", None, {"width": 0.5})
    with pytest.raises(WeightsError, match="holds weights of own; expected vgg16"):
        load(tmp_path / "own.h5", "vgg16")


def _changed(**changes: Any) -> dict[str, Any]:
    return {**description.to_json(network()), **changes}


def _node(**changes: Any) -> dict[str, Any]:
    stored = description.to_json(network())
    stored["nodes"][0].update(changes)
    return stored


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ([], "a network of version []; expected 1"),
        (_changed(refq_network=2), "a network of version 2; expected 1"),
        (_changed(more=1), "a network with key 'more'"),
        (_changed(nodes=[]), "a network without a list of nodes"),
        (_changed(nodes=[3]), "node 0 without name, layer, inputs"),
        (_changed(input_shape=[3, 4.0, 5]), "input_shape: [3, 4.0, 5]"),
        (_changed(name=""), "name ''; expected a name"),
        (_changed(outputs=["none"]), "outputs ('none',)"),
        (_changed(outputs=["clip", "clip"]), "outputs ('clip', 'clip'); expected different nodes"),
        (_node(layer="Convolution"), "unknown layer of node conv 'Convolution'"),
        (_node(kernel=[3, 3, 3]), "kernel of conv: [3, 3, 3]"),
        (_node(kernel="3x3"), "kernel of conv: '3x3'"),
        (_node(group=True), "group of conv: True"),
        (_node(colour="red"), "unknown attribute of Conv conv 'colour'"),
        (_node(inputs=["later"]), "node 'conv' with inputs ('later',)"),
        (_node(inputs="data"), "inputs of conv: 'data'"),
    ],
)
def test_descriptions_that_are_none(stored: Any, text: str) -> None:
    with pytest.raises(RefqError) as told:
        description.from_json(json.loads(json.dumps(stored)))
    assert text in str(told.value)


def test_attributes_that_a_layer_needs() -> None:
    stored = description.to_json(network())
    del stored["nodes"][0]["out_channels"]
    with pytest.raises(OptionError, match="Conv conv without out_channels"):
        description.from_json(stored)


@pytest.mark.parametrize("damaged", [b"", b"{", b"\xff\xfe", b"[1, 2]"])
def test_a_graph_that_is_damaged(tmp_path: Path, damaged: bytes) -> None:
    from refq.hdf5.created import Created

    with Created(tmp_path / "own.h5") as file:
        file.put("conv/weight", np.zeros((4, 3, 3, 3), np.float32))
        file.put("conv/bias", np.zeros(4, np.float32))
        file.put("graph", np.frombuffer(damaged or b"\0", np.uint8))
        file.state("/", {"network": "own"})
    with pytest.raises(WeightsError, match=r"own\.h5: graph"):
        load(tmp_path / "own.h5", None)
