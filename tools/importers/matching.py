"""Which network a file is, at which size, and which of its layers is which."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from importers import graphs, naming
from importers.contents import Contents, refuse
from importers.naming import Names
from refq import networks
from refq.errors import ShapeError
from refq.layers import Dense, Shape
from refq.networks import Network

# whether all names are there, how many layers fit, what is wrong
Problem = tuple[bool, int, str]


@dataclass(frozen=True)
class Match:
    """network at the file's size; names: for each of its layers those of the file."""

    network: Network
    names: Names


def match(contents: Contents, wanted: str | None) -> Match:
    """The network that has all its layers in the file, the largest of those that fit.

    Raises WeightsError with what is missing or does not fit, or where several networks fit alike.
    """
    if wanted is not None:
        networks.build(wanted)  # an unknown name is told as such
    names = [wanted] if wanted else naming.candidates(contents.source, networks.known())
    labels: graphs.Labels = {}
    fitting: list[Match] = []
    problems: list[Problem] = []
    for name in names:
        for tried in _tries(contents, name, labels):
            if isinstance(tried, Match):
                fitting.append(tried)
                break
            problems.append(tried)
    if not fitting:
        nearest = max(problems, default=(False, 0, "no layers"))[2]
        raise refuse(
            f"no network of refq has its weights here: {nearest}",
            wanted or "a network of docs/networks.md",
            "" if wanted else "name it with --network to see what does not fit",
        )
    most = max(_taken(each) for each in fitting)
    best = [each for each in fitting if _taken(each) == most]
    return best[0] if len(best) == 1 else _told_apart(best, contents)


def _taken(match: Match) -> int:
    return sum(map(len, match.names.values()))


def _tries(contents: Contents, name: str, labels: graphs.Labels) -> Iterator[Match | Problem]:
    """Matches or problems, with the classifier and then without."""
    for top in (True, False):
        if not contents.graph:
            sizes = naming.usual_sizes(contents.source, name)
            plain = networks.build(name, {"top": top})
            for names in naming.variants(contents, plain):
                yield _tried(contents, plain, names, sizes)
            continue
        for sizes in _stated(contents, networks.build(name, {"top": top})):
            try:
                plain = networks.build(name, {"top": top, **sizes})
            except ShapeError as error:
                yield False, 0, f"{name}: {error}"
                continue
            file, own = (
                graphs.places(steps, labels, (plain.input_shape[1], plain.input_shape[2]))
                for steps in (contents.graph, graphs.steps_of(plain))
            )
            have, first = own.lacking(file)
            if first:
                yield False, have, f"{name}: the graph has no {first}"
            elif top and not own.ends <= file.ends:
                yield False, have, f"{name}: the graph goes on behind {plain.output}"
            else:
                yield _tried(contents, plain, graphs.same_layers(own, file), sizes)


def _stated(contents: Contents, plain: Network) -> Iterator[dict[str, Any]]:
    """Parameters that weights do not tell: what the graph states, and what is left to try."""
    found: dict[str, Any] = {}
    if contents.size is not None and contents.size[0] == contents.size[1]:
        found["input_size"] = contents.size[0]
    stems = [step.window for step in contents.graph if step.window and "=" in step.kind]
    if stems:
        stated = {"stem_stride": stems[0].strides[0], "stem_pad": stems[0].pads[0]}
        found |= {key: stated[key] for key in stated.keys() & plain.parameters.keys()}
    yield found
    if "centred" in plain.parameters:
        yield {**found, "centred": True}


def _tried(
    contents: Contents, plain: Network, names: Names, stated: Mapping[str, Any]
) -> Match | Problem:
    layers = list(plain.weight_shapes())
    wanted = {layer: names.get(layer, ("",)) for layer in layers}
    missing = [
        part or layer
        for layer, parts in wanted.items()
        for part in parts
        if part not in contents.units
    ]
    if missing:
        found = sum(len(parts) for parts in wanted.values()) - len(missing)
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return False, found, f"{plain.name}: no layer {', '.join(missing[:5])}{more}"
    if all(len(parts) == 1 for parts in wanted.values()) and 2 * _norms(contents) >= len(layers):
        return False, len(layers), f"{plain.name}: normalisations under names that are not known"
    shapes = {layer: _shape(contents, plain, layer, parts[0]) for layer, parts in wanted.items()}
    inferred = {**networks.infer(plain.name, shapes), **stated}
    network = networks.build(plain.name, inferred)
    wrong = [
        f"{layer} has shape {shapes[layer]}, not {shape}"
        for layer, shape in network.weight_shapes().items()
        if shapes.get(layer) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return True, len(layers) - len(wrong), f"{plain.name}: {'; '.join(wrong[:3])}{more}"
    return Match(network, wanted)


def _norms(contents: Contents) -> int:
    """How many units are normalisations; a few may belong to a classifier that is left out."""
    return sum(bool({"mean", "moments"} & set(unit.arrays)) and "weight" not in unit.arrays
               for unit in contents.units.values())  # fmt: skip


def _shape(contents: Contents, network: Network, layer: str, unit: str) -> Shape:
    """Of a weight as refq would have it: convolutions that cover their whole input are dense."""
    weight = contents.units[unit].arrays.get("weight")
    if weight is None:
        return ()
    dense = isinstance(network.by_name[layer].layer, Dense)
    if dense and len(weight.shape) == 4:
        return weight.shape[0], math.prod(weight.shape[1:])
    return weight.shape


def _told_apart(best: list[Match], contents: Contents) -> Match:
    """AlexNet's forms have equal weights and differ in what stands first, norm1 or pool1. Networks
    that do the same as one graph, at its size, are one network and its forms.
    """
    order = contents.order
    by_name = {each.network.name: each for each in best}
    plain, *forms = sorted(by_name, key=len)
    if contents.graph and all(name.startswith(f"{plain}_") for name in forms):
        return by_name[plain]
    alike = {"alexnet", "caffenet"} <= set(by_name) <= {"alexnet", "caffenet", "alexnet_matconvnet"}
    if alike and {"norm1", "pool1"} <= set(order):
        first = order.index("norm1") < order.index("pool1")
        return by_name["alexnet" if first else "caffenet"]
    raise refuse(
        f"weights that fit {', '.join(sorted(by_name))}", "one network", "say which by --network"
    )
