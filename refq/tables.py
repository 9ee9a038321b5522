"""Tables as data: printed as text, written as JSON, drawn on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Cell = str | int | float | None
Row = Mapping[str, Cell]

FRACTION = ".2f"


def _as_it_is(value: Any) -> Cell:
    cell: Cell = value
    return cell


@dataclass(frozen=True)
class Column:
    """One column of a table.

    key: of its value in each row. heading: above it, the key where nothing else is said; page: the
    same where there is room, in JSON and on a page. fraction: how numbers are written that are not
    whole. told: what the table tells of a value.
    """

    key: str
    heading: str | None = None
    page: str | None = None
    fraction: str = FRACTION
    told: Callable[[Any], Cell] = _as_it_is

    @property
    def short(self) -> str:
        return self.key if self.heading is None else self.heading

    @property
    def long(self) -> str:
        return self.short if self.page is None else self.page


@dataclass(frozen=True)
class Table:
    """Rows of cells by their columns' keys, with remarks; None is an empty cell. Columns that are
    not declared are the first row's keys."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    declared: Sequence[Column] = ()

    @property
    def columns(self) -> Sequence[Column]:
        return self.declared or [Column(key) for key in next(iter(self.rows), {})]

    @property
    def cells(self) -> tuple[tuple[Cell, ...], ...]:
        """What each row tells, column by column."""
        columns = self.columns
        return tuple(tuple(c.told(row[c.key]) for c in columns) for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "columns": [column.long for column in self.columns],
            "rows": [list(row) for row in self.cells],
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """The table as a person reads it, under its title."""
        return "\n".join([self.title, *self.lines(), *(f"  {note}" for note in self.notes)])

    def lines(self) -> list[str]:
        """Headings and rows: numbers to the right, words to the left."""
        columns = self.columns
        words = [any(isinstance(row[c.key], str) for row in self.rows) for c in columns]
        cells = [
            [shown(cell, column.fraction) for cell, column in zip(row, columns, strict=True)]
            for row in self.cells
        ]
        return aligned([[column.short for column in columns], *cells], words)


def shown(cell: Cell, fraction: str = FRACTION, whole: str = "", absent: str = "") -> str:
    """A cell as text: words as they are, numbers as they are asked for."""
    if cell is None:
        return absent
    if isinstance(cell, str):
        return cell
    return format(cell, fraction if isinstance(cell, float) else whole)


def less(value: Cell, reference: Cell) -> float | None:
    """Difference of two cells that are numbers."""
    if isinstance(value, (int, float)) and isinstance(reference, (int, float)):
        return float(value - reference)
    return None


def aligned(lines: Sequence[Sequence[str]], words: Sequence[bool]) -> list[str]:
    """Cells in columns of equal width; words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in lines
    ]
