"""Which network a file is, at which size, and which of its layers is which."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from importers import graphs, naming
from importers.contents import Contents, refuse
from importers.naming import Names
from refq import networks
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
    file = graphs.places(contents.graph, labels) if contents.graph else None
    fitting: list[Match] = []
    problems: list[Problem] = []
    for name in names:
        for tried in _tries(contents, name, file, labels):
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


def _tries(
    contents: Contents, name: str, file: graphs.Places | None, labels: graphs.Labels
) -> Iterator[Match | Problem]:
    """Matches or problems, with the classifier and then without."""
    for top in (True, False):
        plain = networks.build(name, {"top": top})
        if file is not None:
            own = graphs.places(graphs.steps_of(plain), labels)
            if top and not own.ends <= file.ends:
                yield False, 0, f"{name}: the graph ends in something else"
                continue
            ways: list[Names] = [graphs.same_layers(own, file)]
        else:
            ways = list(naming.variants(contents, plain))
        for names in ways:
            yield _tried(contents, plain, names)


def _tried(contents: Contents, plain: Network, names: Names) -> Match | Problem:
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
    network = networks.build(plain.name, networks.infer(plain.name, shapes))
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
    """AlexNet's forms have the same weights and differ in what stands first, norm1 or pool1."""
    order = contents.order
    by_name = {each.network.name: each for each in best}
    alike = {"alexnet", "caffenet"} <= set(by_name) <= {"alexnet", "caffenet", "alexnet_matconvnet"}
    if alike and {"norm1", "pool1"} <= set(order):
        first = order.index("norm1") < order.index("pool1")
        return by_name["alexnet" if first else "caffenet"]
    raise refuse(
        f"weights that fit {', '.join(sorted(by_name))}", "one network", "say which by --network"
    )
