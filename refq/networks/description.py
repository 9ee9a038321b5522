"""A network as JSON: what a file keeps of it, and what names it, its hash.

    {"refq_network": 1, "name": ..., "input_shape": [...], "outputs": [...], "nodes": [
      {"name": ..., "layer": "Conv", "inputs": [...], "out_channels": 64, "kernel": [3, 3], ...}]}

A node has its layer's attributes by name; one that has a default may be left out. In refq's HDF5 it
is the dataset `graph`, the bytes of that JSON, beside the layers' weights. A network that is
described by no more than its graph has the hash as its only parameter.
"""

from __future__ import annotations

import hashlib
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from functools import cache
from typing import Any

from refq.errors import OptionError, clipped, unknown
from refq.files import json_
from refq.networks.graph import Network, Node
from refq.networks.layers import KINDS

VERSION = 1
PLACE = "graph"
LARGEST = 1 << 26  # bytes of a description
MOST_NODES = 20_000
KEYS = ("refq_network", "name", "input_shape", "outputs", "nodes")
OWN = ("name", "layer", "inputs")


def to_json(network: Network) -> dict[str, Any]:
    """Plain JSON values; from_json gives back an equal network."""
    return {
        "refq_network": VERSION,
        "name": network.name,
        "input_shape": list(network.input_shape),
        "outputs": list(network.outputs),
        "nodes": [_of_node(node) for node in network.nodes],
    }


def _of_node(node: Node) -> dict[str, Any]:
    plain = {name: _lists(value) for name, value in node.layer.attributes.items()}
    return {"name": node.name, "layer": node.layer.kind, "inputs": list(node.inputs), **plain}


def _lists(value: Any) -> Any:
    return [_lists(each) for each in value] if isinstance(value, tuple) else value


def sha256(network: Network) -> str:
    """Hash of the graph: of all but its name."""
    graph = {key: value for key, value in to_json(network).items() if key != "name"}
    text = json.dumps(graph, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hashed(network: Network) -> Network:
    """The network with its graph's hash as its only parameter."""
    return replace(network, parameters={PLACE: sha256(network)})


def described(network: Network) -> bool:
    """Whether its graph is all that describes it: no builder makes it by its name."""
    return PLACE in network.parameters


def to_bytes(network: Network) -> bytes:
    return json.dumps(to_json(network), separators=(",", ":"), allow_nan=False).encode()


def from_bytes(stored: bytes) -> Network:
    """The inverse of to_bytes. Raises OptionError and ShapeError, as from_json."""
    try:
        return from_json(json_.parse(stored))
    except ValueError as error:
        raise OptionError(
            f"a network that is no JSON ({error})", "what refq.convert writes"
        ) from None


def from_json(stored: Any) -> Network:
    """The network that to_json described, with its hash as its parameter.

    Raises OptionError for what is no such description, and ShapeError where layers do not fit
    together.
    """
    if not isinstance(stored, Mapping) or stored.get("refq_network") != VERSION:
        version = stored.get("refq_network") if isinstance(stored, Mapping) else stored
        raise OptionError(f"a network of version {clipped(repr(version))}", f"{VERSION}")
    strange = sorted(set(map(str, stored)) - set(KEYS))
    missing = sorted(set(KEYS) - set(stored))
    if strange or missing:
        found = f"key {strange[0]!r}" if strange else f"no key {missing[0]!r}"
        raise OptionError(f"a network with {clipped(found)}", ", ".join(KEYS))
    nodes = stored["nodes"]
    if not isinstance(nodes, list) or not 1 <= len(nodes) <= MOST_NODES:
        raise OptionError("a network without a list of nodes", f"1 to {MOST_NODES:,} nodes")
    network = Network(
        _text(stored["name"], "name"),
        _value(tuple[int, ...], stored["input_shape"], "input_shape"),
        tuple(_node(node, number) for number, node in enumerate(nodes)),
        outputs=_value(tuple[str, ...], stored["outputs"], "outputs"),
    )
    return hashed(network)


def _node(stored: Any, number: int) -> Node:
    if not isinstance(stored, Mapping) or set(OWN) - set(stored):
        raise OptionError(f"node {number} without {', '.join(OWN)}", "a node of a network")
    name = _text(stored["name"], f"node {number}")
    kind = KINDS.get(stored["layer"]) if isinstance(stored["layer"], str) else None
    if kind is None:
        raise unknown(f"layer of node {clipped(name)}", str(stored["layer"]), list(KINDS))
    types, values = _types(kind.__name__), {}
    for key, value in stored.items():
        if key in OWN:
            continue
        if key not in types:
            raise unknown(f"attribute of {kind.__name__} {clipped(name)}", str(key), list(types))
        values[key] = _value(types[key], value, f"{key} of {clipped(name)}")
    needed = [each.name for each in fields(kind) if each.default is MISSING]  # type: ignore[arg-type]
    missing = [key for key in needed if key not in values]
    if missing:
        raise OptionError(f"{kind.__name__} {clipped(name)} without {missing[0]}", "all it needs")
    inputs = _value(tuple[str, ...], stored["inputs"], f"inputs of {clipped(name)}")
    return Node(name, kind(**values), inputs)


@cache
def _types(name: str) -> dict[str, Any]:
    """{attribute: its type} of a layer type."""
    kind = KINDS[name]
    hints = typing.get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind)}  # type: ignore[arg-type]


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 400 or not value.isprintable():
        raise OptionError(f"{what} {clipped(repr(value))}", "a name of 1 to 400 letters")
    return value


def _value(wanted: Any, value: Any, what: str) -> Any:
    """A JSON value as the type that an attribute has. Raises OptionError for another."""
    if not _fits(wanted, value):
        raise OptionError(f"{what}: {clipped(repr(value))}", str(wanted).replace("typing.", ""))
    return _made(wanted, value)


def _fits(wanted: Any, value: Any) -> bool:
    arguments = typing.get_args(wanted)
    if typing.get_origin(wanted) is tuple:
        if not isinstance(value, (list, tuple)):
            return False
        if arguments[1:] == (Ellipsis,):
            return all(_fits(arguments[0], each) for each in value)
        sizes = len(value) == len(arguments)
        return sizes and all(_fits(kind, each) for kind, each in zip(arguments, value))
    if arguments:  # a union
        return any(_fits(kind, value) for kind in arguments)
    if wanted is Any:
        return True
    if wanted is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and math.isfinite(value)
    return type(value) is wanted or (wanted is type(None) and value is None)


def _made(wanted: Any, value: Any) -> Any:
    """Tuples of lists, and floats of whole numbers where floats are wanted: the hash tells 6 from
    6.0."""
    arguments = typing.get_args(wanted)
    if isinstance(value, (list, tuple)):
        kinds = [kind for kind in arguments if typing.get_origin(kind) is tuple]
        if typing.get_origin(wanted) is tuple:
            kinds = list(arguments)
        kind = kinds[0] if kinds else Any
        return tuple(_made(kind, each) for each in value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    real = wanted is Any or float in (wanted, *arguments)
    return float(value) if whole and real else value
