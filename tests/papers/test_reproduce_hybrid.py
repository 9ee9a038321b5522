"""Paper B's tables: what was printed, complexity at ImageNet's size, and the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from refq import networks, reproduce, schemes
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks.weights import random_weights
from refq.papers import accumulators, complexity, granularity, hybrid, mixing, outliers, published
from refq.papers.study import Study, first, pooled
from refq.results import charts
from refq.schemes import Options
from refq.schemes.hybrid_options import HybridOptions
from refq.schemes.statistics import Statistics
from refq.search.journal import Journal
from tests.shared_data import PLACE

PRINTED = published.tables("hybrid")
ALEXNET = networks.build("alexnet")


def test_printed_tables_are_the_papers() -> None:
    """Against another transcription of the paper, where it is at hand."""
    path = PLACE.parent / "published" / "hybrid.json"
    if not path.is_file():
        pytest.skip(f"needs {path.name} of the shared data")
    other = json.loads(path.read_text())
    assert PRINTED["layers"]["alexnet"] == other["alexnet_layer_numbers"]
    one = {**PRINTED["table1"]["shape"], **PRINTED["table1"]["complexity"]}
    assert one == other["table1_alexnet_layer4_MMAC"]
    for own, its in zip(PRINTED["table2"]["alexnet"], other["table2_alexnet"], strict=True):
        assert (own["system"], own["format"]) == (its["system"], its["format"])
        assert (own["top1_error"], own["complexity"]) == (its["top1_error"], its["MMAC"])
        assert own["granularity"] == its.get("granularity")
        assert own["fine_tuned"] == its.get("fine_tuned", False)
    for its in other["table3_alexnet_energy"]:
        own = PRINTED["table3"]["alexnet"][its["name"]]
        assert own == {"top1_error": its["top1_error"], "savings": its["savings_percent"]}
    for own, its in zip(PRINTED["table4"]["alexnet"], other["table4_alexnet_layer4"], strict=True):
        assert own["clusters"] == its.get("K") and own["complexity"] == its["MMAC"]
        for key in ("base", "residual", "top1_error"):
            assert own[key] == its[key]
        for key in ("layer_savings", "network_savings"):
            assert own[key] == its.get(key)
    for own, its in zip(PRINTED["table5"], other["table5"], strict=True):
        for key in ("granularity", "top1_error", "top5_error"):
            assert own[key] == its[key]
        # matconvnet-alexnet is alexnet_matconvnet
        parts = (own["network"] or "").split("_")
        assert all(part in its["net"] for part in parts)
    own, its = PRINTED["table6"]["alexnet"], other["table6_alexnet_kmeans"]
    names = PRINTED["layers"]["alexnet"]
    assert own["clusters"] == {names[number]: count for number, count in its["K"].items()}
    assert (own["complexity"], own["savings"]) == (its["MMAC"], its["network_savings_percent"])
    assert own["top1_error"] == its["top1_error"]


def test_printed_cells() -> None:
    """Without the other transcription: whole, and what is known of it."""
    assert list(PRINTED["layers"]["alexnet"].values()) == list(ALEXNET.macs())
    assert len(PRINTED["table2"]["alexnet"]) == 11 and len(PRINTED["table5"]) == 15
    odd = [row["top5_error"]["float"] for row in PRINTED["table5"] if row["model"] == "ResNet-101"]
    assert odd == [7.61, 8.61]
    (cactus,) = [row for row in PRINTED["table5"] if row["network"] is None]
    assert cactus["model"] == "Cactus-it6"
    assert any("unpublished" in note for note in PRINTED["notes"]["table5"])


def test_complexity_of_table_1() -> None:
    table = complexity.layer_table(PRINTED["table1"])
    shape = PRINTED["table1"]["shape"]
    assert int(np.prod(list(shape.values()))) == ALEXNET.macs()["conv2"] == 223_948_800
    found = {row[0]: row[1:] for row in table.cells}
    assert found["<8b,8b>"] == (224, 223.9488, pytest.approx(-0.0512))
    assert found["<4b,8b>"][1] == pytest.approx(111.9744)
    assert found["<4b,4b>"][1] == pytest.approx(55.9872)
    assert found["<flp,flp>"][1] == pytest.approx(9 * 223.9488)


def test_complexity_of_table_2() -> None:
    """724.4 M MACs: 3 times with one, 9 times with both operands in floating point."""
    macs = sum(ALEXNET.macs().values())
    assert macs == 724_406_816
    rounded = [round(complexity.of_format(macs, f), 1) for f in ("8b,8b", "8b,flp", "flp,flp")]
    assert rounded == [724.4, 2173.2, 6519.7]


def test_savings_of_table_3() -> None:
    bits = [complexity.experiment_bits(ALEXNET, name) for name in mixing.EXPERIMENTS]
    assert [round(complexity.saved(ALEXNET, each), 2) for each in bits] == [0.0, 33.17, 42.44]
    # by hand: half of 40 % of conv2 and of all but conv1 and fc8
    macs = ALEXNET.macs()
    rest = sum(macs.values()) - macs["conv1"] - macs["fc8"] - macs["conv2"]
    low = (0.4 * macs["conv2"] + rest) / 2
    assert 100 * low / sum(macs.values()) == pytest.approx(complexity.saved(ALEXNET, bits[1]))


def test_complexity_of_table_4() -> None:
    layer = complexity.largest(ALEXNET)
    assert layer == "conv2"
    million = ALEXNET.macs()[layer] / 1e6
    for low, amount, network in ((8, 227.45, -0.48), (4, 115.47, 14.97)):
        bits = complexity.clustered_bits(256, 4, 8, low)
        assert round(million * bits / 8, 2) == amount
        assert round(complexity.saved(ALEXNET, {layer: bits}), 2) == network
    # what the paper prints: (N/2 - K)/N of the layer is saved
    assert 1 - complexity.clustered_bits(256, 4, 8, 4) / 8 == (0.5 * 256 - 4) / 256


def test_complexity_of_table_6() -> None:
    clusters = PRINTED["table6"]["alexnet"]["clusters"]
    bits = complexity.clustering_bits(ALEXNET, clusters, {"conv1": 8})
    assert round(complexity.total(ALEXNET, bits), 2) == 422.40
    assert round(complexity.saved(ALEXNET, bits), 2) == 41.69
    without = {**bits, "conv1": 8.0}
    assert round(complexity.total(ALEXNET, without), 1) == 420.2


def test_networks_of_the_paper_are_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hybrid.NETWORKS[:3] == ("alexnet", "squeezenet1_1", "vgg16")
    # of Table 5's, those whose weights come with refq
    paper = ("alexnet_matconvnet", "googlenet", "vgg19", "resnet50", "resnet101", "resnet152")
    folder = Path(__file__).parents[2] / "weights"
    bundled = tuple(name for name in paper if (folder / f"{name}.h5").is_file())
    assert hybrid.NETWORKS[3:] == bundled and len(bundled) > 3
    monkeypatch.setattr(hybrid.bundled, "path", lambda name: Path(name))
    assert tuple(hybrid._studied())[3:] == paper


def test_systems_ask_for_what_their_schemes_understand() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def plan(name: str, **changes: Any) -> str:
        asked.append((name, changes))
        return name

    study: Any = SimpleNamespace(plan=plan)
    row = {"system": "Ristretto", "format": "8b,8b", "granularity": None, "fine_tuned": False}
    assert granularity.counterpart(study, row) == (True, "ristretto")
    assert asked.pop() == ("ristretto", {"bits_wt": 8, "bits_act": 8, "numbers": "fixed"})
    row = {**row, "system": "TensorFlow"}
    assert granularity.counterpart(study, row) == (True, "tensorflow")
    assert asked.pop() == ("tensorflow", {"bits_wt": 8, "bits_act": 8, "mode": "eightbit"})
    assert granularity.counterpart(study, {**row, "format": "8b,flp"}) == (True, "tensorflow")
    assert asked.pop() == ("tensorflow", {"bits_wt": 8, "mode": "weights_rounded"})
    assert granularity.counterpart(study, {**row, "fine_tuned": True}) == (False, None)
    assert granularity.counterpart(study, {**row, "format": "flp,flp"}) == (True, None)


def test_the_first_images_of_a_stream() -> None:
    made: list[int] = []

    def stream() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for size in (3, 4, 5):
            made.append(size)
            yield np.full((size, 1), size), np.arange(size)

    sizes = [(len(x), len(y) if y is not None else None) for x, y in first(stream(), 5)]
    assert sizes == [(3, 3), (2, 2)] and made == [3, 4]
    assert sum(len(x) for x, _ in first(stream(), 99)) == 12
    assert [y for _, y in first(iter([(np.zeros((2, 1)), None)]), 1)] == [None]


def small() -> tuple[Source, list[str]]:
    """A small network with two batches, and what passes over them were for."""
    network = networks.build("alexnet", {"input_size": 67, "width": 0.1, "classes": 7, "hidden": 9})
    rng, told = np.random.default_rng(3), []
    values = [
        (rng.uniform(-128, 127, (n, *network.input_shape)).astype(np.float32), None) for n in (3, 2)
    ]

    def progress(what: str) -> Any:
        told.append(what)
        return lambda images: None

    source = Source(network, random_weights(network, 4), lambda: iter(values), progress=progress)
    return source, told


def test_statistics_are_gathered_once() -> None:
    source, told = small()
    own = Options(hybrid=HybridOptions())
    ranged = replace(own, hybrid=HybridOptions(accumulated="range"))
    mapped = replace(own, hybrid=HybridOptions(data_granularity="map"))
    modules: list[tuple[ModuleType, Options, list[str]]] = [
        (schemes.find("hybrid"), own, ["calibrate"]),
        (schemes.find("clustered"), own, []),
        (schemes.find("hybrid"), mapped, ["feature maps"]),
        (schemes.find("energy"), own, ["energies"]),
        (schemes.find("hybrid"), ranged, ["calibrate"]),
        (schemes.find("energy"), ranged, []),
        (schemes.find("knq"), own, ["count codes"]),
        (schemes.find("hybrid"), ranged, []),
    ]
    known: Statistics | None = None
    for module, options, passes in modules:
        told.clear()
        wanted = module.wanted(source.network, options)
        known = gather(wanted, source, known)
        assert told == passes, module.__name__
        assert known is not None and known.images == 5
        fresh = gather(wanted, source)
        assert fresh is not None and fresh.histograms.keys() <= known.histograms.keys()
        # equal plans, whatever else was gathered before
        plans = [
            module.plan(source.network, source.weights, each, options) for each in (known, fresh)
        ]
        assert plans[0] == plans[1]
    assert known is not None and known.maps and known.energies and known.codes
    assert gather(schemes.find("float").wanted(source.network, own), source) is None


@pytest.mark.parametrize(
    ("frac_act", "passes"), [(None, ["calibrate", "count codes"]), (3, ["calibrate"])]
)
def test_a_study_passes_its_images_twice(frac_act: int | None, passes: list[str]) -> None:
    """Once where F is given: whatever schemes it plans, nothing is gathered again."""
    source, told = small()
    study = Study(
        network=source.network,
        weights=source.weights,
        calibration=source.batches,
        test=source.batches,
        options=Options(frac_act=frac_act),
        ranks=False,
        journal=Journal(None, {}),
        find=lambda *asked: ({}, ""),
        progress=source.progress,
    )
    for scheme in ("uniform", "enq", "knq", "clnq", "hybrid", "clustered", "knq"):
        study.plan(scheme)
    assert told == passes and study.statistics.codes.keys() >= pooled(source.network)


def test_sums_before_a_relu_are_counted() -> None:
    """What accumulators are ranged by: sums, negative ones among them."""
    source, _ = small()
    options = Options(hybrid=HybridOptions(accumulated="range"))
    found = gather(schemes.find("hybrid").wanted(source.network, options), source)
    assert found is not None
    for node in source.network.weighted:
        counts = found.histograms[node.name]
        assert counts.sum() == 5 * np.prod(source.network.shapes[node.name])
        assert counts[32768:].sum() > 0


def test_bits_that_finer_formats_free() -> None:
    """A kernel 8 times and a filter 64 times smaller than the largest coefficient's."""
    weight = np.full((2, 4, 3, 3), 0.75, np.float32)
    weight[1] = 0.75 / 8
    weight[0, 2] = 0.75 / 64
    study: Any = SimpleNamespace(
        weights=SimpleNamespace(weight={"a": weight, "b": np.ones((4, 5), np.float32)}),
        network=SimpleNamespace(weighted=[SimpleNamespace(name="a"), SimpleNamespace(name="b")]),
        options=Options(),
    )
    assert outliers.gained(study, "a") == {"3D": 3 / 2, "2D": (4 * 3 + 6) / 8}
    assert outliers.worst_layer(study) == "a"
    assert outliers.table(study).cells == ((("a", 0.75, 8.0, 1.5, 2.25)),)
    figure = charts.check_figure(outliers.figure(study, bins=4))
    shares = {panel["name"]: panel["counts"] for panel in figure["panels"]}
    # 0.75 of its range lies in the last quarter, and so do all where each filter has its own
    assert shares["2D formats"] == [0, 0, 0, 1.0]
    assert shares["4D formats"] == pytest.approx([5 / 8, 0, 0, 3 / 8])
    assert shares["3D formats"] == pytest.approx([1 / 8, 0, 0, 7 / 8])


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert reproduce.main(["hybrid", *arguments]) == 0
    return capsys.readouterr().out


SMALL = ("--images", "40", "--calibrate", "20")


def test_alexnet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accumulators, "IMAGES", 10)
    path = tmp_path / "hybrid.json"
    text = run(capsys, "--network", "alexnet", *SMALL, "--json", str(path))
    (section,) = json.loads(path.read_text())["sections"]
    tables = {table["title"]: table for table in section["tables"]}
    for number in range(1, 7):
        assert any(title.startswith(f"Table {number}") for title in tables)
    for title in tables:
        assert title in text

    def rows(title: str) -> list[dict[str, Any]]:
        (table,) = [each for name, each in tables.items() if name.startswith(title)]
        return [dict(zip(table["columns"], row)) for row in table["rows"]]

    compared = rows("Table 2")
    assert len(compared) == 11
    for row, printed in zip(compared, PRINTED["table2"]["alexnet"]):
        assert row["paper error"] == printed["top1_error"]
        assert row["difference"] == pytest.approx(row["M MACs"] - printed["complexity"])
    reference = compared[0]["error"]
    for row in compared:
        if row["error"] is not None:
            assert row["lost"] == pytest.approx(row["error"] - reference)
    assert compared[-1]["paper lost"] == pytest.approx(61.5 - 42.2)
    widths = rows("Coefficient bits")
    assert [(row["bits"], row["formats"]) for row in widths][:4] == [
        (8, "4D"),
        (8, "3D"),
        (8, "2D"),
        (6, "4D"),
    ]
    assert widths[2]["formats kB"] > widths[1]["formats kB"] > widths[0]["formats kB"] == 0
    for row, wanted in zip(rows("Table 3"), (0.0, 33.17 - 30, 42.44 - 44)):
        assert row["difference"] == pytest.approx(wanted, abs=0.01)
    differences = [row["difference"] for row in rows("Table 4")]
    assert differences == pytest.approx([-0.05, -0.03, 0.45, -1.53], abs=0.01)
    assert [row["paper top-1"] for row in rows("Table 5")] == [43.64, 43.52]
    assert rows("Table 6")[2]["difference"] == pytest.approx(0.40, abs=0.01)
    mixed = rows("Eight and four")
    assert mixed[0]["saved %"] == 50 and mixed[-1]["saved %"] == 0
    shares = [row["saved %"] for row in mixed if row["coefficients"].startswith("energy, ")]
    assert shares == sorted(shares[:4]) + shares[4:]
    sums = rows("Accumulators")
    assert len(sums) == 27
    held = {(row["bits"], row["overflow"], row["fraction bits"]): row for row in sums}
    assert held[32, "sat", "products"]["overflows"] == 0
    lost = held[16, "wrap", "products"]
    assert lost["overflows"] > 1000 and lost["lost"] > 20
    assert held[16, "wrap", "range"]["overflows"] < 10
    trace = [row["saved %"] for row in rows("Fig. 4: thresholds")]
    assert trace == sorted(trace) and trace[0] == 0
    *loop, last = rows("Fig. 4: the loop")
    accepted = [row["threshold"] for row in loop if row["accepted"] == "yes"]
    assert last["step"] == "evaluated" and last["threshold"] == max(accepted) > 0
    storage = {row["coefficients"]: row for row in rows("Storage")}
    assert storage["k-means, K = 4, 8 + 4 bits"]["temporary maps kB"] > 0
    assert storage["float32"]["weights kB"] == pytest.approx(
        4 * storage["4D, 8 bits"]["weights kB"]
    )
    assert [figure["kind"] for figure in section["figures"]] == ["histograms", "curves", "curves"]
    for figure in section["figures"]:
        charts.check_figure(figure)
    for table in section["tables"]:
        charts.check_table(table)


def test_without_labels_there_are_no_accuracies(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "--network", "squeezenet1_1", "--weights", "random:0", "--data", "random:3")
    assert "Tables 2 to 6" in text and "Storage of coefficients" in text
    assert "Table 1" not in text and "Accumulators" not in text
