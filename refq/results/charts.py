"""Figures and tables as data: what a result's JSON describes and refq.report draws
(docs/report.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from refq.errors import OptionError
from refq.tables import Cell, Column, Table

SOURCES = ("refq", "paper")
STYLES = ("both", "points", "line")
MOST_PANELS = 1000  # more would not fit into one picture


def histograms(
    title: str, x_label: str, y_label: str, panels: Sequence[Mapping[str, Any]], log: bool = False
) -> dict[str, Any]:
    """Small multiples. panels: {"name", "edges" (n + 1,) ascending, "counts" (n,) >= 0} each."""
    return {
        "kind": "histograms",
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
        "panels": [dict(panel) for panel in panels],
        "log": log,
    }


def curves(
    title: str, x_label: str, y_label: str, series: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Lines and points of one pair of axes, each as `line` makes it."""
    return {
        "kind": "curves",
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
        "series": [dict(line) for line in series],
    }


def line(
    name: str,
    x: Sequence[float | None],
    y: Sequence[float | None],
    source: str = "refq",
    style: str = "both",
) -> dict[str, Any]:
    """A series of curves. x, y (n,): a point with a None is left out. source: `refq` or `paper`,
    whose marker is another one. style: `both` line and markers, `points` or `line`."""
    return {"name": name, "x": list(x), "y": list(y), "source": source, "style": style}


def codebooks(title: str, panels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """panels: {"name", "values" (k,) integers} each, with "paper" (m,) integers beside them and
    "edges" (n + 1,), "counts" (n,) of a histogram behind them where there are any."""
    return {"kind": "codebooks", "title": title, "panels": [dict(panel) for panel in panels]}


# --- data from a file: checked, and texts made fit to show ---


def check_figure(given: Any) -> dict[str, Any]:
    """The figure with every optional key filled in. Raises OptionError for one that is wrong."""
    figure = _object(given, "a figure")
    kind = figure.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise OptionError(f"a figure of kind {kind!r}", f"one of {', '.join(_KINDS)}")
    title = text(figure.get("title"), "a figure's title")
    whole: dict[str, Any] = {"kind": kind, "title": title}
    for key in ("x_label", "y_label"):
        whole[key] = text(figure.get(key, ""), f"{key} of {title!r}")
    name, check = _KINDS[kind]
    parts = _list(figure.get(name), f"{name} of {title!r}")
    if not 1 <= len(parts) <= MOST_PANELS:
        raise OptionError(f"{len(parts)} {name} of {title!r}", f"1 to {MOST_PANELS}")
    whole[name] = []
    for given_part in parts:
        part = _object(given_part, f"{name} of {title!r}")
        called = text(part.get("name"), f"a name in {title!r}")
        whole[name].append({"name": called, **check(part, f"{called!r} of {title!r}")})
    if kind == "histograms":
        whole["log"] = figure.get("log", False) is True
    return whole


def check_table(given: Any) -> Table:
    """A table that was read from JSON. Raises OptionError for one that is wrong."""
    table = _object(given, "a table")
    title = text(table.get("title"), "a table's title")
    headings = [text(it, f"a column of {title!r}") for it in _list(table.get("columns"), title)]
    # headings may be equal, so that places are the keys
    columns = [Column(str(place), heading) for place, heading in enumerate(headings)]
    rows = []
    for row in _list(table.get("rows"), f"rows of {title!r}"):
        cells = [_cell(cell, f"a cell of {title!r}") for cell in _list(row, f"a row of {title!r}")]
        if len(cells) != len(columns):
            raise OptionError(f"a row of {len(cells)} cells in {title!r}", f"{len(columns)} cells")
        rows.append({column.key: cell for column, cell in zip(columns, cells, strict=True)})
    notes = [text(note, f"a note of {title!r}") for note in _list(table.get("notes", []), title)]
    return Table(title, rows, notes, columns)


def text(given: Any, what: str) -> str:
    """Text on one line; what no font can show (control characters, half surrogates) is `?`."""
    if not isinstance(given, str):
        raise OptionError(f"{what} is {_brief(given)}", "text")
    return "".join(c if c.isprintable() else "?" for c in " ".join(given.split()))


def _cell(given: Any, what: str) -> Cell:
    if given is None or isinstance(given, str):
        return None if given is None else text(given, what)
    return _number(given, what)


def _histogram(part: Mapping[str, Any], what: str) -> dict[str, Any]:
    edges = _numbers(part.get("edges"), f"edges of {what}")
    counts = _numbers(part.get("counts"), f"counts of {what}")
    if not counts or len(edges) != len(counts) + 1:
        raise OptionError(
            f"{len(edges)} edges with {len(counts)} counts in {what}", "one edge more than counts"
        )
    if any(low >= high for low, high in pairwise(edges)):
        raise OptionError(f"edges of {what} that do not ascend", "each above the one before")
    if min(counts) < 0:
        raise OptionError(f"counts of {what} below 0", "0 or more")
    return {"edges": edges, "counts": counts}


def _series(part: Mapping[str, Any], what: str) -> dict[str, Any]:
    x, y = (_list(part.get(key), f"{key} of {what}") for key in ("x", "y"))
    if len(x) != len(y):
        raise OptionError(f"{len(x)} x with {len(y)} y in {what}", "as many of both")
    pairs = [pair for pair in zip(x, y) if None not in pair]
    source, style = part.get("source", "refq"), part.get("style", "both")
    for value, known in ((source, SOURCES), (style, STYLES)):
        if value not in known:
            raise OptionError(f"{_brief(value)} in {what}", f"one of {', '.join(known)}")
    return {
        "x": [_number(place, f"x of {what}") for place, _ in pairs],
        "y": [_number(height, f"y of {what}") for _, height in pairs],
        "source": source,
        "style": style,
    }


def _codebook(part: Mapping[str, Any], what: str) -> dict[str, Any]:
    book: dict[str, Any] = {"paper": [], "edges": [], "counts": []}
    book["values"] = _numbers(part.get("values"), f"values of {what}")
    if not book["values"]:
        raise OptionError(f"no values in {what}", "one or more")
    if part.get("paper"):
        book["paper"] = _numbers(part["paper"], f"paper of {what}")
    if part.get("counts") or part.get("edges"):
        book.update(_histogram(part, what))
    return book


_KINDS: dict[str, tuple[str, Callable[[Mapping[str, Any], str], dict[str, Any]]]] = {
    "histograms": ("panels", _histogram),
    "curves": ("series", _series),
    "codebooks": ("panels", _codebook),
}


def _object(given: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise OptionError(f"{what} is {_brief(given)}", "a JSON object")
    return given


def _list(given: Any, what: str) -> Sequence[Any]:
    if not isinstance(given, list):
        raise OptionError(f"{what} is {_brief(given)}", "a JSON list")
    return given


def _numbers(given: Any, what: str) -> list[float]:
    return [_number(number, what) for number in _list(given, what)]


def _number(given: Any, what: str) -> float:
    # nan compares false; beyond 1e300 the arithmetic of axes overflows
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not abs(given) < 1e300:
        raise OptionError(f"{what} holds {_brief(given)}", "finite numbers")
    return given


def _brief(given: Any) -> str:
    shown = repr(given)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
