"""`refq.report`: pictures and page that are whole."""

from __future__ import annotations

import base64
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.report import main
from refq.results import charts, drawing, page, sections
from refq.tables import Row, Table
from tests.results.conftest import Results
from tests.results.pictures import histogram_panels, needs_matplotlib, pixels

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)
DASH = "\u2013"
NASTY = "a <b>&\"$x_{1$' \x00 _字"


def share_of(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - colour).max(axis=2) < 4).mean())


PAPER = [charts.line("b", [1, 2], [3, 1]), charts.line("b", [1, 2], [2, 4], "paper")]
HARD = {
    "names that are no formulas": charts.histograms(NASTY, NASTY, NASTY, histogram_panels(1)),
    "nothing counted": charts.histograms(
        "t", "x", "y", [{"name": "a", "edges": [0, 1], "counts": [0]}], log=True
    ),
    "tiny shares": charts.histograms(
        "t", "x", "y", [{"name": "a", "edges": [0, 1e-30, 1e9], "counts": [1e-290, 0]}], log=True
    ),
    "no points": charts.curves("t", "x", "y", [charts.line("_a", [None], [1])]),
    "many series": charts.curves(
        "t " * 200, "x", "y", [charts.line(f"{NASTY} {i}", [i], [i]) for i in range(40)]
    ),
    "large numbers": charts.curves("t", "x", "y", [charts.line("a", [-1e299, 1], [0, 1e299])]),
    "one value": charts.codebooks(NASTY, [{"name": NASTY, "values": [5]}]),
    "many rows": charts.codebooks("t", [{"name": "a", "values": [0, 1]}] * 60),
}


@needs_matplotlib
@pytest.mark.parametrize("name", HARD)
def test_hard_figures_are_drawn(name: str) -> None:
    picture = pixels(drawing.draw(charts.check_figure(HARD[name])))
    assert picture.shape[1] > 300 and len(np.unique(picture)) > 20


@needs_matplotlib
def test_pictures_show_the_data() -> None:
    small, large = (
        pixels(
            drawing.draw(charts.check_figure(charts.histograms("t", "x", "y", histogram_panels(n))))
        )
        for n in (3, 24)
    )
    assert large.shape[0] > 1.5 * small.shape[0] and share_of(small, BLUE) > 0.02
    ours = pixels(drawing.draw(charts.check_figure(charts.curves("t", "x", "y", PAPER[:1]))))
    both = pixels(drawing.draw(charts.check_figure(charts.curves("t", "x", "y", PAPER))))
    # the paper's line has the colour of ours
    assert share_of(both, BLUE) > 1.3 * share_of(ours, BLUE) and share_of(both, ORANGE) == 0
    panel = {"name": "a", "values": [0, 4, 9], "paper": [0, 5, 8]}
    book = pixels(drawing.draw(charts.check_figure(charts.codebooks("t", [panel]))))
    assert share_of(book, BLUE) > 1e-4 and share_of(book, ORANGE) > 1e-4


class Page(HTMLParser):
    """Raises on tags that do not nest; collects tags, texts and what the page would fetch."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [v or "" for k, v in attributes if k in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data.strip())


def reproduction() -> dict[str, Any]:
    rows: list[Row] = [{"scheme": NASTY, "MB": 27.1}, {"scheme": "half", "MB": None}]
    table = Table(NASTY, rows, ["a & b"]).to_json()
    return {
        "refq_reproduce": "ilnq",
        "tables": [table],
        "figures": [charts.curves("Accuracy", "bits", "top-1, %", PAPER)],
        "sections": [
            {"title": NASTY, "tables": [], "figures": [HARD["names that are no formulas"]]},
            {"title": "VGG-16", "tables": [table]},
        ],
    }


@needs_matplotlib
def test_page_is_whole_and_needs_nothing_else(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "paper.json").write_text(json.dumps(reproduction()))
    names = [results.path("enq.json"), results.path("three.json"), str(tmp_path / "paper.json")]
    assert main([*names, "--out", str(tmp_path / "out")]) == 0
    files = sorted(os.listdir(tmp_path / "out"))
    listed = capsys.readouterr().out.split()
    assert sorted(os.path.basename(name) for name in listed) == files
    assert len(files) == 6 and files[-1] == "index.html"
    text = (tmp_path / "out" / "index.html").read_text("utf-8")
    read_page = Page(text)
    assert not read_page.tags & {"script", "link", "iframe", "b"} and "@import" not in text
    assert not re.search(r"https?:|url\(", text) and "prefers-color-scheme: dark" in text
    pictures = [each for each in read_page.sources if not each.startswith("#")]
    inlined = [base64.b64decode(each.removeprefix("data:image/png;base64,")) for each in pictures]
    assert inlined == [(tmp_path / "out" / name).read_bytes() for name in files[:-1]]
    assert all(pixels(png).std() > 1 for png in inlined)
    # a nul is no text
    shown = "a <b>&\"$x_{1$' ? _字"
    assert shown in read_page.texts and "27.10" in read_page.texts and DASH in read_page.texts
    for wanted in ("Comparison", "squeezenet1_1, enq, 3 bits", "fire9/expand3x3", "a & b"):
        assert wanted in read_page.texts


@needs_matplotlib
def test_the_same_again(results: Results, tmp_path: Path) -> None:
    """Equal bytes from equal results; in a folder that is there, other files stay."""
    for name in ("a", "b", "b"):
        assert main([results.path("enq.json"), "--out", str(tmp_path / name)]) == 0
        (tmp_path / name / "mine.txt").write_text("kept")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"
    )
    assert first == second and {"index.html", "mine.txt"} < set(first)
    assert any(name.endswith(".png") for name in first)


def test_columns_are_written_alike() -> None:
    assert page.shown([27.1, 8.4672, None, "x"]) == ["27.10", "8.47", DASH, "x"]
    assert page.shown([0.0432, 0.02592]) == ["0.04320", "0.02592"]
    assert page.shown([0.0, -0.0]) == ["0.00", "0.00"]
    assert page.shown([12345, 1234.5, 1e-9, 1e16]) == ["12,345", "1,234.50", "1e-09", "1e+16"]


def test_comparison_has_a_point_a_result(results: Results) -> None:
    names = ("enq.json", "three.json", "again.json", "float.json")
    loaded = sections.named_apart([sections.load(results.path(name)) for name in names])
    compared = sections.comparison(loaded)
    assert compared is not None
    (figure,), (table,) = compared.figures, compared.tables
    contents = [results.content(name) for name in names]
    points = [each for each in figure["series"] if each["style"] == "points"]
    assert [(each["x"], each["y"]) for each in points] == [
        ([each["memory"]["megabytes"]], [each["quantized"]["top1"]]) for each in contents
    ]
    assert (
        [each["name"] for each in points]
        == [row[0] for row in table.cells]
        == [
            "squeezenet1_1, enq, 5 bits (enq.json)",
            "squeezenet1_1, enq, 3 bits",
            "squeezenet1_1, enq, 5 bits (again.json)",
            "alexnet, float",
        ]
    )
    levels = [each["y"] for each in figure["series"] if each["style"] == "line"]
    assert levels == [[each["float"]["top1"]] * 2 for each in (contents[0], contents[3])]
    assert sections.comparison(loaded[:1]) is None
