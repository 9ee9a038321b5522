"""Tables as data: printed as text, written as JSON, drawn by others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows under named columns, with remarks; None is an empty cell."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """The table as a person reads it: numbers to the right, words to the left."""
        cells = [[shown(cell) for cell in row] for row in self.rows]
        words = [
            any(isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))
        ]
        lines = [self.title, *aligned([list(self.columns), *cells], words)]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def shown(cell: Cell) -> str:
    """A cell as text: two digits after the point, none for whole numbers."""
    if cell is None:
        return ""
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def aligned(lines: Sequence[Sequence[str]], words: Sequence[bool]) -> list[str]:
    """Cells in columns of equal width; words to the left, numbers to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(words))]
    return [
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in lines
    ]
