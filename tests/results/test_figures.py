"""An evaluation's figures, as data: they agree with its layers, plan and search."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import FixedPointFormat
from refq.plans.cost import Memory
from refq.plans.plan import TensorPlan
from refq.results import charts
from refq.results.figures import MOST_BINS, binned, megabytes
from refq.tables import Table
from tests.results.conftest import Results

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
    known = np.array(stored.storage.levels) * 2.0**-stored.fixed.frac_bits
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
    signed = np.array(TENSORS["signed"].storage.levels)
    assert (signed[0], signed[-1], len(signed)) == (-256, 255, 512)
    shifted = np.array(TENSORS["shifted"].storage.levels)
    assert (shifted[1], shifted[-1], len(shifted)) == (64, 31 * 64, 32)
    assert TENSORS["codebook"].storage.levels == (0, 3, 10, 11, 40, 90, 90)


@pytest.mark.parametrize("name", ["enq.json", "knq.json"])
def test_figures_agree_with_the_layers(results: Results, name: str) -> None:
    """Zero share and entropy, which are measured elsewhere, come out of the bins again."""
    got = results.content(name)
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


def test_codebooks_are_the_plans(results: Results) -> None:
    got = results.content("knq.json")
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


def test_search_figure_ends_at_the_found_memory(results: Results) -> None:
    got = results.content("search.json")
    figure = got["figures"][-1]
    kept, below, floor = figure["series"]
    assert kept["x"][-1] == pytest.approx(got["memory"]["megabytes"])
    trials = got["search"]["trials"]
    assert len(kept["x"]) + len(below["x"]) == len(trials)
    assert kept["y"] == [trial["accuracy"] for trial in trials if trial["accepted"]]
    assert min(kept["y"]) >= floor["y"][0] > max(below["y"])
    uniform = results.content("uniform.json")
    kept, below, _ = uniform["figures"][-1]["series"]
    assert kept["x"] == list(range(16, below["x"][0], -1))
    assert results.content("float.json")["figures"] == []


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
