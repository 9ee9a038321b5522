"""Paper B: hybrid quantization (HQ) of coefficients and data, Tables 1 to 6, Figs. 3 and 4.

Complexity is that of the network at ImageNet's size, which needs neither weights nor images;
errors are of the weights and images at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from refq import networks
from refq.errors import DataError
from refq.networks import bundled
from refq.papers import accumulators, complexity, granularity, mixing, outliers, thresholds
from refq.papers.study import Study
from refq.plans.cost import format_bits, temporary_bits, weight_bits
from refq.plans.plan import Plan
from refq.schemes.hybrid_options import HybridOptions
from refq.tables import Column, Row, Table

PRINTED = granularity.PRINTED


def _studied() -> Iterator[str]:
    """The paper's networks and those of refq's own, where weights come with refq."""
    names = ["alexnet", "squeezenet1_1", "vgg16", *(row["network"] for row in PRINTED["table5"])]
    for name in dict.fromkeys(names):
        if name in networks.known():
            try:
                bundled.path(f"{name}.h5")
            except DataError:
                continue
            yield name


NETWORKS = tuple(_studied())
READS = ()  # every tensor has its own F


def tables(study: Study, delta: float | None) -> Iterator[Table]:
    """Every table of the paper, one after the other; delta: points that the loop of Fig. 4 may
    lose, None for no loop."""
    if study.network.name == PRINTED["table1"]["network"]:
        yield complexity.layer_table(PRINTED["table1"])
    if study.ranks:
        yield granularity.comparison_table(study)
        yield granularity.systems_table(study)
        yield granularity.widths_table(study)
        yield mixing.energy_table(study)
        yield mixing.layer_table(study)
        yield granularity.networks_table(study)
        yield mixing.clusters_table(study)
        yield mixing.recovery_table(study)
        yield from thresholds.trace_tables(study, delta)
        yield accumulators.table(study)
    else:
        yield Table(
            "Tables 2 to 6",
            (),
            ["left out: they need images with labels, and weights with a classifier"],
            [Column("table")],
        )
    yield outliers.table(study)
    yield storage_table(study)


def storage_table(study: Study) -> Table:
    """What weights, what tells their formats apart, and temporary maps take."""
    clustered = HybridOptions(granularity="2D")
    plans: list[tuple[str, Plan | None]] = [("float32", None)]
    for bits in (8, 4):
        for finer in ("4D", "3D", "2D"):
            plan = granularity.hybrid_plan(study, finer, bits)
            plans.append((f"{finer}, {bits} bits", plan))
    plans.append(("energy, moderate", study.plan("energy")))
    plans.append(("k-means, K = 4, 8 + 4 bits", study.plan("clustered", hybrid=clustered)))
    mapped = HybridOptions(data_granularity="map")
    plans.append(("3D, 8 bits, data by feature map", study.plan("hybrid", hybrid=mapped)))
    measures = {
        "weights kB": weight_bits,
        "formats kB": format_bits,
        "temporary maps kB": temporary_bits,
    }
    rows: list[Row] = []
    for name, stored in plans:
        amounts = {
            heading: bits_of(study.network, stored) / 8 / granularity.KILOBYTE
            for heading, bits_of in measures.items()
        }
        rows.append({"coefficients": name, **amounts})
    return Table(
        "Storage of coefficients",
        rows,
        (
            "of the weights at hand; kB: 10^3 bytes; weights with biases, 8 bits each in HQ",
            "formats: a byte for each format's fraction bits, one for its bits where they differ, "
            "one for a kernel's base",
            "temporary maps: K maps of sums of the layer that needs most, 32 bits a value",
        ),
    )


def figures(study: Study, delta: float | None) -> list[dict[str, Any]]:
    """Fig. 3, errors against bits, Fig. 4; as refq.report draws them."""
    drawn = [outliers.figure(study)]
    if study.ranks:
        drawn += [granularity.widths_figure(study), thresholds.figure(study, delta)]
    return drawn
