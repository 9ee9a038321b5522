"""Layers of a file that a network does not have: which of them may be left out.

Heads may: another classifier behind a trunk, GoogLeNet's auxiliary ones. A layer between others, or
a normalisation of one that is taken, may not: without it the network computes something else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from importers.contents import Contents, Unit
from refq.networks import Network

# in the names of torchvision, Caffe, MatConvNet
AUXILIARY = {"googlenet": re.compile(r"(aux[12][./]|loss[12]/|cls[12]_)")}
NORMALISATION = {"gamma", "mean", "moments"}


def problem(contents: Contents, network: Network, names: Mapping[str, tuple[str, ...]]) -> str:
    """What is left out and must not be, in words; empty where nothing is.

    names: for each layer of the network those of the file that are taken.
    """
    if contents.graph:
        return ""  # the whole way from the image to the output was compared
    taken = {name for parts in names.values() for name in parts}
    heads = AUXILIARY.get(network.name.partition("_")[0])
    left = {
        name: unit
        for name, unit in contents.units.items()
        if name not in taken and not (heads and heads.match(name))
    }
    behind = _in_heads(left, network) if contents.by_name else _behind_all(contents.units, taken)
    inside = _parents(taken)
    wrong = [
        name
        for name in left
        if name not in behind or any(name.startswith(parent) for parent in inside)
    ]
    norms = [name for name in wrong if NORMALISATION & set(left[name].arrays)]
    if norms:
        return f"normalisations that it does not have, or not by that name: {_listed(norms)}"
    return f"layers between its own that it does not have: {_listed(wrong)}" if wrong else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _parents(taken: Iterable[str]) -> set[str]:
    """`layer4.2.` of `layer4.2.conv3`, `fire9/` of `fire9/expand3x3`: parts of such a module are no
    head, wherever they stand."""
    return {match[0] for match in (re.match(r".*[./]", name) for name in taken) if match}


def _behind_all(units: Mapping[str, Unit], taken: set[str]) -> set[str]:
    """Names that stand behind all that are taken. A normalisation belongs to the layer before it,
    so behind the last one that is taken it is none of a head."""
    order = list(units)
    last = max(index for index, name in enumerate(order) if name in taken)
    found: set[str] = set()
    outputs = None  # of the last layer of a head
    for name in order[last + 1 :]:
        arrays = units[name].arrays
        norm = NORMALISATION & set(arrays)
        if "weight" in arrays:
            outputs = arrays["weight"].shape[0]
        if not norm or arrays[min(norm)].shape[0] == outputs:
            found.add(name)
    return found


def _in_heads(left: Mapping[str, Unit], network: Network) -> set[str]:
    """Names of layers that cannot stand between the network's, by their shapes alone: those that
    read its output, or what such layers make, and those that make what no layer of it reads."""
    shapes = {
        name: unit.arrays["weight"].shape for name, unit in left.items() if "weight" in unit.arrays
    }
    channels = network.shapes[network.output][0]
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
