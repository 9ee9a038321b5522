"""Which network a file is, at which size, and which of its layers is which."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from refq import networks
from refq.errors import OptionError, ShapeError, WeightsError, unknown
from refq.importers import heads, left_out, naming
from refq.importers.comparing import Comparison, Problem, shape_of
from refq.importers.contents import Contents, refuse
from refq.importers.naming import Names
from refq.networks import Network

NEAR = 0.5  # of the file's layers


@dataclass(frozen=True)
class Match:
    """network at the file's size; names: for each of its layers those of the file; notes: what was
    taken for granted."""

    network: Network
    names: Names
    notes: tuple[str, ...] = ()


def match(contents: Contents, wanted: str | None, given: Mapping[str, Any]) -> Match:
    """The network that has all its layers in the file, the largest of those that fit.

    given: parameters that go before those of the file. Raises WeightsError with what is missing or
    does not fit, or where several networks fit alike, and OptionError for unknown parameters.
    """
    names = _with_parameters("a graph" if contents.graph else contents.source, wanted, given)
    rows, columns = contents.size or (0, 0)
    if rows != columns and "input_size" not in given:
        raise refuse(
            f"images of {rows} rows and {columns} columns",
            "as many of both, as refq's networks read them",
            "--parameter input_size=N takes N of both",
        )
    comparison = Comparison(contents)
    heads.check(contents)
    fitting: list[Match] = []
    problems: list[Problem] = []
    for name in names:
        for tried in _tries(comparison, name, given):
            if isinstance(tried, Match):
                fitting.append(tried)
                break
            problems.append(tried)
    if not fitting and not problems:  # networks without a trunk, or none has dense layers so named
        raise OptionError(
            f"--head {contents.head}",
            f"what names of {wanted or 'a network'}'s dense layers behind its trunk begin with",
        )
    if not fitting:
        raise _nothing_fits(contents, wanted, problems)
    most = max(_taken(each) for each in fitting)
    best = [each for each in fitting if _taken(each) == most]
    return best[0] if len(best) == 1 else _told_apart(best, contents)


def _with_parameters(source: str, wanted: str | None, given: Mapping[str, Any]) -> list[str]:
    """Names of networks to try: those that have the given parameters."""
    if wanted is not None:
        networks.build(wanted, given)  # what is unknown is told as such
        return [wanted]
    names = naming.candidates(source, networks.known())
    parameters = {name: networks.build(name).parameters for name in names}
    for key in given:
        known = sorted({each for own in parameters.values() for each in own})
        if key not in known:
            raise unknown("parameter", key, known)
    having = [name for name in names if given.keys() <= parameters[name].keys()]
    if not having:
        raise OptionError(f"parameters {', '.join(given)} together", "those of one network")
    return _with_values(having, given)


def _with_values(names: Sequence[str], given: Mapping[str, Any]) -> list[str]:
    """Those of the networks whose parameters may have the given values."""
    fitting, refused = [], []
    for name in names:
        try:
            networks.build(name, given)
        except OptionError as error:
            refused.append(error)
            continue
        except ShapeError:
            pass  # told beside what else does not fit
        fitting.append(name)
    if not fitting:
        told = ", ".join(f"{key}={json.dumps(value)}" for key, value in given.items())
        raise OptionError(f"--parameter {told}", refused[0].wanted)
    return fitting


def _nothing_fits(
    contents: Contents, wanted: str | None, problems: Sequence[Problem]
) -> WeightsError:
    """Tells of the networks that miss the smallest part; of several alike, the first."""
    ordered = sorted(problems, key=lambda each: each.nearness, reverse=True)
    nearest = ordered[0]
    remedy = "" if wanted or nearest.named else "name it with --network to see what does not fit"
    known = wanted or "a network of docs/networks.md"
    near = nearest.covers >= NEAR and (nearest.share > 0 or not nearest.stated)
    if contents.graph or nearest.named or (nearest.share and near):
        others = [] if wanted or contents.graph else _others(ordered)
        begin = "has its weights here" if near or wanted else "is near; the nearest"
        told = "; ".join([nearest.text, *others])
        return refuse(f"no network of refq {begin}: {told}", known, remedy)
    own = [*contents.units][:4]
    more = f" and {len(contents.units) - 4} more" if len(contents.units) > 4 else ""
    wants = f"; {nearest.text}" if wanted else ""
    begin = "no network of refq is near: " if nearest.share and not wanted else ""
    return refuse(
        f"{begin}layers named {', '.join(own)}{more}{wants}",
        f"names of {known}, as docs/convert.md lists them",
    )


def _others(ordered: Sequence[Problem]) -> list[str]:
    """The next two networks, and why they fail, in short."""
    told: dict[str, str] = {}
    for each in ordered:
        name = each.text.partition(":")[0]
        if each.share > 0 and each.covers >= NEAR:
            told.setdefault(name, each.text if len(each.text) < 80 else f"{each.text[:77]}...")
    return list(told.values())[1:3]


def _taken(match: Match) -> int:
    return sum(map(len, match.names.values()))


def _tries(
    comparison: Comparison, name: str, given: Mapping[str, Any]
) -> Iterator[Match | Problem]:
    """Matches or problems, with the classifier and then without; a size that is given of the
    classifier asks for it."""
    contents = comparison.contents
    asked = contents.head or given.keys() & {"classes", "hidden"}
    tops = (True,) if asked else (True, False)
    problems: list[Problem] = []
    for top in (given["top"],) if "top" in given else tops:
        if not contents.graph:
            sizes, notes = naming.usual_sizes(contents, name)
            plain = networks.build(name, {"top": top})
            notes = () if given.keys() & {"centred"} else notes
            ways = list(naming.variants(contents, plain))
            if not contents.head or not top:
                yield from (
                    _tried(contents, plain, names, {**sizes, **given}, notes) for names in ways
                )
            for names in ways if top else ():
                names, note = heads.by_shape(contents, plain, names)
                if names:
                    yield _tried(contents, plain, names, {**sizes, **given}, (*notes, note))
            continue
        for sizes in _stated(contents, networks.build(name, {"top": top})):
            stated = {**sizes, **given}
            network, names, problem = comparison.network(name, {"top": top, **stated})
            if problem is None and network is not None:
                tried = _tried(contents, network, names, stated)
                if isinstance(tried, Match) and problems and comparison.is_its_head(network, names):
                    # its classifier but for a fact: no other network's
                    tried = replace(problems[0], named=True, text=f"{problems[0].text}; {TRUNK}")
                elif isinstance(tried, Problem) and top:
                    problems.append(tried)
                yield tried
                continue
            assert problem is not None
            if top and problem.stated:
                problems.append(problem)
            yield problem


TRUNK = "--parameter top=false takes the layers before it alone"


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
    contents: Contents,
    plain: Network,
    names: Names,
    stated: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> Match | Problem:
    layers = list(plain.weight_shapes())
    wanted = {layer: names.get(layer, ("",)) for layer in layers}
    bare = [parts[0] for parts in wanted.values() if _without_weight(contents, parts[0])]
    missing = [
        part or layer
        for layer, parts in wanted.items()
        for part in parts
        if part not in contents.units and part not in bare
    ]
    share = 1 - len(missing) / sum(map(len, wanted.values()))
    weighted = sum("weight" in unit.arrays for unit in contents.units.values())
    there = [parts[0] in contents.units and parts[0] not in bare for parts in wanted.values()]
    # a file of quantized weights has none of floats
    covers = sum(there) / weighted if weighted else 1.0
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        text = f"{plain.name}: no layer {', '.join(missing[:5])}{more}"
        return Problem(False, share, text, covers=covers)
    if bare:
        more = f" and {len(bare) - 1} more have" if len(bare) > 1 else " has"
        text = f"{plain.name}: {bare[0]}{more} no float weight{_instead(contents, bare[0])}"
        return Problem(covers >= NEAR, share, text, covers=covers)
    shapes = {layer: shape_of(contents, plain, layer, parts[0]) for layer, parts in wanted.items()}
    try:
        inferred = {**networks.infer(plain.name, shapes), **stated}
        network = networks.build(plain.name, inferred)
    except ShapeError as error:
        return Problem(True, share, f"{plain.name}: {error}")
    wrong = [
        f"{layer} has shape {shapes[layer]}, not {shape}"
        for layer, shape in network.weight_shapes().items()
        if shapes.get(layer) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        text = f"{plain.name}: {'; '.join(wrong[:3])}{more}"
        return Problem(True, 1 - len(wrong) / len(layers), text)
    left = left_out.problem(contents, network, wanted)
    if left:
        return Problem(True, 1.0, f"{plain.name}: {left}")
    return Match(network, wanted, notes)


# names of arrays that a weight is computed from
COMPUTED = {
    "weight_g": "weight_norm",
    "weight_v": "weight_norm",
    "original0": "weight_norm",
    "original": "a parametrization",
    "weight_orig": "pruning or spectral_norm",
}


def _instead(contents: Contents, layer: str) -> str:
    """What a layer's weight would be computed from, where its arrays tell."""
    names = {name for name in contents.units if name.startswith(f"{layer}.")}
    found = [COMPUTED[last] for name in sorted(names) if (last := name.split(".")[-1]) in COMPUTED]
    return f", as of {found[0]}: save what it computes, as a plain weight" if found else ""


def _without_weight(contents: Contents, name: str) -> bool:
    """Whether a layer is there by other arrays than a weight of floats: quantized, pruned, split
    in two, or a normalisation."""
    if name in contents.units:
        return "weight" not in contents.units[name].arrays
    return bool(name) and contents.has_below(name)


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
