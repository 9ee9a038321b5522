"""`refq.report`: bad input in one line, and nothing half written."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refq.cli import console
from refq.errors import OptionError
from refq.files import writing
from refq.report import COMMAND, main
from refq.results import charts, drawing, sections
from tests.results.conftest import Results
from tests.results.pictures import histogram_panels, needs_matplotlib

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
    (lambda folder: str(folder), r"as --out, within .*; expected a place outside of RESULT"),
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
    (changed("panels", 1, "counts", to=[1, float("nan"), 0]), r"no JSON \(NaN is no number"),
    (changed("panels", 1, "counts", to=[1, 1e301, 0]), r"holds 1e\+301; expected finite"),
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
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    for value in (7, "x", [1], {"a": 1}):
        (tmp_path / "r.json").write_text(json.dumps({**results.content("enq.json"), key: value}))
        if key in ("plan", "versions") and isinstance(value, dict):
            # whatever names they hold: a plan without tensors, packages that nobody knows
            sections.load(str(tmp_path / "r.json"))
        else:
            with pytest.raises(OptionError, match=r"r\.json: a result with \w+: .*; expected what"):
                sections.load(str(tmp_path / "r.json"))


@needs_matplotlib
def test_folders_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, results: Results
) -> None:
    (tmp_path / "file").write_text("")
    for out, message in (("file", "is no folder"), ("no/where", "cannot write")):
        given = [results.path("enq.json"), "--out", str(tmp_path / out)]
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Results
) -> None:
    def fails(figure: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(drawing, "draw", fails)
    given = [results.path("enq.json"), "--out", str(tmp_path / "out")]
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
    assert COMMAND.name == "refq.report"
