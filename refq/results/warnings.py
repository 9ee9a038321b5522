"""What a reader of a report should not miss: layers whose numbers their formats do not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from refq.engine.losses import Losses
from refq.formats.fixed import FormatGrid
from refq.formats.floats import AffineGrid
from refq.networks.graph import Network
from refq.plans.cost import mac_complexity, unclustered
from refq.plans.plan import Clustered, Plan
from refq.tables import Row

# percent of a layer's weights, biases or stored inputs that may saturate without a word
COEFFICIENTS, INPUTS = 1.0, 5.0
# layers that a line names
NAMED = 3


def warnings(
    network: Network, plan: Plan | None, losses: Mapping[str, Losses], rows: Sequence[Row] = ()
) -> list[str]:
    """A line for each kind of trouble, worst layers first. rows: of the layer table, where
    activations were measured."""
    if plan is None:
        return []
    weights, biases, kernels, none, beyond = {}, {}, {}, {}, {}
    for name, lost in losses.items():
        # each format's own largest may lie a step beyond it, by its rule
        spare = _formats(plan.layers[name].weight)
        weights[name] = _share(lost.saturated_weights - spare, lost.saturated_weights, lost.weights)
        biases[name] = _share(lost.saturated_biases - 1, lost.saturated_biases, lost.outputs)
        kernels[name] = lost.empty_kernels, f"{lost.empty_kernels} of {lost.outputs}"
        gone = lost.empty_biases if lost.empty_biases == lost.biases else 0
        none[name] = gone, f"{gone} of {lost.outputs}"
        beyond[name] = lost.beyond, f"{lost.beyond} of {lost.outputs}"
    inputs = {str(row["name"]): _number(row["saturated_percent"]) for row in rows}
    full = {name: (own, f"{own:.1f} %") for name, own in inputs.items() if own >= INPUTS}
    dead = {str(row["name"]): (1, "") for row in rows if row["zero_percent"] == 100.0}
    spilt = {
        str(row["name"]): (_number(row["accumulator_overflows"]), f"{row['accumulator_overflows']}")
        for row in rows
    }
    told: tuple[tuple[str, Mapping[str, tuple[float, str]]], ...] = (
        ("weights saturate", weights),
        ("biases saturate", biases),
        ("kernels have no weight left but 0", kernels),
        ("all biases become 0", none),
        ("biases lie beyond the accumulator", beyond),
        ("sums overflow the accumulator", spilt),
        ("stored inputs saturate", full),
        ("all stored inputs are 0", dead),
        ("base kernels save nothing", _vain(network, plan)),
    )
    return [f"{what}: {line}" for what, found in told if (line := _worst(found))]


def _number(cell: object) -> float:
    return float(cell) if isinstance(cell, (int, float)) else 0.0


def _share(counted: int, saturated: int, of: int) -> tuple[float, str]:
    """(what decides, what is told) of so many; 0 where it is little."""
    percent = 100 * saturated / of
    much = counted > 0 and percent >= COEFFICIENTS
    return (percent if much else 0.0), f"{percent:.1f} %"


def _formats(weight: object) -> int:
    """How many formats a layer's weights have."""
    if isinstance(weight, Clustered):
        return _formats(weight.base) + _formats(weight.residual)
    grid = weight.bits if isinstance(weight, FormatGrid) else None
    grid = weight.mean if isinstance(weight, AffineGrid) else grid
    return 1 if grid is None else int(np.size(grid))


def _vain(network: Network, plan: Plan) -> dict[str, tuple[float, str]]:
    """Clustered layers that take no fewer MACs than their kernels would alone."""
    planned, alone = mac_complexity(network, plan), mac_complexity(network, unclustered(plan))
    found = {}
    for name, layer in plan.layers.items():
        if isinstance(layer.weight, Clustered) and planned[name] >= alone[name]:
            bases, kernels = 1 + max(layer.weight.labels), len(layer.weight.labels)
            found[name] = planned[name] / alone[name], f"{bases} for {kernels} kernels"
    return found


def _worst(found: Mapping[str, tuple[float, str]]) -> str:
    """Layers with any of it, the worst ones by name."""
    some = sorted((pair for pair in found.items() if pair[1][0]), key=lambda pair: -pair[1][0])
    named = ", ".join(f"{name} {told}".strip() for name, (_, told) in some[:NAMED])
    more = f" and {len(some) - NAMED} more layers" if len(some) > NAMED else ""
    return f"{named}{more}"
