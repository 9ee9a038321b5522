"""Paper B, sections 5 and 6: eight and four bits mixed, by energy and by k-means (Tables 3, 4 and
6, Fig. 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from refq.errors import OptionError
from refq.networks.layers import Conv
from refq.papers import complexity
from refq.papers.granularity import PRINTED, error, hybrid_plan, less, lost
from refq.papers.study import Study
from refq.plans.cost import mac_complexity, relative_complexity
from refq.plans.plan import Plan
from refq.results import charts
from refq.results.tables import Cell, Table
from refq.schemes.energy import EXPERIMENTS
from refq.schemes.hybrid_options import HybridOptions

# points that an accepted threshold may lose where no search is asked for
DELTA = 1.0
# times the mean energy of a layer
THRESHOLDS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SHARES = (25, 50, 75)
CLUSTERS = 4


def energy_table(study: Study) -> Table:
    """Table 3: the paper's three experiments."""
    printed = PRINTED["table3"].get(study.network.name, {})
    network, rows = study.at_size, []
    for name in EXPERIMENTS:
        paper = printed.get(name, {})
        plan = study.plan("energy", hybrid=HybridOptions(experiment=name))
        bits = complexity.experiment_bits(network, name)
        savings = complexity.saved(network, bits)
        rows.append(
            (
                name,
                paper.get("top1_error"),
                *lost(study, plan),
                complexity.total(network, bits),
                paper.get("savings"),
                savings,
                less(savings, paper.get("savings")),
            )
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
    return Table(
        "Table 3: filters of little energy at 4 bits",
        (
            "experiment",
            "paper error",
            "error",
            "lost",
            "M MACs",
            "paper saved %",
            "saved %",
            "difference",
        ),
        tuple(rows),
        tuple(notes),
    )


def layer_table(study: Study) -> Table:
    """Table 4: the largest layer alone, in 2D and as base and residual kernels."""
    network, name = study.at_size, complexity.largest(study.at_size)
    count, macs = network.weight_shapes()[name][0], network.macs()[name]
    printed = PRINTED["table4"].get(study.network.name)
    whole, rows = complexity.of_format(macs, "8b,8b"), []
    for row in PRINTED["table4"]["alexnet"]:
        clusters, low = row["clusters"], 4 if "4b,8b" in (row["base"], row["residual"]) else 8
        if clusters:
            bits = complexity.clustered_bits(count, clusters, 8, low)
            own = _two_dimensional(
                clusters={name: clusters}, every_layer=0, low_bits={name: low}, only=(name,)
            )
            plan = study.plan("clustered", hybrid=own)
        else:
            bits = low
            plan = study.plan(
                "hybrid", hybrid=_two_dimensional(weight_bits={name: low}, only=(name,))
            )
        amount = macs * relative_complexity(bits, 8) / complexity.MILLION
        paper = row if printed else {}
        rows.append(
            (
                row["method"],
                clusters,
                f"<{row['base']}>",
                f"<{row['residual']}>" if clusters else None,
                paper.get("top1_error"),
                *lost(study, plan),
                paper.get("complexity"),
                amount,
                less(amount, paper.get("complexity")),
                paper.get("layer_savings"),
                100 * (1 - amount / whole),
                paper.get("network_savings"),
                complexity.saved(network, {name: bits}),
            )
        )
    notes = [f"{name} of {count} kernels; all other layers in float32, as in the paper"]
    if printed:
        notes.append(
            "K-means to 4 bits: half of 223.9 and 4/256 of it are 115.5; the printed 117 is 224 "
            "less its own rounded 48 %, and -0.6 the rounded -2 % of the layer's share"
        )
    return Table(
        f"Table 4: {name} alone",
        (
            "method",
            "K",
            "base",
            "residuals",
            "paper error",
            "error",
            "lost",
            "paper M MACs",
            "M MACs",
            "difference",
            "paper layer saved %",
            "layer saved %",
            "paper network saved %",
            "network saved %",
        ),
        tuple(rows),
        tuple(notes),
    )


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
    rows: list[tuple[Cell, ...]] = [
        ("top-1 error", paper.get("top1_error"), error(study, plan), None),
        ("points lost", None, lost(study, plan)[1], None),
        ("M MACs", paper.get("complexity"), amount, less(amount, paper.get("complexity"))),
        ("saved %", paper.get("savings"), savings, less(savings, paper.get("savings"))),
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
    return Table(
        "Table 6: k-means in all layers",
        ("what", "paper", "refq", "difference"),
        tuple(rows),
        tuple(notes),
    )


def recovery_table(study: Study) -> Table:
    """What mixing recovers of the points that 4-bit coefficients by layer lose."""
    convolutions = [n.name for n in study.network.weighted if isinstance(n.layer, Conv)]
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
    rows = []
    for name, plan in plans:
        own, points = lost(study, plan)
        recovered = None
        if points is not None and worst and worst > 0:
            recovered = 100 * (1 - points / worst)
        amount = sum(mac_complexity(study.at_size, plan).values()) / complexity.MILLION
        rows.append((name, own, points, recovered, amount, 100 * (1 - amount / full)))
    return Table(
        "Eight and four bits mixed",
        ("coefficients", "top-1 error", "lost", "recovered %", "M MACs", "saved %"),
        tuple(rows),
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
    own = _two_dimensional(clusters=clusters, every_layer=others, low_bits=low)
    return study.plan("clustered", hybrid=own)


@dataclass(frozen=True)
class Step:
    """A step of Fig. 4: filters below so many times their layer's mean energy have 4 bits.

    top1_error in percent; saved: percent of the complexity; accepted: within the points that may
    be lost."""

    threshold: float
    top1_error: float
    saved: float
    accepted: bool


def ladder(study: Study, delta: float) -> list[Step]:
    """Errors and savings over a ladder of thresholds."""
    alpha = error(study, None)
    assert alpha is not None  # asked for with labels alone
    full, found = sum(study.at_size.macs().values()), []
    for threshold in THRESHOLDS:
        plan = study.plan("energy", hybrid=HybridOptions(threshold=threshold))
        own = error(study, plan)
        assert own is not None
        amount = sum(mac_complexity(study.at_size, plan).values())
        found.append(Step(threshold, own, 100 * (1 - amount / full), own <= alpha + delta))
    return found


def trace_tables(study: Study, delta: float | None) -> Iterator[Table]:
    """Fig. 4: a ladder of thresholds on the test images, and the loop on the calibration's."""
    alpha, asked = error(study, None), DELTA if delta is None else delta
    accepted = (
        f"threshold: times the mean energy of a layer; accepted: at most {asked:g} points lost"
    )
    yield Table(
        "Fig. 4: thresholds of energy",
        ("threshold", "top-1 error", "lost", "saved %", "accepted"),
        tuple(
            (
                step.threshold,
                step.top1_error,
                less(step.top1_error, alpha),
                step.saved,
                "yes" if step.accepted else "no",
            )
            for step in ladder(study, asked)
        ),
        (accepted,),
    )
    if delta is None:
        return
    trace, note = loop(study, delta)
    rows: list[tuple[Cell, ...]] = [
        (str(number), step.threshold, step.top1_error, step.saved, "yes" if step.accepted else "no")
        for number, step in enumerate(trace)
    ]
    kept = [step.threshold for step in trace if step.accepted]
    if kept:
        plan = study.plan("energy", hybrid=HybridOptions(threshold=max(kept)))
        own, points = lost(study, plan)
        amount = sum(mac_complexity(study.at_size, plan).values())
        saved = 100 * (1 - amount / sum(study.at_size.macs().values()))
        rows.append(("evaluated", max(kept), own, saved, None))
        note += f"; evaluated on the test images it loses {points:.2f} points"
    yield Table(
        "Fig. 4: the loop on the calibration images",
        ("step", "threshold", "top-1 error", "saved %", "accepted"),
        tuple(rows),
        (note,),
    )


def loop(study: Study, delta: float) -> tuple[list[Step], str]:
    """The steps of Fig. 4's loop, and how it went; none where no threshold keeps the accuracy."""
    try:
        found, note = study.search("energy", delta, "threshold")
    except OptionError as reason:
        return [], f"no threshold: {reason}"
    full = sum(study.network.macs().values()) / complexity.MILLION
    trace = [
        Step(
            trial["setting"],
            100 - trial["accuracy"],
            100 * (1 - trial["macs"] / full),
            trial["accepted"],
        )
        for trial in found["trials"]
    ]
    return trace, note


def trace_figure(study: Study, delta: float | None) -> dict[str, Any]:
    """Fig. 4: top-1 error against what thresholds save."""
    found, alpha = ladder(study, 0.0), error(study, None)
    saved = [step.saved for step in found]
    series = [
        charts.line("test images", saved, [step.top1_error for step in found]),
        charts.line("float, test images", [min(saved), max(saved)], [alpha, alpha], style="line"),
    ]
    trace = loop(study, delta)[0] if delta is not None else []
    if trace:
        errors = [step.top1_error for step in trace]
        series.append(charts.line("the loop", [step.saved for step in trace], errors))
    return charts.curves(
        "Thresholds of energy (Fig. 4)", "complexity saved, %", "top-1 error, %", series
    )
