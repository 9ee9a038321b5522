"""Which layer of a network each layer of an ONNX graph is, by what it reads and who reads it.

Exporters rename and reorder layers, so neither names nor order say anything. Each tensor gets a
number for what computes it, from the image on; layers of equal numbers (the first 1x1 convolutions
of an inception module) differ by the two layers that follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from importers.contents import Step
from refq.layers import LRN, Add, AvgPool, Concat, Conv, Dense, GlobalAvgPool, MaxPool, Subsample
from refq.networks import Network
from refq.networks.graph import INPUT

Labels = dict[tuple[object, ...], int]
AHEAD = 2


@dataclass(frozen=True)
class Places:
    """of[layer]: (what computes it, what follows it); ends: what computes the outputs."""

    of: Mapping[str, tuple[int, int]]
    ends: frozenset[int]


def steps_of(network: Network) -> list[Step]:
    """The network as an ONNX graph would have it; layers named kind=name."""
    steps = []
    for node in network.nodes:
        match node.layer:
            case Conv(kernel=kernel, strides=strides, group=group):
                kind = f"conv {kernel} {strides} {group}={node.name}"
            case Dense():
                kind = f"dense={node.name}"
            case MaxPool() | AvgPool() | GlobalAvgPool():
                kind = "pool"
            case LRN():
                kind = "lrn"
            case Add():
                kind = "add"
            case Concat():
                kind = "concat"
            case Subsample():
                kind = "subsample"
            case _:
                kind = ""
        steps.append(Step(node.name, kind, node.inputs))
    return [*steps, Step("", "output", (network.output,))]


def places(steps: Sequence[Step], labels: Labels) -> Places:
    """labels: shared between graphs that are compared."""
    alias: dict[str, str] = {}
    computed: dict[str, int] = {}
    readers: dict[str, list[tuple[Step, int]]] = {}
    kinds: dict[str, str] = {}
    layers: dict[str, str] = {}
    ends = set()
    made = {step.name for step in steps}
    for step in steps:
        # whatever no step makes is the image
        sources = [alias.get(name, name) if name in made else INPUT for name in step.inputs]
        if step.kind == "output":
            ends.add(computed.get(sources[0], -1))
            continue
        if not step.kind and len(sources) == 1:
            alias[step.name] = sources[0]
            continue
        kind, _, layer = step.kind.partition("=")
        if kind.startswith("conv") and sources == [INPUT]:
            # small images have their own stride in the first layer
            kind = kind.partition(" (")[0] + kind.partition(")")[0]
        values = [computed.get(name, -1) for name in sources]
        if kind == "add":
            values.sort()
        elif kind == "subsample" and kinds.get(sources[0]) == "subsample":
            # rows and columns, one slice each
            alias[step.name] = sources[0]
            continue
        computed[step.name] = labels.setdefault((kind, *values), len(labels))
        kinds[step.name] = kind
        if layer:
            layers[step.name] = layer
        for position, name in enumerate(sources):
            readers.setdefault(name, []).append((step, position))
    follows = dict.fromkeys(computed, 0)
    for _ in range(AHEAD):
        follows = {
            name: _following(readers.get(name, ()), kinds, follows, labels) for name in computed
        }
    return Places(
        {layer: (computed[name], follows[name]) for name, layer in layers.items()}, frozenset(ends)
    )


def _following(
    readers: Iterable[tuple[Step, int]],
    kinds: Mapping[str, str],
    follows: Mapping[str, int],
    labels: Labels,
) -> int:
    seen = sorted(
        (kinds[step.name], 0 if kinds[step.name] == "add" else position, follows[step.name])
        for step, position in readers
        if step.name in kinds
    )
    return labels.setdefault(("readers", *seen), len(labels))


def same_layers(network: Places, file: Places) -> dict[str, tuple[str, ...]]:
    """{the network's layer: (the file's,)} as far as both have one and the same such layer."""
    found: dict[str, tuple[str, ...]] = {}
    for whole in (True, False):  # where followers differ, a layer may still be the only one
        own, other = _by_place(network, whole), _by_place(file, whole)
        for place, names in own.items():
            if len(names) == 1 and len(other.get(place, ())) == 1:
                found.setdefault(names[0], (other[place][0],))
    return found


def _by_place(places: Places, whole: bool) -> dict[tuple[int, ...], list[str]]:
    found: dict[tuple[int, ...], list[str]] = {}
    for layer, (before, behind) in places.of.items():
        found.setdefault((before, behind) if whole else (before,), []).append(layer)
    return found
