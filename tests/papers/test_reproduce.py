"""Paper A's tables: what was printed, memory at ImageNet's size, and the command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from refq import networks, reproduce
from refq.formats.codes import Codebook
from refq.formats.fixed import FixedPointFormat, Rounding
from refq.measure.calibration import code_counts
from refq.networks.layers import ReLU
from refq.networks.points import storage_points
from refq.papers import codebooks, comparison, published
from refq.papers import study as study_module
from refq.plans.cost import codebook_bits, memory_of_widths, weight_bits
from refq.plans.plan import Plan, TensorPlan
from refq.schemes import Options, knq
from refq.schemes.statistics import Statistics
from tests.shared_data import PLACE

PRINTED = published.tables("ilnq")


def test_printed_tables_are_the_papers() -> None:
    """Against another transcription of the paper, where it is at hand."""
    path = PLACE.parent / "published" / "ilnq.json"
    if not path.is_file():
        pytest.skip(f"needs {path.name} of the shared data")
    other = json.loads(path.read_text())
    uniform = dict(other["table1_uniform_vgg16_top5"])
    assert PRINTED["float_top5"]["vgg16"] == uniform.pop("float")
    assert PRINTED["uniform_top5"]["vgg16"] == uniform
    assert PRINTED["enq"]["vgg16"]["layers"] == other["table2_3_enq_vgg16"]["layers"]
    assert PRINTED["enq"]["vgg16"]["rows"] == other["table2_3_enq_vgg16"]["rows"]
    assert PRINTED["clnq"]["vgg16"] == other["clnq_vgg16_bits"]
    assert PRINTED["centroids"]["vgg16"] == other["table4_knq_vgg16_centroids"]
    assert PRINTED["knq_top5"] == other["table6_knq_top5"]
    for unit, row in PRINTED["units"].items():
        assert row == other["table5_90nm"][unit]
    for network, rows in other["table7"].items():
        for scheme, row in rows.items():
            assert row.items() <= PRINTED["comparison"][network][scheme].items()


def test_printed_tables_are_whole() -> None:
    assert all(len(row["bits"]) == 16 for row in PRINTED["enq"]["vgg16"]["rows"])
    books = PRINTED["centroids"]["vgg16"]
    assert len(books) == 12 and all(len(row) == 32 for row in books.values())
    assert all(row == sorted(row) for row in books.values())


def memory_at_size(bits: dict[str, int] | int) -> tuple[float, float]:
    network = networks.build("vgg16")
    widths = {}
    for point in storage_points(network):
        widths[point.name] = bits if isinstance(bits, int) else bits.get(point.name, 8)
    memory = memory_of_widths(network, widths)
    return round(memory.megabytes, 2), round(memory.megabytes_by_output, 2)


def test_memory_of_table_7() -> None:
    """By hand: 224^2 64 (2) + 112^2 128 (2) + 56^2 256 (3) + 28^2 512 (3) + 14^2 512 (3) values."""
    assert memory_at_size(16)[0] == 27.10
    assert memory_at_size(5)[0] == 8.47
    assert memory_at_size(PRINTED["clnq"]["vgg16"]) == (16.82, 15.89)
    enq = PRINTED["enq"]["vgg16"]
    assert memory_at_size(dict(zip(enq["layers"], enq["rows"][-1]["bits"]))) == (8.94, 9.90)


def test_codebooks_and_weights_take_memory() -> None:
    network = networks.build("alexnet", {"input_size": 67, "width": 0.1, "classes": 7, "hidden": 9})
    counts = network.weight_shapes()
    values = sum(int(np.prod(shape)) for shape in counts.values())
    biases = sum(shape[0] for shape in counts.values())
    assert weight_bits(network, None) == 32 * (values + biases)
    assert codebook_bits(network, None) == 0
    fmt = FixedPointFormat(12, 0, signed=False)
    book = TensorPlan(fmt, Codebook(2, (0, 4, 9, 11), True))
    tensors = {name: TensorPlan(fmt) for p in storage_points(network) for name in p.tensors}
    for name in storage_points(network)[1].tensors:
        tensors[name] = book
    plan = Plan(network.name, {}, "knq", tensors, {})
    assert codebook_bits(network, plan) == 4 * 12


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert reproduce.main(["ilnq", *arguments]) == 0
    return capsys.readouterr().out


SMALL = ("--images", "60", "--calibrate", "40", "--no-search")


def test_alexnet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "ilnq.json"
    text = run(capsys, "--network", "alexnet", *SMALL, "--json", str(path))
    (section,) = json.loads(path.read_text())["sections"]
    tables = {table["title"].split(":")[0]: table for table in section["tables"]}
    for title in tables:
        assert title in text
    rows = [dict(zip(tables["Table VI"]["columns"], row)) for row in tables["Table VI"]["rows"]]
    assert len(rows) == 24
    for row in rows:
        paper = PRINTED["knq_top5"]["alexnet"]
        which = "preprocess" if row["pre-process"] == "yes" else "no_preprocess"
        assert row["paper top-5"] == paper[which][str(row["bits"])]
    (float_note,) = [n for n in tables["Table VI"]["notes"] if n.startswith("float here")]
    reference = float(re.findall(r"top-5 ([\d.]+)", float_note)[0])
    for row in rows:
        assert row["lost"] == pytest.approx(row["top-5"] - reference, abs=0.01)
    compared = {
        row[0]: dict(zip(tables["Table VII"]["columns"], row))
        for row in tables["Table VII"]["rows"]
    }
    assert compared["half"]["MB"] == pytest.approx(650080 * 2 / 1e6)
    assert compared["knq"]["difference"] == pytest.approx(650080 * 3 / 8e6 - 0.48)
    # half precision loses nothing that 60 images could show
    assert abs(compared["half"]["top-5"] - reference) < 2
    kinds = [figure["kind"] for figure in section["figures"]]
    assert kinds == ["histograms", "codebooks", "curves", "curves"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["knq"], "paper 'knq'"),
        (["ilnq", "--network", "lenet"], "lenet"),
        (["ilnq", "--weights", "random:0"], "--weights for 2 networks"),
        (["ilnq", "--data", "random:4"], "--data without --weights"),
        (["ilnq", "--json", "/nowhere/x.json"], "cannot write"),
        (["ilnq", "--delta", "-1"], "--delta -1"),
        (["ilnq", "--frac-act", "99"], "--frac-act 99"),
    ],
    ids=str,
)
def test_bad_input(refusal: Callable[..., str], arguments: list[str], text: str) -> None:
    assert text in refusal(reproduce.main, *arguments)


def test_without_labels_there_are_no_accuracies(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "--network", "alexnet", "--weights", "random:0", "--data", "random:3")
    assert "Table VII" in text and "Table VI:" not in text and "Table I:" not in text


def test_figures_are_ones_that_report_draws(capsys: pytest.CaptureFixture[str]) -> None:
    from refq.results import charts

    out = run(capsys, "--network", "vgg16", *SMALL, "--json", "-")
    content: dict[str, Any] = json.loads(out)
    (section,) = content["sections"]
    kinds = [charts.check_figure(figure)["kind"] for figure in section["figures"]]
    assert kinds == ["histograms", "codebooks", "curves", "curves"]
    titles = [charts.check_table(table).title for table in section["tables"]]
    wanted = ["Measured on", "Table I: uniform quantization", "Tables II and III: ENQ"]
    assert titles[:3] == wanted and len(titles) > 6


def test_the_image_is_no_activation() -> None:
    """By output, conv1's outputs have the image's width, whatever the others have."""
    study = SimpleNamespace(
        network=SimpleNamespace(name="alexnet"),
        at_size=networks.build("alexnet"),
        options=Options(bits_image=9),
    )
    counts = networks.build("alexnet").activation_counts()
    rest = sum(counts[name] for name in counts if name.startswith("conv") and name != "conv1")
    memory = comparison.memory(study, {}, 3)  # type: ignore[arg-type]
    assert memory.by_output == 9 * counts["conv1"] + 3 * rest
    half = comparison.memory(study, {}, 16)  # type: ignore[arg-type]
    assert half.by_output == 16 * (counts["conv1"] + rest)


def test_codebooks_are_recognised() -> None:
    """A row that is what k-means finds on one of a layer's tensors is told to be of it."""
    network = networks.build("vgg16", {"input_size": 32, "width": 0.1, "classes": 7, "hidden": 9})
    rng = np.random.default_rng(5)
    makers = {name for point in storage_points(network) for name in point.makers} - {"data"}
    names = makers | study_module.pooled(network)
    tensors = {
        name: rng.exponential(300 + 40 * i, 3000).astype(np.float32)
        for i, name in enumerate(sorted(names))
    }
    fmt = FixedPointFormat(16, 0, signed=False)
    codes = {name: code_counts(values, fmt, Rounding.TIES_EVEN) for name, values in tensors.items()}
    statistics = Statistics(codes=codes, frac_bits=0)
    study = SimpleNamespace(network=network, statistics=statistics, frac_bits=0)
    relus = {node.inputs[0]: node.name for node in network.nodes if isinstance(node.layer, ReLU)}
    reads = {node.name: node.inputs[0] for node in network.weighted}
    for layer, kmeans, tensor, wanted in (
        ("conv2_1", "exact", reads["conv2_1"], "input"),
        ("conv2_1", "lloyd-random", relus["conv1_2"], "stored"),
        ("conv2_2", "lloyd++", relus["conv2_2"], "output"),
    ):
        counts = knq.saturated(statistics.codes[tensor], FixedPointFormat(12, 0, signed=False))
        options = Options(kmeans=kmeans, kmeans_iterations=codebooks.STEPS)
        row = knq.centroids(counts, 32, options)
        best = codebooks.fits(study, layer, row)[0]  # type: ignore[arg-type]
        assert (best.tensor, best.kmeans, best.distance) == (wanted, kmeans, 0.0)
        table = codebooks.table(study, {layer: row})  # type: ignore[arg-type]
        lines = [cells for cells in table.cells if cells[1] == kmeans]
        assert lines == [(layer, kmeans, wanted, 0.0, " ".join(map(str, row)))]


def test_search_and_journal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A second run measures nothing again, and prints the same; other images are refused."""
    few = ("--network", "alexnet", "--images", "30", "--calibrate", "30", "--delta", "20")
    journal = tmp_path / "j"
    first = run(capsys, *few, "--journal", str(journal))
    found = [line for line in first.splitlines() if line.startswith("found  nearest")]
    assert len(found) == 1 and "found: at most 20 top1 points below float" in first
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(files) == 2
    again = run(capsys, *few, "--journal", str(journal))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    # all but the last line, the time
    assert again.splitlines()[:-1] == first.splitlines()[:-1]
    other = ["ilnq", *few, "--skip", "1", "--journal", str(journal)]
    assert reproduce.main(other) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "is of another search: images [0, 30]" in captured.err


def test_a_search_that_finds_nothing_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    few = ("--network", "alexnet", "--images", "30", "--calibrate", "30", "--delta", "0")
    text = run(capsys, *few, "--frac-act", "20")
    assert "found: none, " in text and "Table VII" in text
