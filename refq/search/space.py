"""What a search may choose: a width for each layer, and what every choice costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from refq.errors import OptionError
from refq.networks.graph import INPUT, Network
from refq.networks.points import Point, storage_points, stored_counts
from refq.plans.cost import activation_memory, mac_complexity
from refq.plans.plan import Plan

Widths = tuple[int, ...]

# objective -> (what its report is called, units in one of those)
OBJECTIVES = {"memory": ("MB", 8e6), "macs": ("M MACs at 8x8 bits", 1e6)}
# The name of the only layer where all points have one width.
ALL = "all"
# Beside the objective, stored bits count for so much: what costs nothing still gets few bits.
LESSER = 1e-3


@dataclass(frozen=True)
class Space:
    """Widths from `least` to each layer's `top`, and their costs.

    cost[layer][width - least]: what a layer adds at a width, in units of the objective, strictly
    growing with the width up to the top; fixed: what all lists share. unit: how reports call it.
    """

    layers: tuple[str, ...]
    top: Widths
    least: int
    cost: tuple[tuple[float, ...], ...]
    fixed: float = 0.0
    unit: str = ""

    def at(self, layer: int, width: int) -> float:
        return self.cost[layer][width - self.least]

    def total(self, widths: Widths) -> float:
        """The objective of a whole list."""
        return self.fixed + sum(self.at(i, width) for i, width in enumerate(widths))

    def named(self, widths: Widths) -> dict[str, int]:
        return dict(zip(self.layers, widths, strict=True))


def changed(widths: Widths, layer: int, by: int) -> Widths:
    """The list with one layer's width raised, or lowered."""
    return (*widths[:layer], widths[layer] + by, *widths[layer + 1 :])


def searched_layers(network: Network) -> tuple[str, ...]:
    """Layers whose stored input is an activation: all but the image, each once."""
    points = [point for point in storage_points(network) if point.producers and point.readers]
    return tuple(dict.fromkeys(point.width_of for point in points))


def storable_widths(network: Network, layers: Sequence[str], widths: range) -> range:
    """The widths that all values of these layers can have: from 2 bits on where one has a sign.
    Raises OptionError where that is none."""
    signed = any(
        point.signed and _owned(point, layer)
        for point in storage_points(network)
        if INPUT not in point.makers
        for layer in layers
    )
    kept = range(max(widths.start, 1 + signed), widths.stop)
    if not kept:
        raise OptionError(f"widths of {widths.stop - 1} bit for signed values", "2 or more bits")
    return kept


def space_of(
    network: Network,
    plan_for: Callable[[Mapping[str, int]], Plan],
    layers: Sequence[str],
    widths: range,
    objective: str,
) -> Space:
    """The space of a scheme, from one plan for each storable width that all layers take at once.

    A layer's top is the least width that stores as many bits as the greatest one does: more are
    kept by no plan, where a layer's values need fewer.
    """
    points, widths = storage_points(network), storable_widths(network, layers, widths)
    counts = stored_counts(network, points)
    unit, divisor = OBJECTIVES[objective]
    amounts: list[dict[str, float]] = []
    stored: list[dict[str, float]] = []
    for width in widths:
        plan = plan_for(dict.fromkeys(layers, width))
        amounts.append(_objective(network, plan, objective))
        stored.append(
            {p.name: plan.tensors[p.makers[0]].stored_bits * (counts[p.name] or 1) for p in points}
        )

    def column(values: Sequence[Mapping[str, float]], layer: str) -> list[float]:
        owned = [point.name for point in points if _owned(point, layer)]
        return [sum(each[name] for name in owned) for each in values]

    top, cost = [], []
    for layer in layers:
        bits = column(stored, layer)
        top.append(widths[bits.index(bits[-1])])
        kept = zip(column(amounts, layer), bits, strict=True)
        cost.append(tuple((amount + LESSER * bit) / divisor for amount, bit in kept))
    owned = {p.name for p in points for layer in layers if _owned(p, layer)}
    fixed = sum(amount for name, amount in amounts[0].items() if name not in owned)
    return Space(
        layers=tuple(layers),
        top=tuple(top),
        least=widths[0],
        cost=tuple(cost),
        fixed=fixed / divisor,
        unit=unit,
    )


def _owned(point: Point, layer: str) -> bool:
    return layer in (ALL, point.width_of)


def amount(network: Network, plan: Plan, objective: str) -> float:
    """The objective itself of a plan, in its unit."""
    return sum(_objective(network, plan, objective).values()) / OBJECTIVES[objective][1]


def _objective(network: Network, plan: Plan, objective: str) -> dict[str, float]:
    """{point: amount}: bits of stored convolution outputs, or 8x8-bit MACs of its readers."""
    points = storage_points(network)
    if objective == "memory":
        return dict(activation_memory(network, plan).points)
    complexity = mac_complexity(network, plan)
    return {p.name: sum(complexity.get(name, 0.0) for name in p.readers) for p in points}
