"""One content for JSON and text: computed once, figures only where JSON asks for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from refq import evaluate
from refq.results import evaluation
from refq.results.layers import LAYERS, layer_table
from refq.results.sections import load
from refq.results.text import as_text

FEW = ("--images", "3", "--calibrate", "4")


class Counted:
    """A function that knows how often it was called."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.function(*arguments)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counted]:
    """What the content and the figures are made by."""
    made = {}
    for name in ("figures", "layer_rows", "joins", "complexity"):
        made[name] = Counted(getattr(evaluation, name))
        monkeypatch.setattr(evaluation, name, made[name])
    return made


def test_text_makes_no_figures(
    counted: dict[str, Counted], capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main(["alexnet", "--scheme", "enq", *FEW]) == 0
    assert "activation memory" in capsys.readouterr().out
    calls = {name: function.calls for name, function in counted.items()}
    assert calls == {"figures": 0, "layer_rows": 1, "joins": 1, "complexity": 1}


def test_text_and_json_share_one_content(
    counted: dict[str, Counted], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "result.json"
    given = ["resnet50", "--scheme", "uniform", *FEW, "--json", str(path)]
    assert evaluate.main(given) == 0
    assert all(function.calls == 1 for function in counted.values())
    text, content = capsys.readouterr().out, json.loads(path.read_text())
    assert content["figures"] and content["joins"]
    lines = text.splitlines()
    # the table is made of JSON's rows
    table = layer_table(content["layers"]).lines()
    place = lines.index(table[0])
    assert lines[place : place + len(table)] == table
    for join in content["joins"]:
        assert any(line.startswith(f"  {join['name']}: ") for line in lines)
    assert f"{content['memory']['megabytes']:.4g} MB" in text


@pytest.mark.parametrize("scheme", ["float", "knq", "ristretto"])
def test_rows_have_the_columns_keys(scheme: str) -> None:
    few = FEW[:2] if scheme == "float" else FEW  # nothing is calibrated there
    arguments = evaluate.COMMAND.parse_args(["squeezenet1_1", "--scheme", scheme, *few])
    finished, _ = evaluate.evaluate(arguments)
    rows = finished.content["layers"]
    assert len(rows) == 28
    for row in rows:
        assert list(row) == [column.key for column in LAYERS]
    assert finished.to_json()["layers"] is rows
    # a column holds values of one kind; without a plan only memory is known
    kinds = [{type(row[c.key]) for row in rows} - {type(None)} for c in LAYERS]
    assert kinds[0] == {str} and kinds[-1] == {float}
    counts = {len(kind) for kind in kinds[1:-1]}
    assert counts == {"float": {0}, "knq": {1}, "ristretto": {0, 1}}[scheme]
    assert ("entropy bound" in as_text(finished)) == (scheme == "knq")


def test_a_plans_heading_is_what_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not what it says of itself, which an edit makes untrue."""
    path, result = tmp_path / "p.json", tmp_path / "r.json"
    made = [*FEW, "--scheme", "enq", "--bits-act", "5", "--save-plan", str(path)]
    assert evaluate.main(["squeezenet1_1", *made, "--json", str(result)]) == 0
    assert "scheme   enq  bits_act 5" in capsys.readouterr().out
    assert load(str(result)).sections[0].title == "squeezenet1_1, enq, 5 bits"
    plan = json.loads(path.read_text())
    coded = [entry for entry in plan["tensors"].values() if entry["code"]]
    for entry in coded[:2]:  # relu_conv1 and pool1, which are stored alike
        entry["code"]["bits"] = 3
    path.write_text(json.dumps(plan))
    given = ["squeezenet1_1", *FEW[:2], "--plan", str(path), "--json", str(result)]
    assert evaluate.main(given) == 0
    told = capsys.readouterr().out
    heading = next(line for line in told.splitlines() if line.startswith("scheme"))
    assert (
        heading.startswith(f"scheme   enq  as in {path}: bits 9,3,5,5") and "bits_act" not in told
    )
    assert load(str(result)).sections[0].title == "squeezenet1_1, enq"
