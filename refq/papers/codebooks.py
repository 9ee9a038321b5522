"""Paper A's Table IV: which tensor each printed codebook is of, and what k-means finds there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refq.formats.fixed import FixedPointFormat
from refq.networks.points import storage_points
from refq.papers.study import Study
from refq.schemes import Options, knq
from refq.tables import Cell, Row, Table

BITS = 12
# Lloyd's starts that are tried beside the optimum
STARTS = ("lloyd", "lloyd-range", "lloyd-random", "lloyd++")
# steps that nearly all of them end within
STEPS = 1000


@dataclass(frozen=True)
class Fit:
    """A codebook of one tensor beside a printed one.

    tensor: which of the layer's tensors it is: what it reads, what is stored for it (before
    pooling), or its output. distance: root mean square difference over the printed values' mean.
    """

    tensor: str
    kmeans: str
    values: tuple[int, ...]
    distance: float


def fits(study: Study, layer: str, printed: Sequence[int]) -> list[Fit]:
    """Every way to read a printed row, the nearest first."""
    network, wanted = study.network, np.array(printed, np.float64)
    node = network.by_name[layer]
    point = next(p for p in storage_points(network) if node.inputs[0] in p.tensors)
    outputs = [n.name for n in network.consumers[layer] if n.layer.takes_sums]
    tensors = {"input": (node.inputs[0],), "stored": point.makers, "output": tuple(outputs)}
    readings = []
    for tensor, names in tensors.items():
        if not names or not all(name in study.statistics.codes for name in names):
            continue
        fmt = FixedPointFormat(BITS, study.frac_bits, signed=False)
        counts = knq.saturated(study.statistics.joined_codes(names), fmt)
        for kmeans in ("exact", *STARTS):
            values = knq.centroids(
                counts, len(printed), Options(kmeans=kmeans, kmeans_iterations=STEPS)
            )
            gap = np.sqrt(np.mean((np.array(values) - wanted) ** 2)) / wanted.mean()
            readings.append(Fit(tensor, kmeans, values, float(gap)))
    return sorted(readings, key=lambda fit: fit.distance)


def table(study: Study, printed: Mapping[str, Sequence[int]]) -> Table:
    """Table IV, row by row; without printed rows at this scale, the codebooks alone."""
    title = "Table IV: codebooks"
    if printed and study.frac_bits == 0:
        return Table(title, *_beside(study, printed))
    rows = [{"layer": name, "values": _text(values)} for name, values in _codebooks(study, printed)]
    scale = f"values are codes at F = {study.frac_bits}"
    if printed:
        scale += "; the paper's are of the ImageNet VGG-16 at F = 0 and no match for other weights"
    return Table(title, rows, [scale])


def _beside(study: Study, printed: Mapping[str, Sequence[int]]) -> tuple[list[Row], list[str]]:
    """(rows, notes): each printed row above what k-means finds on the tensor that it fits best."""
    rows: list[Row] = []
    totals: dict[str, list[float]] = {}

    def add(layer: str, kmeans: str, fit: Fit | None, values: Cell) -> None:
        tensor, off = (fit.tensor, 100 * fit.distance) if fit else (None, None)
        rows.append(
            {"layer": layer, "k-means": kmeans, "of": tensor, "off %": off, "values": values}
        )

    for layer, row in printed.items():
        ranked = fits(study, layer, row)
        best = ranked[0]
        for tensor in ("input", "stored", "output"):
            gaps = [100 * fit.distance for fit in ranked if fit.tensor == tensor]
            totals.setdefault(tensor, []).extend(gaps[:1])
        add(layer, "paper", None, _text(row))
        for kmeans in ("exact", *STARTS):
            fit = next(f for f in ranked if f.tensor == best.tensor and f.kmeans == kmeans)
            add(layer, kmeans, fit, _text(fit.values))
        for tensor in dict.fromkeys(f.tensor for f in ranked if f.tensor != best.tensor):
            other = next(f for f in ranked if f.tensor == tensor)
            add(layer, f"{other.kmeans}, not", other, None)
    means = ", ".join(f"{tensor} {np.mean(gaps):.1f}" for tensor, gaps in totals.items())
    return rows, [
        f"mean of the best 'off %' over {len(printed)} rows: {means}",
        "of: the layer's input as it reads it, what is stored for it before pooling, or its "
        "output, whichever comes nearest to the printed row; 'not' rows are the others' best",
        "off %: root mean square difference over the mean printed value; Lloyd's takes at most "
        f"{STEPS} steps",
        "the paper clusters other images and names no start; its rows end at 4096, 12 bits at 4095",
    ]


def panels(study: Study, printed: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """The codebooks as a figure's panels."""
    drawn = []
    for name, values in _codebooks(study, printed):
        panel: dict[str, Any] = {"name": name, "values": list(values)}
        if name in printed and study.frac_bits == 0:
            panel["paper"] = list(printed[name])
        drawn.append(panel)
    return drawn


def _codebooks(
    study: Study, printed: Mapping[str, Sequence[int]]
) -> list[tuple[str, tuple[int, ...]]]:
    """(layer, codebook) of every layer that reads one, under the plan of the table."""
    plan = study.plan("knq", bits_act=5 if printed else 3)
    entries = [(p, plan.tensors[p.makers[0]].code) for p in storage_points(study.network)]
    return [
        (p.name, tuple(code.lookup)) for p, code in entries if code and code.lookup and p.readers
    ]


def _text(values: Sequence[int]) -> str:
    return " ".join(map(str, values))
