"""Paper B's Fig. 3: what a layer's largest coefficients cost all others under one format."""

from __future__ import annotations

from typing import Any

import numpy as np

from refq.papers.study import Study
from refq.results import charts
from refq.schemes.granular import AXES, integer_bits
from refq.tables import Row, Table


def gained(study: Study, layer: str) -> dict[str, float]:
    """{3D, 2D: integer bits that finer formats free, on average over coefficients}."""
    weight = study.weights.weight[layer]
    whole = int(integer_bits(weight, 0, study.options))
    return {
        finer: float(np.mean(whole - integer_bits(weight, axes, study.options)))
        for finer, axes in AXES.items()
        if axes
    }


def worst_layer(study: Study) -> str:
    """The convolution whose largest coefficient costs the others most."""
    layers = [n.name for n in study.network.weighted if study.weights.weight[n.name].ndim == 4]
    return max(layers, key=lambda name: gained(study, name)["3D"])


def table(study: Study) -> Table:
    """Fig. 3 in figures: what the largest coefficient of a layer costs all others."""
    rows: list[Row] = []
    for node in study.network.weighted:
        weight = study.weights.weight[node.name]
        if weight.ndim == 4:
            free = gained(study, node.name)
            typical = float(np.median(np.abs(weight)))
            peak = float(np.abs(weight).max())
            rows.append(
                {
                    "layer": node.name,
                    "largest": peak,
                    "over median": peak / typical if typical else None,
                    "bits free in 3D": free["3D"],
                    "bits free in 2D": free["2D"],
                }
            )
    return Table(
        "Fig. 3: bits that a layer's largest coefficient costs",
        rows,
        (
            "integer bits of the layer's format that a kernel's or filter's own does not need, on "
            "average",
        ),
    )


def figure(study: Study, bins: int = 64) -> dict[str, Any]:
    """Fig. 3: where coefficients of the worst layer lie within the range of their format."""
    layer = worst_layer(study)
    weight, panels = study.weights.weight[layer], []
    for finer, axes in AXES.items():
        bits = integer_bits(weight, axes, study.options)
        ranges = np.exp2(bits.astype(np.float64)).reshape(*bits.shape, *(1,) * (4 - axes))
        counts, edges = np.histogram(np.abs(weight) / ranges, bins, (0.0, 1.0))
        panels.append(
            {
                "name": f"{finer} formats",
                "edges": edges.tolist(),
                "counts": (counts / weight.size).tolist(),
            }
        )
    return charts.histograms(
        f"Outliers against granularity, {layer} (Fig. 3)",
        "magnitude over its format's range",
        "share of coefficients",
        panels,
        log=True,
    )
