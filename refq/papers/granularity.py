"""Paper B, section 4: what finer formats of coefficients are worth (Tables 2 and 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from refq.papers import complexity, published
from refq.papers.study import Study
from refq.plans.cost import format_bits, weight_bits
from refq.plans.plan import Plan
from refq.results import charts
from refq.schemes.hybrid_options import GRANULARITIES, HybridOptions
from refq.tables import Cell, Row, Table, less

PRINTED = published.tables("hybrid")
WIDTHS = (8, 6, 5, 4)
FLOATS = "flp,flp"
KILOBYTE = 1000


def error(study: Study, plan: Plan | None, rate: str = "top1") -> float | None:
    """Percent of the test images that a plan, or float, gets wrong; None without labels."""
    got = study.accuracy(plan).get(rate)
    return None if got is None else 100 - got


def lost(study: Study, plan: Plan | None) -> tuple[float | None, float | None]:
    """(top-1 error, points of it that float does not have)."""
    top1 = error(study, plan)
    return top1, less(top1, error(study, None))


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


def counterpart(study: Study, row: dict[str, Any]) -> tuple[bool, Plan | None]:
    """(whether a row of Table 2 has a counterpart here, its plan; None is float)."""
    if row["format"] == FLOATS:
        return True, None
    if row["fine_tuned"]:
        return False, None
    if row["system"] == "HQ":
        float_data = row["format"] == "8b,flp"
        options = HybridOptions(granularity=row["granularity"], float_data=float_data)
        return True, study.plan("hybrid", hybrid=options)
    for system in SYSTEMS:
        if system.name.startswith(row["system"]) and system.format == row["format"]:
            return True, system.plan(study, 8)
    return False, None


def comparison_table(study: Study) -> Table:
    """Table 2: formats and systems, errors and complexity, beside the paper's of AlexNet."""
    rows: list[Row] = []
    macs = sum(study.at_size.macs().values())
    is_printed = study.network.name in PRINTED["table2"]
    floats: dict[str, float] = {}
    for row in PRINTED["table2"]["alexnet"]:
        here, plan = counterpart(study, row)
        if row["format"] == FLOATS:
            floats[row["system"]] = row["top1_error"]
        repeated = row["format"] == FLOATS and row["system"] != "HQ"
        if not is_printed and (repeated or not here):
            continue
        paper = row if is_printed else {}
        printed = paper.get("top1_error")
        top1, points = lost(study, plan) if here else (None, None)
        amount = complexity.of_format(macs, row["format"])
        rows.append(
            {
                "system": row["system"],
                "format": f"<{row['format']}>",
                "how": "fine-tuned" if row["fine_tuned"] else row["granularity"],
                "paper error": printed,
                "paper lost": less(printed, floats.get(row["system"])),
                "error": top1,
                "lost": points,
                "paper M MACs": paper.get("complexity"),
                "M MACs": amount,
                "difference": less(amount, paper.get("complexity")),
            }
        )
    notes = [f"{macs:,} MACs at ImageNet's size; floating point counts 24 bits an operand"]
    if is_printed:
        notes += [
            "the paper multiplies its rounded 724 by 9 and by 3; TensorFlow's 6512 is 4 less than "
            "the 6516 of the same network elsewhere in the table, without a reason",
            "errors of the paper are of ILSVRC-2012; refq tunes no weights, so that fine-tuned rows"
            " have no counterpart; all float rows are the same network here",
        ]
    return Table("Table 2: 8 bits", rows, notes)


def systems_table(study: Study) -> Table:
    """HQ and the systems it is compared with on the same images, at 8 and at 6 bits."""
    plans: list[tuple[str, Callable[[Study, int], Plan]]] = [
        (f"HQ {finer}", partial(_equal_bits, finer)) for finer in GRANULARITIES
    ]
    plans += [(system.name, system.plan) for system in SYSTEMS]
    rows: list[Row] = [{"system": "float", "bits": None, **_rates(study, None)}]
    for bits in (8, 6):
        rows += [
            {"system": name, "bits": bits, **_rates(study, make(study, bits))}
            for name, make in plans
        ]
    return Table(
        "Systems at 8 and 6 bits",
        rows,
        ("coefficients and data at the same bits, unless the system leaves data in float32",),
    )


def _equal_bits(granularity: str, study: Study, bits: int) -> Plan:
    return hybrid_plan(study, granularity, bits, bits_act=bits)


def _rates(study: Study, plan: Plan | None) -> Row:
    top1, points = lost(study, plan)
    return {"top-1 error": top1, "lost": points, "top-5 error": error(study, plan, "top5")}


def widths_table(study: Study) -> Table:
    """Coefficient bits against granularity, data at 8 bits by layer."""
    rows: list[Row] = []
    for bits in WIDTHS:
        for finer in GRANULARITIES:
            plan = hybrid_plan(study, finer, bits)
            weights = weight_bits(study.network, plan) / 8 / KILOBYTE
            formats = format_bits(study.network, plan) / 8 / KILOBYTE
            stored = {"weights kB": weights, "formats kB": formats, "kB": weights + formats}
            rows.append({"bits": bits, "formats": finer, **_rates(study, plan), **stored})
    return Table(
        "Coefficient bits against granularity",
        rows,
        ("data at 8 bits by layer; kB: 10^3 bytes of the weights at hand, a byte for a format",),
    )


def networks_table(study: Study) -> Table:
    """Table 5: errors with 4D and 3D formats beside the paper's of the same network."""
    name = study.network.name
    rows: list[Row] = []
    plans = {finer: hybrid_plan(study, finer) for finer in ("4D", "3D")}
    unknown: dict[str, Any] = {"model": name, "top1_error": {}, "top5_error": {}}
    printed = [row for row in PRINTED["table5"] if row["network"] == name]
    for row in printed or [{**unknown, "granularity": finer} for finer in plans]:
        cells: dict[str, Cell] = {"model": row["model"], "formats": row["granularity"]}
        for rate, shown in (("top1", "top-1"), ("top5", "top-5")):
            paper = row[f"{rate}_error"]
            cells[f"paper {shown} float"] = paper.get("float")
            cells[f"paper {shown}"] = paper.get("fixed")
            cells[f"{shown} float"] = error(study, None, rate)
            cells[shown] = error(study, plans[row["granularity"]], rate)
        rows.append(cells)
    notes = PRINTED["notes"]["table5"]
    models = dict.fromkeys(row["model"] for row in PRINTED["table5"] if row["network"] != name)
    return Table(
        "Table 5: 8 bits, 4D and 3D",
        rows,
        (
            f"errors in percent; {notes[0]}",
            *(notes[1:] if printed else ()),
            f"the paper's other models: {', '.join(models)}",
        ),
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
