"""Paper B, section 4: what finer formats of coefficients are worth (Tables 2 and 5, Fig. 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from refq.papers import complexity, published
from refq.papers.study import Study
from refq.plans.cost import format_bits, weight_bits
from refq.plans.plan import Plan
from refq.results import charts
from refq.results.tables import Cell, Table
from refq.schemes.granular import AXES, integer_bits
from refq.schemes.hybrid_options import GRANULARITIES, HybridOptions

PRINTED = published.tables("hybrid")
WIDTHS = (8, 6, 5, 4)
FLOATS = "flp,flp"
KILOBYTE = 1000


def error(study: Study, plan: Plan | None, rate: str = "top1") -> float | None:
    """Percent of the test images that a plan, or float, gets wrong; None without labels."""
    got = study.accuracy(plan).get(rate)
    return None if got is None else 100 - got


def less(value: Cell, reference: Cell) -> float | None:
    """Difference of two cells that are numbers."""
    if isinstance(value, (int, float)) and isinstance(reference, (int, float)):
        return float(value - reference)
    return None


def lost(study: Study, plan: Plan | None) -> tuple[float | None, float | None]:
    """(top-1 error, points of it that float does not have)."""
    own = error(study, plan)
    return own, less(own, error(study, None))


def hybrid_plan(study: Study, granularity: str, bits: int = 8, **changes: Any) -> Plan:
    return study.plan(
        "hybrid", bits_wt=bits, hybrid=HybridOptions(granularity=granularity), **changes
    )


@dataclass(frozen=True)
class System:
    """A way to quantize besides HQ. plan: made for a study and so many bits."""

    name: str
    scheme: str
    format: str
    plan: Callable[[Study, int], Plan]


# what the paper compares with; a power of two of more bits than its own 4 gains nothing
SYSTEMS = (
    System(
        "Ristretto fixed",
        "ristretto",
        "8b,8b",
        lambda study, bits: study.plan("ristretto", bits_wt=bits, bits_act=bits, numbers="fixed"),
    ),
    System(
        "Ristretto minifloat",
        "ristretto",
        "",
        lambda study, bits: study.plan(
            "ristretto", bits_wt=bits, bits_act=bits, numbers="minifloat"
        ),
    ),
    System(
        "Ristretto power-of-two",
        "ristretto",
        "",
        lambda study, bits: study.plan("ristretto", bits_act=bits, numbers="power-of-two"),
    ),
    System(
        "TensorFlow weights_rounded",
        "tensorflow",
        "8b,flp",
        lambda study, bits: study.plan("tensorflow", bits_wt=bits, mode="weights_rounded"),
    ),
    System(
        "TensorFlow eightbit",
        "tensorflow",
        "8b,8b",
        lambda study, bits: study.plan("tensorflow", bits_wt=bits, bits_act=bits, mode="eightbit"),
    ),
)


def own_plan(study: Study, row: dict[str, Any]) -> tuple[bool, Plan | None]:
    """(whether a row of Table 2 has a counterpart here, its plan; None is float)."""
    if row["format"] == FLOATS:
        return True, None
    if row["fine_tuned"]:
        return False, None
    if row["system"] == "HQ":
        own = HybridOptions(granularity=row["granularity"], float_data=row["format"] == "8b,flp")
        return True, study.plan("hybrid", hybrid=own)
    for system in SYSTEMS:
        if system.name.startswith(row["system"]) and system.format == row["format"]:
            return True, system.plan(study, 8)
    return False, None


def comparison_table(study: Study) -> Table:
    """Table 2: formats and systems, errors and complexity, beside the paper's of AlexNet."""
    name, rows = study.network.name, []
    macs = sum(study.at_size.macs().values())
    ours = name in PRINTED["table2"]
    floats: dict[str, float] = {}
    for row in PRINTED["table2"]["alexnet"]:
        here, plan = own_plan(study, row)
        if row["format"] == FLOATS:
            floats[row["system"]] = row["top1_error"]
        repeated = row["format"] == FLOATS and row["system"] != "HQ"
        if not ours and (repeated or not here):
            continue
        printed = (row["top1_error"], less(row["top1_error"], floats.get(row["system"])))
        own = lost(study, plan) if here else (None, None)
        amount = complexity.of_format(macs, row["format"])
        how = "fine-tuned" if row["fine_tuned"] else row["granularity"]
        rows.append(
            (
                row["system"],
                f"<{row['format']}>",
                how,
                *(printed if ours else (None, None)),
                *own,
                row["complexity"] if ours else None,
                amount,
                less(amount, row["complexity"]) if ours else None,
            )
        )
    notes = [f"{macs:,} MACs at ImageNet's size; floating point counts 24 bits an operand"]
    if ours:
        notes += [
            "the paper multiplies its rounded 724 by 9 and by 3; TensorFlow's 6512 is 4 less than "
            "the 6516 of the same network elsewhere in the table, without a reason",
            "errors of the paper are of ILSVRC-2012; refq tunes no weights, so that fine-tuned rows"
            " have no counterpart; all float rows are the same network here",
        ]
    return Table(
        "Table 2: 8 bits",
        (
            "system",
            "format",
            "how",
            "paper error",
            "paper lost",
            "error",
            "lost",
            "paper M MACs",
            "M MACs",
            "difference",
        ),
        tuple(rows),
        tuple(notes),
    )


def systems_table(study: Study) -> Table:
    """HQ and the systems it is compared with on the same images, at 8 and at 6 bits."""
    plans: list[tuple[str, Callable[[Study, int], Plan]]] = [
        (f"HQ {finer}", partial(_equal_bits, finer)) for finer in GRANULARITIES
    ]
    plans += [(system.name, system.plan) for system in SYSTEMS]
    rows: list[tuple[Cell, ...]] = [("float", None, *_rates(study, None))]
    for bits in (8, 6):
        rows += [(name, bits, *_rates(study, make(study, bits))) for name, make in plans]
    return Table(
        "Systems at 8 and 6 bits",
        ("system", "bits", "top-1 error", "lost", "top-5 error"),
        tuple(rows),
        ("coefficients and data at the same bits, unless the system leaves data in float32",),
    )


def _equal_bits(granularity: str, study: Study, bits: int) -> Plan:
    return hybrid_plan(study, granularity, bits, bits_act=bits)


def _rates(study: Study, plan: Plan | None) -> tuple[Cell, ...]:
    return *lost(study, plan), error(study, plan, "top5")


def widths_table(study: Study) -> Table:
    """Coefficient bits against granularity, data at 8 bits by layer."""
    rows = []
    for bits in WIDTHS:
        for finer in GRANULARITIES:
            plan = hybrid_plan(study, finer, bits)
            own = [weight_bits(study.network, plan), format_bits(study.network, plan)]
            stored = [amount / 8 / KILOBYTE for amount in own]
            rows.append((bits, finer, *_rates(study, plan), *stored, sum(stored)))
    return Table(
        "Coefficient bits against granularity",
        ("bits", "formats", "top-1 error", "lost", "top-5 error", "weights kB", "formats kB", "kB"),
        tuple(rows),
        ("data at 8 bits by layer; kB: 10^3 bytes of the weights at hand, a byte for a format",),
    )


def networks_table(study: Study) -> Table:
    """Table 5: errors with 4D and 3D formats beside the paper's of the same network."""
    name, rows = study.network.name, []
    own = {finer: hybrid_plan(study, finer) for finer in ("4D", "3D")}
    unknown: dict[str, Any] = {"model": name, "top1_error": {}, "top5_error": {}}
    printed = [row for row in PRINTED["table5"] if row["network"] == name]
    for row in printed or [{**unknown, "granularity": finer} for finer in own]:
        cells: list[Cell] = [row["model"], row["granularity"]]
        for rate in ("top1", "top5"):
            paper = row[f"{rate}_error"]
            cells += [
                paper.get("float"),
                paper.get("fixed"),
                error(study, None, rate),
                error(study, own[row["granularity"]], rate),
            ]
        rows.append(tuple(cells))
    notes = PRINTED["notes"]["table5"]
    models = dict.fromkeys(row["model"] for row in PRINTED["table5"] if row["network"] != name)
    return Table(
        "Table 5: 8 bits, 4D and 3D",
        (
            "model",
            "formats",
            "paper top-1 float",
            "paper top-1",
            "top-1 float",
            "top-1",
            "paper top-5 float",
            "paper top-5",
            "top-5 float",
            "top-5",
        ),
        tuple(rows),
        (
            f"errors in percent; {notes[0]}",
            *(notes[1:] if printed else ()),
            f"the paper's other models: {', '.join(models)}",
        ),
    )


def gained(study: Study, layer: str) -> dict[str, float]:
    """{3D, 2D: integer bits that finer formats free, on average over coefficients}."""
    weight = study.weights.weight[layer]
    whole = int(integer_bits(weight, 0, study.options))
    return {
        finer: float(np.mean(whole - integer_bits(weight, axes, study.options)))
        for finer, axes in AXES.items()
        if axes
    }


def outlier_layer(study: Study) -> str:
    """The convolution whose largest coefficient costs the others most."""
    layers = [n.name for n in study.network.weighted if study.weights.weight[n.name].ndim == 4]
    return max(layers, key=lambda name: gained(study, name)["3D"])


def outliers_table(study: Study) -> Table:
    """Fig. 3 in figures: what the largest coefficient of a layer costs all others."""
    rows = []
    for node in study.network.weighted:
        weight = study.weights.weight[node.name]
        if weight.ndim == 4:
            free = gained(study, node.name)
            typical = float(np.median(np.abs(weight)))
            peak = float(np.abs(weight).max())
            rows.append(
                (node.name, peak, peak / typical if typical else None, free["3D"], free["2D"])
            )
    return Table(
        "Fig. 3: bits that a layer's largest coefficient costs",
        ("layer", "largest", "over median", "bits free in 3D", "bits free in 2D"),
        tuple(rows),
        (
            "integer bits of the layer's format that a kernel's or filter's own does not need, on "
            "average",
        ),
    )


def outliers_figure(study: Study, bins: int = 64) -> dict[str, Any]:
    """Fig. 3: where coefficients of the worst layer lie within the range of their format."""
    layer = outlier_layer(study)
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


def widths_figure(study: Study) -> dict[str, Any]:
    """Top-1 error against coefficient bits, by granularity."""
    series = []
    for finer in GRANULARITIES:
        errors = [error(study, hybrid_plan(study, finer, bits)) for bits in WIDTHS]
        series.append(charts.line(finer, list(WIDTHS), errors))
    series.append(
        charts.line("float", list(WIDTHS), [error(study, None)] * len(WIDTHS), style="line")
    )
    return charts.curves(
        "Top-1 error against coefficient bits", "bits of coefficients", "top-1 error, %", series
    )
