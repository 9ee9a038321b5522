"""Paper B's complexity of multiply-accumulates, from widths alone: Tables 1, 3, 4 and 6.

Everything is of a network at its published size, in M MACs of 8 by 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping

from refq.networks import Network, build
from refq.plans.cost import FLOAT_MAC_BITS, relative_complexity
from refq.schemes.energy import EXPERIMENTS
from refq.tables import Row, Table

MILLION = 1e6
HIGH, LOW = 8, 4
OPERANDS = {"8b": HIGH, "4b": LOW, "flp": FLOAT_MAC_BITS}


def total(network: Network, bits: Mapping[str, float] | None = None, data: float = HIGH) -> float:
    """Complexity of a network whose coefficients have so many bits on average by layer name, 8
    where none are named."""
    return (
        sum(
            macs * relative_complexity((bits or {}).get(name, HIGH), data)
            for name, macs in network.macs().items()
        )
        / MILLION
    )


def of_format(macs: float, operands: str) -> float:
    """Complexity of so many MACs with operands such as `4b,8b`: coefficients, data."""
    coefficients, data = operands.split(",")
    return macs * relative_complexity(OPERANDS[coefficients], OPERANDS[data]) / MILLION


def saved(network: Network, bits: Mapping[str, float]) -> float:
    """Percent of the complexity with 8 bits everywhere that these widths save."""
    return 100 * (1 - total(network, bits) / total(network))


def largest(network: Network) -> str:
    """The layer of most MACs between the first and the last, the paper's layer 4 of AlexNet."""
    macs = network.macs()
    return max(list(macs)[1:-1], key=macs.__getitem__)


def experiment_bits(network: Network, experiment: str) -> dict[str, float]:
    """Mean bits by layer of an experiment of Table 3: 8 in the first and the last layer, a share of
    4 in the largest, 4 in all others."""
    share = EXPERIMENTS[experiment]
    if share is None:
        return {}
    layers = list(network.macs())
    bits: dict[str, float] = dict.fromkeys(layers[1:-1], LOW)
    bits[largest(network)] = HIGH - (HIGH - LOW) * share / 100
    return bits


def clustered_bits(kernels: int, clusters: int, base: int, residual: int) -> float:
    """Mean bits of kernels as base and residual: K of N are computed at the base's bits besides."""
    return base * clusters / kernels + residual


def clustering_bits(
    network: Network, clusters: Mapping[str, int], residuals: Mapping[str, int]
) -> dict[str, float]:
    """Mean bits by layer with K base kernels of 8 bits, and residuals of 4 where none are named."""
    shapes = network.weight_shapes()
    return {
        name: clustered_bits(shapes[name][0], count, HIGH, residuals.get(name, LOW))
        for name, count in clusters.items()
    }


def layer_table(printed: Mapping[str, object]) -> Table:
    """Table 1: one layer in several formats."""
    network, name = build(str(printed["network"])), str(printed["layer"])
    macs = network.macs()[name]
    rows: list[Row] = []
    complexity = printed["complexity"]
    assert isinstance(complexity, dict)
    for operands, paper in complexity.items():
        ours = of_format(macs, operands)
        rows.append(
            {
                "format": f"<{operands}>",
                "paper M MACs": paper,
                "M MACs": ours,
                "difference": ours - paper,
            }
        )
    return Table(
        "Table 1: complexity of layer 4 of AlexNet",
        rows,
        (
            f"27 x 27 x 5 x 5 x 48 x 256 = {macs:,} MACs: M = 48 is one group's input channels, as "
            "printed",
            f"the paper rounds to 224 before it multiplies; floating point counts {FLOAT_MAC_BITS} "
            "bits, which is its 9",
        ),
    )
