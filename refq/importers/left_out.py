"""Layers of a file that a network does not have: which of them may be left out.

Heads may: another classifier behind a trunk, GoogLeNet's auxiliary ones. A layer between others, or
a normalisation of one that is taken, may not: without it the network computes something else. The
order in a file is that in which layers were declared, so shapes have to agree with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from refq import networks
from refq.importers import naming
from refq.importers.contents import Contents, Tensor, Unit
from refq.networks import Network

# in the names of torchvision, Caffe, MatConvNet
AUXILIARY = {"googlenet": re.compile(r"(aux[12][./]|loss[12]/|cls[12]_)")}
NORMALISATION = {"gamma", "mean", "moments"}


def problem(contents: Contents, network: Network, names: Mapping[str, tuple[str, ...]]) -> str:
    """What is left out and must not be, in words; empty where nothing is.

    names: for each layer of the network those of the file that are taken. Where somebody said which
    head is the network's, others behind its trunk may be left out.
    """
    if contents.graph:
        return ""  # the whole way from the image to the output was compared
    taken = {name for parts in names.values() for name in parts}
    strange = sorted(name for name in taken if "other" in contents.units[name].arrays)
    if strange:
        return f"arrays that no layer of it has, in {_listed(strange)}"
    heads = AUXILIARY.get(network.name.partition("_")[0])
    left = {
        name: unit
        for name, unit in contents.units.items()
        if name not in taken and not (heads and heads.match(name))
    }
    behind: set[str] = set()
    # nothing stands behind a whole network, also where its trunk alone is tried
    own = [set(head) for head in _classifiers(contents, network)]
    trunk = networks.build(network.name, {**network.parameters, "top": False})
    other_heads = network.parameters["top"] and contents.head
    if other_heads or (
        not network.parameters["top"] and not any(head and head < left.keys() for head in own)
    ):
        channels = trunk.shapes[trunk.output][0]
        before = {part for layer in trunk.weight_shapes() for part in names[layer]}
        behind = (
            _in_heads(left, trunk, channels)
            if contents.by_name
            else _behind_all(contents.units, before, channels)
        )
    inside = _parents(taken)
    wrong = [
        name
        for name in left
        if name not in behind or any(name.startswith(parent) for parent in inside)
    ]
    norms = [name for name in wrong if NORMALISATION & set(left[name].arrays)]
    if norms:
        return f"normalisations that it does not have, or not by that name: {_listed(norms)}"
    if not wrong:
        return ""
    if not network.parameters["top"] and set(wrong) <= set().union(*own):
        weights = {name: left[name].arrays.get("weight") for name in wrong}
        sizes = [f"{name} {each.shape}" for name, each in weights.items() if each]
        return f"a classifier whose sizes are not its own: {_listed(sizes)}"
    told = f"layers between its own that it does not have: {_listed(wrong)}"
    whole = network.parameters["top"] and not contents.head
    if whole and all(_dense(left[each]) for each in wrong):
        return f"{told} (of another head: give --head)"
    return told


def _dense(unit: Unit) -> bool:
    return "weight" in unit.arrays and len(unit.arrays["weight"].shape) == 2


def _classifiers(contents: Contents, trunk: Network) -> Iterator[list[str]]:
    """What the file may call the layers that the whole network has and its trunk has not."""
    more = networks.build(trunk.name).weight_shapes().keys() - trunk.weight_shapes().keys()
    for names in naming.variants(contents, networks.build(trunk.name)):
        yield [part for layer in more for part in names.get(layer, (layer,))]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _parents(taken: Iterable[str]) -> set[str]:
    """`layer4.2.` of `layer4.2.conv3`, `fire9/` of `fire9/expand3x3`: parts of such a module are no
    head, wherever they stand."""
    return {match[0] for match in (re.match(r".*[./]", name) for name in taken) if match}


def _behind_all(units: Mapping[str, Unit], taken: set[str], channels: int) -> set[str]:
    """Names that stand behind all that are taken, and read its output of so many channels or what a
    head's layers before them make. Arrays without a weight belong to the layer before them: a
    normalisation behind the last one that is taken is none of a head."""
    order = list(units)
    last = max(index for index, name in enumerate(order) if name in taken)
    found: set[str] = set()
    made = [channels]
    for name in order[last + 1 :]:
        arrays = units[name].arrays
        if _is_read(arrays):
            outputs, inputs = arrays["weight"].shape[:2]
            if any(_reads(inputs, each) for each in made):
                found.add(name)
                made.append(outputs)
        elif len(made) > 1 and _per_channel(arrays, made[-1]):
            found.add(name)
    return found


def _is_read(arrays: Mapping[str, Tensor]) -> bool:
    """Whether there is a weight with outputs and inputs."""
    return "weight" in arrays and len(arrays["weight"].shape) > 1


def _per_channel(arrays: Mapping[str, Tensor], channels: int) -> bool:
    """Whether a normalisation, or what nobody knows, has a number or two for each channel."""
    shape = arrays[min(NORMALISATION & set(arrays) or arrays)].shape
    return math.prod(shape) == channels or shape[:1] == (channels,)


def _in_heads(left: Mapping[str, Unit], network: Network, channels: int) -> set[str]:
    """Names of layers that cannot stand between the network's, by their shapes alone: those that
    read its output of so many channels, or what such layers make, and those that make what no layer
    of it reads."""
    shapes = {
        name: unit.arrays["weight"].shape for name, unit in left.items() if _is_read(unit.arrays)
    }
    found: set[str] = set()
    more = {name for name, shape in shapes.items() if _reads(shape[1], channels)}
    while more:
        found |= more
        made = {shapes[name][0] for name in found}
        more = {name for name, shape in shapes.items() if shape[1] in made} - found
    widths = {shape[0] for shape in network.weight_shapes().values()}
    return found | {name for name, shape in shapes.items() if shape[0] not in widths}


def _reads(inputs: int, channels: int) -> bool:
    """Whether a layer of so many inputs may read so many channels, of an image of any size that is
    as high as wide."""
    pixels, rest = divmod(inputs, channels)
    return rest == 0 and math.isqrt(pixels) ** 2 == pixels
