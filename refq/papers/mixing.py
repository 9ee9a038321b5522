"""Paper B, sections 5 and 6: eight and four bits mixed, by energy and by k-means (Tables 3, 4 and
6)."""

from __future__ import annotations

from typing import Any

from refq.papers import complexity
from refq.papers.granularity import PRINTED, hybrid_plan, lost
from refq.papers.study import Study
from refq.plans.cost import mac_complexity, relative_complexity
from refq.plans.plan import Plan
from refq.schemes.energy import EXPERIMENTS
from refq.schemes.hybrid_options import HybridOptions
from refq.tables import Cell, Row, Table, less

SHARES = (25, 50, 75)
CLUSTERS = 4


def energy_table(study: Study) -> Table:
    """Table 3: the paper's three experiments."""
    printed = PRINTED["table3"].get(study.network.name, {})
    network = study.at_size
    rows: list[Row] = []
    for name in EXPERIMENTS:
        paper = printed.get(name, {})
        top1, points = lost(study, _experiment(study, name))
        bits = complexity.experiment_bits(network, name)
        savings = complexity.saved(network, bits)
        rows.append(
            {
                "experiment": name,
                "paper error": paper.get("top1_error"),
                "error": top1,
                "lost": points,
                "M MACs": complexity.total(network, bits),
                "paper saved %": paper.get("savings"),
                "saved %": savings,
                "difference": less(savings, paper.get("savings")),
            }
        )
    largest = complexity.largest(network)
    notes = [
        f"moderate: 4 bits for 40 % of the filters of {largest}, those with the least energy, and "
        "for all of every other layer but the first and the last; aggressive: all of it, too"
    ]
    if printed:
        apart = complexity.saved(network, {largest: 8 - 0.6 * (8 - 4)})
        notes.append(
            "no choice of the other layers gives both printed savings: they are 14 points apart, "
            f"and the 60 % of {largest} between them are {apart:.1f}. Energies are of other images"
        )
    return Table("Table 3: filters of little energy at 4 bits", rows, notes)


def layer_table(study: Study) -> Table:
    """Table 4: the largest layer alone, in 2D and as base and residual kernels."""
    network, name = study.at_size, complexity.largest(study.at_size)
    count, macs = network.weight_shapes()[name][0], network.macs()[name]
    printed = PRINTED["table4"].get(study.network.name)
    whole = complexity.of_format(macs, "8b,8b")
    rows: list[Row] = []
    for row in PRINTED["table4"]["alexnet"]:
        clusters, low = row["clusters"], 4 if "4b,8b" in (row["base"], row["residual"]) else 8
        if clusters:
            bits = complexity.clustered_bits(count, clusters, 8, low)
            options = _two_dimensional(
                clusters={name: clusters}, every_layer=0, low_bits={name: low}, only=(name,)
            )
            plan = study.plan("clustered", hybrid=options)
        else:
            bits = low
            plan = study.plan(
                "hybrid", hybrid=_two_dimensional(weight_bits={name: low}, only=(name,))
            )
        amount = macs * relative_complexity(bits, 8) / complexity.MILLION
        paper = row if printed else {}
        top1, points = lost(study, plan)
        rows.append(
            {
                "method": row["method"],
                "K": clusters,
                "base": f"<{row['base']}>",
                "residuals": f"<{row['residual']}>" if clusters else None,
                "paper error": paper.get("top1_error"),
                "error": top1,
                "lost": points,
                "paper M MACs": paper.get("complexity"),
                "M MACs": amount,
                "difference": less(amount, paper.get("complexity")),
                "paper layer saved %": paper.get("layer_savings"),
                "layer saved %": 100 * (1 - amount / whole),
                "paper network saved %": paper.get("network_savings"),
                "network saved %": complexity.saved(network, {name: bits}),
            }
        )
    notes = [f"{name} of {count} kernels; all other layers in float32, as in the paper"]
    if printed:
        notes.append(
            "K-means to 4 bits: half of 223.9 and 4/256 of it are 115.5; the printed 117 is 224 "
            "less its own rounded 48 %, and -0.6 the rounded -2 % of the layer's share"
        )
    return Table(f"Table 4: {name} alone", rows, notes)


def clusters_table(study: Study) -> Table:
    """Table 6: all layers as base and residual kernels."""
    network = study.at_size
    names = list(network.macs())
    paper = PRINTED["table6"].get(study.network.name, {})
    clusters = paper.get("clusters", dict.fromkeys(names, CLUSTERS))
    residuals = dict.fromkeys(paper.get("residual_8b", names[:1]), 8)
    bits = complexity.clustering_bits(network, clusters, residuals)
    amount, savings = complexity.total(network, bits), complexity.saved(network, bits)
    plan = _clustered(study, clusters, CLUSTERS, residuals)
    top1, points = lost(study, plan)
    figures: list[tuple[str, Cell, Cell, Cell]] = [
        ("top-1 error", paper.get("top1_error"), top1, None),
        ("points lost", None, points, None),
        ("M MACs", paper.get("complexity"), amount, less(amount, paper.get("complexity"))),
        ("saved %", paper.get("savings"), savings, less(savings, paper.get("savings"))),
    ]
    rows = [
        {"what": what, "paper": printed, "refq": ours, "difference": difference}
        for what, printed, ours, difference in figures
    ]
    notes = [
        "K: " + ", ".join(f"{name} {count}" for name, count in clusters.items())
        if paper
        else f"K = {CLUSTERS} in every layer",
        f"base kernels at 8 bits, residuals at 4, of {', '.join(residuals)} at 8",
    ]
    if paper:
        notes.append(
            "with two base kernels in conv1, too: 420.2 without; the printed 41.6 is 41.69 cut off"
        )
    return Table("Table 6: k-means in all layers", rows, notes)


def recovery_table(study: Study) -> Table:
    """What mixing recovers of the points that 4-bit coefficients by layer lose."""
    convolutions = [node.name for node in study.network.convolutions]
    names = [node.name for node in study.network.weighted]
    inner = [name for name in convolutions if name not in (names[0], names[-1])]
    plans: list[tuple[str, Plan]] = [
        (f"{finer}, all at 4 bits", hybrid_plan(study, finer, 4)) for finer in ("4D", "3D", "2D")
    ]
    for share in (*SHARES, 100):
        low = dict.fromkeys(inner, float(share))
        plan = study.plan("energy", hybrid=HybridOptions(low_share=low))
        plans.append((f"energy, {share} % at 4 bits", plan))
    plans.append(("energy, moderate", _experiment(study, "moderate")))
    first = {names[0]: 8}
    plans.append((f"k-means, K = {CLUSTERS}, 8 + 4 bits", _clustered(study, {}, CLUSTERS, first)))
    plans.append(("2D, all at 8 bits", hybrid_plan(study, "2D", 8)))
    worst = lost(study, plans[0][1])[1]
    full = sum(study.at_size.macs().values()) / complexity.MILLION
    rows: list[Row] = []
    for name, plan in plans:
        top1, points = lost(study, plan)
        recovered = None
        if points is not None and worst and worst > 0:
            recovered = 100 * (1 - points / worst)
        amount = sum(mac_complexity(study.at_size, plan).values()) / complexity.MILLION
        rows.append(
            {
                "coefficients": name,
                "top-1 error": top1,
                "lost": points,
                "recovered %": recovered,
                "M MACs": amount,
                "saved %": 100 * (1 - amount / full),
            }
        )
    return Table(
        "Eight and four bits mixed",
        rows,
        (
            "recovered: of the points that 4 bits by layer (4D) lose; data at 8 bits",
            "shares of every convolution's filters, those with the least energy; the first and the "
            f"last layer keep 8 bits. K-means: residuals of {names[0]} have 8 bits",
            "complexity at ImageNet's size, with the shares found here",
        ),
    )


def _experiment(study: Study, name: str) -> Plan:
    return study.plan("energy", hybrid=HybridOptions(experiment=name))


def _two_dimensional(**changes: Any) -> HybridOptions:
    return HybridOptions(granularity="2D", **changes)


def _clustered(study: Study, clusters: dict[str, int], others: int, low: dict[str, int]) -> Plan:
    options = _two_dimensional(clusters=clusters, every_layer=others, low_bits=low)
    return study.plan("clustered", hybrid=options)
