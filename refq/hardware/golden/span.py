"""Which layers of a network a golden set is about."""

from __future__ import annotations

from collections.abc import Sequence

from refq.errors import OptionError, unknown
from refq.networks.graph import INPUT, Network
from refq.networks.points import is_wide


def span(network: Network, text: str | None) -> tuple[str, ...]:
    """Names of layers, the image included, in order: all, or those of `conv1_2:conv3_1,fc8`.

    `a:b` goes from a to b, both included. A ReLU that takes a layer's sums before they are stored
    comes with it. Raises OptionError as `selected` does.
    """
    order = list(network.shapes)
    if text is None:
        return tuple(order)
    chosen = selected(order, text)
    for name in tuple(chosen):
        node = network.by_name.get(name)
        if node is not None and is_wide(network, node):
            chosen.update(each.name for each in network.consumers[name])
            assert all(each.layer.takes_sums for each in network.consumers[name])
    return tuple(name for name in order if name in chosen)


def selected(order: Sequence[str], text: str) -> set[str]:
    """The layers that `a:b,c` names, a:b being all from a to b in this order. Raises OptionError
    for unknown names and for ranges that go backwards."""
    chosen: set[str] = set()
    for field in text.split(","):
        ends = [part.strip() for part in field.split(":")]
        for name in ends:
            if name not in order:
                raise unknown("layer", name, list(order))
        start, stop = order.index(ends[0]), order.index(ends[-1])
        if len(ends) > 2 or start > stop:
            raise OptionError(f"--layers {field.strip()}", "FIRST:LAST in the network's order")
        chosen.update(order[start : stop + 1])
    return chosen


def sources(network: Network, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Layers outside whose stored tensors the chosen ones read."""
    read = {
        name for each in chosen if each != INPUT for name in network.by_name[each].inputs
    } - set(chosen)
    return tuple(name for name in network.shapes if name in read)
