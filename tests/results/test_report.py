"""`refq.report`: what figures say, pictures and page that are whole, bad input in one line."""

from __future__ import annotations

import base64
import copy
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from refq import writing
from refq.cli import console
from refq.evaluate import main as evaluate
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import FixedPointFormat
from refq.plans.cost import Memory
from refq.plans.plan import TensorPlan
from refq.report import main, parser
from refq.results import charts, drawing, page, sections
from refq.results.figures import MOST_BINS, binned, megabytes, stored_codes
from refq.tables import Row, Table

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None,
    reason="figures need matplotlib, which is not installed",
)
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)
DASH = "\u2013"
NASTY = "a <b>&\"$x_{1$' \x00\ud800 _字"


def result_file(folder: Path, name: str, *arguments: str) -> dict[str, Any]:
    assert evaluate([*arguments, "--json", str(folder / name)]) == 0
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of bundled networks on a few images."""
    folder = tmp_path_factory.mktemp("results")
    small = ["--images", "40", "--calibrate", "60"]
    result_file(folder, "enq.json", "squeezenet1_1", "--scheme", "enq", *small)
    result_file(folder, "knq.json", "squeezenet1_1", "--scheme", "knq", *small)
    result_file(folder, "three.json", "squeezenet1_1", "--scheme", "enq", *small, "--bits-act", "3")
    result_file(folder, "again.json", "squeezenet1_1", "--scheme", "enq", *small)
    result_file(folder, "uniform.json", "alexnet", "--scheme", "uniform", *small, "--delta", "4")
    result_file(folder, "search.json", "alexnet", "--scheme", "enq", *small, "--delta", "6")
    result_file(folder, "float.json", "alexnet", *small)
    return folder


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


# --- figures of an evaluation, as data ---

TENSORS = {
    "signed": TensorPlan(FixedPointFormat(9, 2, True)),
    "unsigned": TensorPlan(FixedPointFormat(12, -1, False)),
    "shifted": TensorPlan(FixedPointFormat(11, 3, False), ShiftCode(5, 6, True)),
    "codebook": TensorPlan(
        FixedPointFormat(7, 4, False), Codebook(3, (0, 3, 10, 11, 40, 90, 90), True)
    ),
}


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0])
def test_bins_hold_the_stored_values(kind: str, spread: float) -> None:
    """Against NumPy's histogram of every single value."""
    stored = TENSORS[kind]
    known = stored_codes(stored) * 2.0**-stored.format.frac_bits
    count = len(known)
    rng = np.random.default_rng(count)
    index = (count // 3 + spread * rng.normal(0, count / 4, 997)).astype(int).clip(0, count - 1)
    # a codebook may be shorter than its bits allow
    counts = np.bincount(index, minlength=count + 1)
    got = binned(known, counts)
    edges, shares = np.array(got["edges"]), np.array(got["counts"])
    assert len(shares) <= MOST_BINS and len(edges) == len(shares) + 1
    assert shares.sum() == pytest.approx(1) and shares[0] > 0 and shares[-1] > 0
    np.testing.assert_allclose(shares, np.histogram(known[index], edges)[0] / len(index))
    # equally many values a bin, and edges half way between values
    distinct = np.unique(known)
    held = np.histogram(distinct, edges)[0]
    assert len(set(held[:-1])) <= 1 and held[-1] <= held[0]
    middles = (distinct[:-1] + distinct[1:]) / 2
    assert np.isin(edges[1:-1], middles).all()


def test_value_codes_of_stored_codes() -> None:
    signed = stored_codes(TENSORS["signed"])
    assert (signed[0], signed[-1], len(signed)) == (-256, 255, 512)
    shifted = stored_codes(TENSORS["shifted"])
    assert (shifted[1], shifted[-1], len(shifted)) == (64, 31 * 64, 32)
    assert stored_codes(TENSORS["codebook"]).tolist() == [0, 3, 10, 11, 40, 90, 90]


@pytest.mark.parametrize("name", ["enq.json", "knq.json"])
def test_figures_agree_with_the_layers(results: Path, name: str) -> None:
    """Zero share and entropy, which are measured elsewhere, come out of the bins again."""
    got = read(results / name)
    figure = got["figures"][0]
    rows = {layer["name"]: layer for layer in got["layers"]}
    assert (figure["kind"], figure["log"], len(figure["panels"])) == ("histograms", True, 19)
    assert [each["kind"] for each in got["figures"][1:]] == ["codebooks"] * (name == "knq.json")
    for panel in figure["panels"][1:]:  # the image's 9 bits share bins
        name, _, bits = panel["name"].partition(", ")
        layer = rows[name]
        assert bits == f"{layer['input_bits']} bits"
        shares, edges = np.array(panel["counts"]), np.array(panel["edges"])
        if layer["zero_percent"]:  # a codebook may do without 0
            zero = int(np.searchsorted(edges, 0.0)) - 1
            assert 100 * shares[zero] == pytest.approx(layer["zero_percent"])
        used = shares[shares > 0]
        assert -(used * np.log2(used)).sum() == pytest.approx(layer["entropy_bits"])


def test_codebooks_are_the_plans(results: Path) -> None:
    got = read(results / "knq.json")
    stored = {
        tuple(each["code"]["values"]) for each in got["plan"]["tensors"].values() if each["code"]
    }
    panels = got["figures"][1]["panels"]
    assert len(panels) == 18 and {tuple(panel["values"]) for panel in panels} == stored
    for panel in panels:
        assert sum(panel["counts"]) == pytest.approx(1)
        # a bin has one value of the codebook in it, or some that are equal
        held = np.histogram(np.unique(panel["values"]), panel["edges"])[0]
        assert (held == 1).all()


def test_search_figure_ends_at_the_found_memory(results: Path) -> None:
    got = read(results / "search.json")
    figure = got["figures"][-1]
    kept, below, floor = figure["series"]
    assert kept["x"][-1] == pytest.approx(got["memory"]["megabytes"])
    trials = got["search"]["trials"]
    assert len(kept["x"]) + len(below["x"]) == len(trials)
    assert kept["y"] == [trial["accuracy"] for trial in trials if trial["accepted"]]
    assert min(kept["y"]) >= floor["y"][0] > max(below["y"])
    uniform = read(results / "uniform.json")
    kept, below, _ = uniform["figures"][-1]["series"]
    assert kept["x"] == list(range(16, below["x"][0], -1))
    assert read(results / "float.json")["figures"] == []


def test_memory_of_a_trial() -> None:
    """A width beyond q_m stores q_m bits, and what was not searched keeps its own."""
    points: Any = [SimpleNamespace(name=n, width_of=n, tensors=(n,)) for n in ("a", "b", "c")]
    plan: Any = SimpleNamespace(
        kept=lambda point: SimpleNamespace(stored_bits=7), options={"q_m": {"a": 6}}
    )
    memory = Memory({}, {"a": 1_000_000, "b": 2_000_000, "c": 8_000_000})
    assert megabytes(points, plan, memory, {"a": 8, "b": 4}) == (6 + 2 * 4 + 8 * 7) / 8


def test_builders_make_what_is_checked() -> None:
    book = {"name": "a", "values": [0, 4], "edges": [0.0, 1.0], "counts": [1]}
    for figure in (
        charts.histograms("t", "x", "y", [{"name": "a", "edges": [0, 1.5], "counts": [2]}], True),
        charts.curves("t", "x", "y", [charts.line("a", [1, 2], [3, None], "paper", "points")]),
        charts.codebooks("t", [book, {"name": "b", "values": [3], "paper": [2]}]),
    ):
        whole = charts.check_figure(figure)
        assert charts.check_figure(whole) == whole
    table = Table("t", [{"a": "x", "b": None}, {"a": 1, "b": 2.5}], ["n"]).to_json()
    assert charts.check_table(table).to_json() == table


# --- pictures and page ---


def pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return np.asarray(image.convert("RGB"))


def share_of(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - colour).max(axis=2) < 4).mean())


def histogram_panels(count: int) -> list[dict[str, Any]]:
    return [
        {"name": f"layer {i}", "edges": [0, 1, 2, 4 + i], "counts": [0.5, 0.4, 0.1]}
        for i in range(count)
    ]


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
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "paper.json").write_text(json.dumps(reproduction()))
    names = [str(results / "enq.json"), str(results / "three.json"), str(tmp_path / "paper.json")]
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
    # a nul and half a character are no text
    shown = "a <b>&\"$x_{1$' ?? _字"
    assert shown in read_page.texts and "27.10" in read_page.texts and DASH in read_page.texts
    for wanted in ("Comparison", "squeezenet1_1, enq, 3 bits", "fire9/expand3x3", "a & b"):
        assert wanted in read_page.texts


@needs_matplotlib
def test_the_same_again(results: Path, tmp_path: Path) -> None:
    """Equal bytes from equal results; in a folder that is there, other files stay."""
    for name in ("a", "b", "b"):
        assert main([str(results / "enq.json"), "--out", str(tmp_path / name)]) == 0
        (tmp_path / name / "mine.txt").write_text("kept")
    assert sorted(os.listdir(tmp_path / "a")) == sorted(os.listdir(tmp_path / "b"))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_columns_are_written_alike() -> None:
    assert page.shown([27.1, 8.4672, None, "x"]) == ["27.10", "8.47", DASH, "x"]
    assert page.shown([0.0432, 0.02592]) == ["0.04320", "0.02592"]
    assert page.shown([0.0, -0.0]) == ["0.00", "0.00"]
    assert page.shown([12345, 1234.5, 1e-9, 1e16]) == ["12,345", "1,234.50", "1e-09", "1e+16"]


def test_comparison_has_a_point_a_result(results: Path) -> None:
    names = ("enq.json", "three.json", "again.json", "float.json")
    loaded = sections.named_apart([sections.load(str(results / name)) for name in names])
    compared = sections.comparison(loaded)
    assert compared is not None
    (figure,), (table,) = compared.figures, compared.tables
    contents = [read(results / name) for name in names]
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


# --- bad input, and nothing half written ---

GOOD = charts.histograms("t", "x", "y", histogram_panels(2))


def changed(*keys: Any, to: Any) -> Callable[[Path], str]:
    """A reproduction whose figure has something else at these keys."""

    def write(folder: Path) -> str:
        figure: Any = copy.deepcopy(GOOD)
        place = figure
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to
        content = {"refq_reproduce": "ilnq", "figures": [figure]}
        (folder / "r.json").write_text(json.dumps(content))
        return str(folder / "r.json")

    return write


def holding(text: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / "r.json").write_bytes(text.encode("latin-1"))
        return str(folder / "r.json")

    return write


BAD: list[tuple[Callable[[Path], str], str]] = [
    (lambda folder: str(folder / "nowhere.json"), r"cannot read .*nowhere.json \(No such file"),
    (lambda folder: str(folder), r"cannot read .*\(Is a directory\)"),
    (holding("{"), r"r.json is no JSON \(.*expected what refq.evaluate --json"),
    (holding("\xff\xfe"), r"r.json is no JSON"),
    (holding("[" * 100_000), r"r.json is no JSON"),
    (holding("[1]"), r"r.json holds a list; expected what refq.evaluate"),
    (holding('{"refq_plan": 1}'), r"r.json: no result of refq; expected what refq.evaluate"),
    (
        holding('{"network": 1, "scheme": 2, "layers": 3, "memory": 4, "quantized": 5}'),
        r"r.json: a result with KeyError",
    ),
    (holding('{"refq_reproduce": "ilnq"}'), r"no figures in .*r.json; .*evaluate with --scheme"),
    (holding('{"refq_reproduce": "ilnq", "figures": 3}'), r"a result with TypeError"),
    (holding('{"refq_reproduce": "ilnq", "tables": [{}]}'), r"a table's title is None; expected"),
    (
        holding(
            '{"refq_reproduce": "x", "tables": [{"title": "t", "columns": ["a"], "rows": [[]]}]}'
        ),
        r"a row of 0 cells in 't'; expected 1 cells",
    ),
    (changed("kind", to="pie"), r"kind 'pie'; expected one of histograms, curves, codebooks"),
    (changed("kind", to=[]), r"a figure of kind \[\]"),
    (changed("panels", to=[]), r"0 panels of 't'; expected 1 to 1000"),
    (changed("panels", 0, to=7), r"panels of 't' is 7; expected a JSON object"),
    (changed("panels", 0, "name", to=None), r"a name in 't' is None; expected text"),
    (changed("panels", 0, "edges", to=[0, 1]), r"2 edges with 3 counts in 'layer 0' of 't'"),
    (changed("panels", 0, "edges", to=[0, 1, 1, 2]), r"that do not ascend"),
    (changed("panels", 0, "counts", to=[1, -1, 0]), r"counts of 'layer 0' of 't' below 0"),
    (changed("panels", 1, "counts", to=[1, "2", 0]), r"holds '2'; expected finite numbers"),
    (changed("panels", 1, "counts", to=[1, float("nan"), 0]), r"holds nan; expected finite"),
    (changed("panels", 1, "counts", to=[1, True, 0]), r"holds True; expected finite numbers"),
]


@pytest.mark.parametrize(("result", "message"), BAD)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    result: Callable[[Path], str],
    message: str,
) -> None:
    monkeypatch.setattr(drawing, "require", lambda: None)
    path = result(tmp_path)
    before = sorted(os.listdir(tmp_path))
    assert main([path, "--out", str(tmp_path / "out")]) == console.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("refq: ")
    assert re.search(message, err), err
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("key", ["plan", "versions", "layers", "quantized", "memory", "weights"])
def test_a_broken_evaluation_is_one_line(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    for value in (7, "x", [1], {"a": 1}):
        (tmp_path / "r.json").write_text(json.dumps({**read(results / "enq.json"), key: value}))
        try:
            sections.load(str(tmp_path / "r.json"))
        except Exception as error:
            assert type(error).__name__ == "OptionError" and "r.json" in str(error)


@needs_matplotlib
def test_folders_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, results: Path
) -> None:
    (tmp_path / "file").write_text("")
    for out, message in (("file", "is no folder"), ("no/where", "cannot write")):
        given = [str(results / "enq.json"), "--out", str(tmp_path / out)]
        assert main(given) == console.BAD_INPUT
        assert re.search(message, capsys.readouterr().err)
    assert os.listdir(tmp_path) == ["file"]


def test_without_matplotlib_one_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = changed("title", to="t")(tmp_path)
    assert main([path, "--out", str(tmp_path / "out")]) == console.BAD_INPUT
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "pip install 'refq[report]'" in err
    assert os.listdir(tmp_path) == ["r.json"]


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full after the first file leaves a new folder unmade, an old one as it was."""
    writing.write_folder(str(tmp_path / "old"), {"a": b"1", "b": b"2"})
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "b":
            write(path, content[:1])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    for name in ("old", "new"):
        with pytest.raises(Exception, match=f"cannot write .*{name} .No space left on device"):
            writing.write_folder(str(tmp_path / name), {"a": b"33", "b": b"44"})
    assert os.listdir(tmp_path) == ["old"] and sorted(os.listdir(tmp_path / "old")) == ["a", "b"]
    assert (tmp_path / "old" / "a").read_bytes() == b"1"


@needs_matplotlib
def test_a_figure_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Path
) -> None:
    def fails(figure: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(drawing, "draw", fails)
    given = [str(results / "enq.json"), "--out", str(tmp_path / "out")]
    assert main(given) == console.INTERRUPTED and os.listdir(tmp_path) == []


@needs_matplotlib
def test_a_real_process_keeps_to_itself(tmp_path: Path) -> None:
    """Commands load matplotlib only to draw, and never its global state; settings come back."""
    path = changed("title", to="t")(tmp_path)
    code = f"""
import sys, refq.evaluate, refq.report
assert "matplotlib" not in sys.modules
assert refq.report.main([{path!r}, "--out", {str(tmp_path / "out")!r}]) == 0
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
import matplotlib
assert matplotlib.rcParams["axes.spines.top"] is True
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    missing = [sys.executable, "-m", "refq.report", "nowhere.json", "--out", str(tmp_path)]
    done = subprocess.run(missing, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1


def test_out_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a.json"]) == console.BAD_INPUT and "--out" in capsys.readouterr().err
    assert parser().prog == "refq.report"
