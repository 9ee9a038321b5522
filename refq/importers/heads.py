"""Classifiers under names of their own, where a file has names and no graph.

A trunk with the names of published models, and as many dense layers behind it as the network has,
each of which reads what the one before it makes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from refq import networks
from refq.errors import OptionError
from refq.importers.contents import Contents, Unit
from refq.importers.naming import Names
from refq.networks import Network


def by_shape(contents: Contents, network: Network, names: Names) -> tuple[Names, str]:
    """(names with the classifier's layers of the file, a note); without one, no names.

    names: of the whole network, as one of its published models has them. contents.head: what the
    classifier's names begin with. Raises OptionError where nothing begins so.
    """
    trunk = networks.build(network.name, {"top": False}).weight_shapes().keys()
    more = [layer for layer in network.weight_shapes() if layer not in trunk]
    taken = {part for layer in trunk for part in names.get(layer, (layer,))}
    own = {names.get(layer, (layer,))[0] for layer in more}
    if not taken <= contents.units.keys() or (own <= contents.units.keys() and not contents.head):
        return {}, ""
    left = {
        name: unit
        for name, unit in contents.units.items()
        if name not in taken and _is_dense(unit) and _within(name, contents.head)
    }
    if len(left) != len(more) or not _in_a_row(left):
        return {}, ""
    told = "; weights do not tell what lies between them" if len(left) > 1 else ""
    note = f"the classifier is {', '.join(left)}, by shape{told}"
    heads = {layer: (name,) for layer, name in zip(more, left)}
    return {**{layer: names.get(layer, (layer,)) for layer in trunk}, **heads}, note


def check(contents: Contents) -> None:
    """Raises OptionError for a head that the file does not have, or that its graph tells."""
    if not contents.head:
        return
    if contents.graph:
        raise OptionError(f"--head {contents.head}", "a file of names alone; this one has a graph")
    if not any(_within(name, contents.head) for name in contents.units):
        own = [name for name in contents.units][-4:]
        raise OptionError(f"--head {contents.head}", f"what names begin with, as {', '.join(own)}")


def _within(name: str, head: str) -> bool:
    return not head or name == head or name.startswith((f"{head}.", f"{head}/"))


def _is_dense(unit: Unit) -> bool:
    return "weight" in unit.arrays and len(unit.arrays["weight"].shape) > 1


def _in_a_row(units: Mapping[str, Unit]) -> bool:
    """Whether each layer reads what the one before it makes, and has the axes of a dense one."""
    shapes = [unit.arrays["weight"].shape for unit in units.values()]
    flat = [(shape[0], math.prod(shape[1:])) for shape in shapes]
    return all(after[1] == before[0] for before, after in itertools.pairwise(flat))
