"""From the layers of a file to refq's weight file, one layer in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refq.data.preprocessing import Preprocessing
from refq.importers import preparing, writing
from refq.importers.assembling import assembled, epsilon_note
from refq.importers.contents import Contents, one_line, refuse
from refq.importers.matching import Match, match
from refq.tables import Table

TRUNK = "a trunk: the file has no classifier, or one that is not the network's"


@dataclass(frozen=True)
class Row:
    """What became of a layer. taken: names in the file; done: folded, transposed, ..."""

    layer: str
    taken: tuple[str, ...]
    shape: tuple[int, ...]
    done: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """What became of a file. ignored: its layers and arrays that the network does not have."""

    file: str
    form: str
    network: str
    parameters: Mapping[str, Any]
    preprocessing: Preprocessing
    rule: str
    sha256: str
    rows: tuple[Row, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        return {**content, "preprocessing": self.preprocessing.to_json()}

    def to_text(self) -> str:
        sizes = ", ".join(f"{key} {value}" for key, value in self.parameters.items())
        rows = [
            {
                "layer": row.layer,
                "from": " + ".join(row.taken),
                "shape": "x".join(map(str, row.shape)),
                "done": ", ".join(row.done),
            }
            for row in self.rows
        ]
        lines = [
            f"{self.file}: {self.form}",
            f"network  {self.network}  {sizes}",
            f"weights  sha256 {self.sha256[:12]}",
            f"input    {self.preprocessing} ({self.rule})",
            "",
            *Table("Layers", rows).lines(),
            "",
            f"ignored  {_shortened(self.ignored)}",
        ]
        return "\n".join([*lines, *(f"note     {note}" for note in self.notes)])


def _shortened(names: tuple[str, ...]) -> str:
    clean = ["".join(each if each.isprintable() else "?" for each in name)[:60] for name in names]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"{len(names)}: {', '.join(clean[:12])}{more}" if names else "nothing"


def convert(
    contents: Contents,
    file: Path,
    out: Path,
    network: str | None,
    rule: str | None,
    parameters: Mapping[str, Any] | None = None,
) -> Conversion:
    """Writes `out` in refq's layout; it appears only when it is complete.

    network, rule: names, or None for what the file looks like. parameters: sizes of the network
    that go before what the file says. Raises WeightsError or OptionError in one line.
    """
    with one_line(file, contents.form):
        matched = match(contents, network, parameters or {})
        named = rule or preparing.usual(contents, matched.network)
        chosen = preparing.chosen(named)
        prepared = preparing.preprocessing(chosen, contents, matched.network)
    rows: list[Row] = []
    stated = {
        "network": matched.network.name,
        "parameters": json.dumps(dict(matched.network.parameters)),
        "preprocessing": json.dumps(prepared.to_json()),
        "source": f"converted from {file.name}, {contents.form}",
    }
    layers = _layers(contents, matched, chosen, file, rows)
    digest = writing.write(out, matched.network, layers, stated)
    used = {name for row in rows for name in row.taken}
    ignored = (*(name for name in contents.units if name not in used), *contents.ignored)
    left = "; --head says what it begins with" if ignored and not contents.graph else ""
    trunk = () if matched.network.parameters["top"] else (TRUNK + left,)
    folded = epsilon_note(contents, matched.network, matched.names)
    notes = (*contents.notes, *matched.notes, *folded, *trunk, *preparing.notes(contents, rule))
    return Conversion(
        file=file.name,
        form=contents.form,
        network=matched.network.name,
        parameters=dict(matched.network.parameters),
        preprocessing=prepared,
        rule=named,
        sha256=digest,
        rows=tuple(rows),
        ignored=ignored,
        notes=notes,
    )


def _layers(
    contents: Contents, matched: Match, rule: preparing.Rule, file: Path, rows: list[Row]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(layer, weight, bias), float32, one after the other; what became of each goes into rows."""
    first = matched.network.weighted[0].name
    for layer, names in matched.names.items():
        units = [contents.units[name] for name in names]
        # what goes wrong here is the file's fault, and not the disk's that is written to
        with one_line(file, contents.form):
            weight, bias, done = assembled(contents, matched.network, layer, units)
            if layer == first and rule.deviation != (1.0, 1.0, 1.0):
                weight = preparing.rescaled(weight, rule)
                done.append("divided by the deviations")
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise refuse(f"{names[0]}: NaN or infinite values", "numbers")
        folded = tuple(name for unit in units for name in unit.folded)
        rows.append(Row(layer, (*names, *folded), weight.shape, tuple(done)))
        yield layer, weight, bias
