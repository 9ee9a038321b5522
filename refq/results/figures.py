"""An evaluation's figures: stored values by layer, codebooks, what a search tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refq.measure.noise import PointNoise
from refq.networks.graph import Network
from refq.networks.points import Point, storage_points
from refq.plans.cost import MEGABYTE, Memory, stored_bits
from refq.plans.plan import Plan
from refq.results import charts

MOST_BINS = 128


def figures(
    network: Network,
    plan: Plan,
    noise: Mapping[str, PointNoise],
    memory: Memory,
    search: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """What charts describes, for every point whose stored codes were counted (noise)."""
    panels, books = [], []
    for point in storage_points(network):
        counts, stored = noise[point.name].histogram, plan.kept(point)
        if counts is None or stored is None or not counts.any():
            continue
        name = f"{point.name}, {stored.stored_bits} bits"
        codes = np.array(stored.storage.levels, np.int64)
        panels.append({"name": name, **binned(codes * 2.0**-stored.fixed.frac_bits, counts)})
        if stored.storage.lookup:
            behind = binned(codes.astype(np.float64), counts, len(codes))
            books.append({"name": name, "values": codes.tolist(), **behind})
    drawn = []
    if panels:
        title = f"{network.name}, {plan.scheme}: stored inputs by layer"
        drawn.append(charts.histograms(title, "stored value", "probability", panels, log=True))
    if books:
        title = f"{network.name}, {plan.scheme}: codebooks, in codes of each input's format"
        drawn.append(charts.codebooks(title, books))
    if search:
        drawn += _search(network, plan, memory, search)
        drawn += _tuning(network, plan, search)
    return drawn


def binned(values: np.ndarray, counts: np.ndarray, most: int = MOST_BINS) -> dict[str, list[float]]:
    """At most `most` bins over the values that occur: {"edges" (n + 1,), "counts" (n,)}.

    values (k,) never descend; counts int64 (k,) or longer with zeros, and not all zero. A bin
    holds a run of equally many values, its edges are half way to their neighbours, and its count
    is their share of all.
    """
    places, inverse = np.unique(values, return_inverse=True)
    sums = np.bincount(inverse, counts[: len(values)], len(places))
    used = np.flatnonzero(sums)
    first, last = int(used[0]), int(used[-1])
    gaps = np.diff(places) if len(places) > 1 else np.ones(1)
    edges = np.concatenate(
        [[places[0] - gaps[0] / 2], places[:-1] + np.diff(places) / 2, [places[-1] + gaps[-1] / 2]]
    )
    size = -(-(last + 1 - first) // most)
    starts = np.arange(first, last + 1, size)
    stop = min(int(starts[-1]) + size, len(places))
    shares = np.add.reduceat(sums[:stop], starts) / sums.sum()
    return {"edges": [*edges[starts].tolist(), float(edges[stop])], "counts": shares.tolist()}


def _search(
    network: Network, plan: Plan, memory: Memory, search: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Accuracy against memory, or against bits where all layers had the same."""
    trials = [trial for trial in search.get("trials", ()) if trial.get("widths")]
    if not trials or search.get("strategy") == "halving":
        return []  # widths of parts, which no axis shows
    same = all(set(trial["widths"]) == {"all"} for trial in trials)
    points = storage_points(network)
    x: list[float] = [
        trial["widths"]["all"] if same else megabytes(points, plan, memory, trial["widths"])
        for trial in trials
    ]
    across = "bits of every activation" if same else "activation memory of one image, MB"
    title = f"{network.name}, {plan.scheme}: search, {len(trials)} trials"
    return [_tried(title, across, search, trials, x)]


def _tuning(network: Network, plan: Plan, search: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Accuracy against complexity of plans by threshold or clusters (paper B, Fig. 4)."""
    trials = [trial for trial in search.get("trials", ()) if "setting" in trial]
    if not trials:
        return []
    title = f"{network.name}, {plan.scheme}: {search['strategy']}, {len(trials)} trials"
    return [_tried(title, search["unit"], search, trials, [trial["macs"] for trial in trials])]


def _tried(
    title: str,
    across: str,
    search: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    x: Sequence[float],
) -> dict[str, Any]:
    """Accuracy of trials at x, those that were kept, those that were not, and the floor."""
    series = []
    for accepted, name in ((True, "kept"), (False, "below the floor")):
        pairs = [
            (place, trial["accuracy"])
            for place, trial in zip(x, trials, strict=True)
            if bool(trial["accepted"]) is accepted
        ]
        if pairs:
            places, accuracies = zip(*pairs, strict=True)
            series.append(charts.line(name, list(places), list(accuracies), style="points"))
    floor, ends = search["reference"] - search["delta"], [min(x), max(x)]
    series.append(charts.line(f"floor, {floor:.2f} %", ends, [floor, floor], style="line"))
    metric = {"top1": "top-1", "top5": "top-5"}.get(search["metric"], search["metric"])
    return charts.curves(title, across, f"{metric}, %", series)


def megabytes(
    points: Sequence[Point], plan: Plan, memory: Memory, widths: Mapping[str, int]
) -> float:
    """Activation memory under a trial's widths. A width beyond a point's q_m stores q_m bits."""
    most = plan.options.get("q_m")
    bits = 0
    for point in points:
        width = widths.get(point.width_of, stored_bits(plan, point))
        if isinstance(most, Mapping):
            width = min(width, most.get(point.name, width))
        bits += memory.values[point.name] * width
    return bits / 8 / MEGABYTE
