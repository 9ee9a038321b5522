"""Tables: text with columns of equal width, JSON with the cells that it shows."""

from __future__ import annotations

from refq.tables import Column, Row, Table, aligned, less, shown


def test_tables_as_text() -> None:
    rows: list[Row] = [{"name": "a", "x": 1.5}, {"name": "long", "x": None}, {"name": "b", "x": 12}]
    table = Table("A title", rows, ["why"])
    assert table.as_text().splitlines() == [
        "A title",
        "name     x",
        "a     1.50",
        "long",
        "b       12",
        "  why",
    ]
    assert table.to_json()["rows"] == [["a", 1.5], ["long", None], ["b", 12]]


def test_declared_columns() -> None:
    """Their order, headings, fractions and what they tell; a word told of a number stays where
    numbers are."""
    columns = [
        Column("noise", "dB", "noise, dB", ".1f", lambda value: value or "none"),
        Column("name"),
        Column("size", ""),
    ]
    rows: list[Row] = [
        {"name": "first", "noise": None, "size": 7, "unasked": 1.0},
        {"name": "b", "noise": 12.345, "size": None, "unasked": None},
    ]
    table = Table("t", rows, declared=columns)
    assert table.lines() == ["  dB  name", "none  first  7", "12.3  b"]
    assert table.to_json() == {
        "title": "t",
        "columns": ["noise, dB", "name", ""],
        "rows": [["none", "first", 7], [12.345, "b", None]],
        "notes": [],
    }


def test_tables_without_rows() -> None:
    assert Table("t", (), ["n"], [Column("a"), Column("bc", "b")]).as_text() == "t\na  b\n  n"
    assert aligned([], [True]) == []


def test_cells() -> None:
    assert [shown(cell) for cell in (None, "x", 3, 2.0, -0.126)] == ["", "x", "3", "2.00", "-0.13"]
    assert shown(12345, whole=",") == "12,345" and shown(None, absent="-") == "-"
    assert less(3, 1.5) == 1.5 and less(None, 1) is None and less(1, "x") is None
