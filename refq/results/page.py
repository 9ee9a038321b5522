"""One HTML page with everything inside it: no other file and no network is needed to read it."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from refq import __version__, tables
from refq.results.sections import Section
from refq.tables import Cell, Table

NUMBER = re.compile(r"[-+\u2212]?[\d.,]+ ?%?")
STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #666; --rule: #ddd;
  --stripe: #f6f7f9; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --paper: #16181b; --faint: #a0a0a0;
  --rule: #3a3d42; --stripe: #1e2125; --link: #7fb8f0; } }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 70rem; color: var(--ink);
  background: var(--paper); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem;
  border-bottom: 1px solid var(--rule); padding-bottom: .3rem; } h3 { font-size: 1rem; }
a { color: var(--link); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .9rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: left; white-space: nowrap; }
th { border-bottom: 1px solid var(--faint); font-weight: 600; }
tbody tr:nth-child(even) { background: var(--stripe); }
.number { text-align: right; }
.note, footer { color: var(--faint); font-size: .85rem; margin: .3rem 0; }
figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; background: #fff;
  border: 1px solid var(--rule); border-radius: 4px; }
"""


@dataclass(frozen=True)
class Picture:
    """A drawn figure. inches: its width and height."""

    title: str
    file: str
    png: bytes
    inches: tuple[float, float]


def html(title: str, parts: Sequence[tuple[Section, Sequence[Picture]]]) -> str:
    """The page; every text is escaped, every picture a data URI."""
    sections = [section for section, _ in parts]
    body = [f"<h1>{escape(title)}</h1>"]
    if len(parts) > 1:
        links = [f'<li><a href="#s{i}">{escape(s.title)}</a></li>' for i, s in enumerate(sections)]
        body += ["<nav><ul>", *links, "</ul></nav>"]
    for number, (section, pictures) in enumerate(parts):
        body.append(f'<section id="s{number}"><h2>{escape(section.title)}</h2>')
        if section.facts:
            facts = [
                f"<dt>{escape(k)}</dt><dd>{escape(fact)}</dd>" for k, fact in section.facts.items()
            ]
            body += ["<dl>", *facts, "</dl>"]
        for table in section.tables:
            body += _table(table)
        body += [_figure(picture) for picture in pictures]
        body.append("</section>")
    body.append(f"<footer>refq {escape(__version__)}</footer>")
    head = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
    ]
    return "\n".join([*head, *body, "</body>", "</html>", ""])


def _figure(picture: Picture) -> str:
    width, height = (round(96 * size) for size in picture.inches)
    source = base64.b64encode(picture.png).decode("ascii")
    return (
        f'<figure><img alt="{escape(picture.title)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{source}"></figure>'
    )


def _table(table: Table) -> list[str]:
    columns = [*zip(*table.cells)] or [()] * len(table.columns)
    sides = [' class="number"' if _holds_numbers(cells) else "" for cells in columns]
    heads = [
        f'<th scope="col"{side}>{escape(column.long)}</th>'
        for side, column in zip(sides, table.columns, strict=True)
    ]
    written = [
        [f"<td{side}>{escape(text)}</td>" for text in shown(cells)]
        for side, cells in zip(sides, columns, strict=True)
    ]
    lines = [f"<tr>{''.join(row)}</tr>" for row in zip(*written, strict=True)]
    notes = [f'<p class="note">{escape(note)}</p>' for note in table.notes]
    return [
        f"<h3>{escape(table.title)}</h3>",
        '<div class="wide"><table>',
        "<thead><tr>",
        *heads,
        "</tr></thead>",
        "<tbody>",
        *lines,
        "</tbody></table></div>",
        *notes,
    ]


def _holds_numbers(cells: Sequence[Cell]) -> bool:
    """Whether a column's cells, those that hold something, are mostly numbers."""
    held = [cell for cell in cells if cell is not None and cell != ""]
    numbers = [cell for cell in held if not isinstance(cell, str) or NUMBER.fullmatch(cell)]
    return 2 * len(numbers) > len(held)


def shown(cells: Sequence[Cell]) -> list[str]:
    """A column's cells as text: floats with the decimals that give the largest four digits, two
    at least; whole numbers in groups of three; a dash for None."""
    largest = max((abs(cell) for cell in cells if isinstance(cell, float)), default=0.0)
    decimals = max(2, 3 - math.floor(math.log10(largest))) if largest else 2
    return [_shown(cell, min(decimals, 8)) for cell in cells]


def _shown(cell: Cell, decimals: int) -> str:
    fraction = f",.{decimals}f"
    if isinstance(cell, float):
        cell += 0.0  # without the sign of a zero
        if abs(cell) >= 1e15 or 0 < abs(cell) < 10.0 ** (1 - decimals):
            fraction = ".2g"  # fewer than two digits would be left
    return tables.shown(cell, fraction, whole=",", absent="\u2013")
