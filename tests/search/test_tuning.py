"""Paper B's searches: Fig. 4's threshold loop, its bisection, and base kernels by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import networks, schemes
from refq.evaluate import main
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks.weights import random_weights
from refq.plans.plan import Plan
from refq.schemes.hybrid_options import HybridOptions
from refq.search import clusters, tuning


@pytest.mark.parametrize(("edge", "wanted"), [(0.0, 0.0), (0.19, 0.15), (0.2, 0.2), (0.61, 0.6)])
def test_steps_stop_where_accuracy_falls(edge: float, wanted: float) -> None:
    asked: list[float] = []

    def accepts(threshold: float) -> bool:
        asked.append(threshold)
        return threshold <= edge + 1e-12

    assert tuning.steps(accepts, lambda threshold: False, 0.05) == pytest.approx(wanted)
    assert asked == pytest.approx([0.05 * n for n in range(1, len(asked) + 1)])
    assert len(asked) == round(wanted / 0.05) + 1


def test_steps_stop_where_all_filters_have_few_bits() -> None:
    assert tuning.steps(lambda threshold: True, lambda threshold: threshold >= 1.5, 0.5) == 1.5


@pytest.mark.parametrize("edge", [0.01, 0.3, 5.7])
def test_bisection_comes_near_the_edge(edge: float) -> None:
    asked: list[float] = []

    def accepts(threshold: float) -> bool:
        asked.append(threshold)
        return threshold <= edge

    found = tuning.bisection(accepts, lambda threshold: False, 0.05)
    assert found <= edge and edge - found <= max(edge, 0.05) / 2**tuning.HALVINGS
    assert len(asked) < 20


def test_bisection_ends_where_all_filters_have_few_bits() -> None:
    assert tuning.bisection(lambda t: True, lambda t: t >= 3, 0.5) == 4.0


class Ladder:
    """Two layers; the second gains twice as much for its MACs."""

    def __init__(self) -> None:
        self.rungs = {"one": (1, 2, 4), "two": (1, 2, 4)}

    def price(self, name: str, k: int) -> tuple[float, float]:
        return (1.0 / k * (2 if name == "two" else 1), float(k))


def test_clusters_climb_where_it_helps_most() -> None:
    tried: list[dict[str, int]] = []

    def accepts(setting: Any) -> bool:
        tried.append(dict(setting))
        return sum(setting.values()) >= 7

    found = clusters.climb(accepts, Ladder())  # type: ignore[arg-type]
    assert found == {"one": 4, "two": 4}
    assert tried[:3] == [{"one": 1, "two": 1}, {"one": 1, "two": 2}, {"one": 2, "two": 2}]


def test_a_layer_in_float32_loses_nothing() -> None:
    network = networks.build("alexnet", {"input_size": 67, "width": 0.1, "classes": 7, "hidden": 9})
    weights = random_weights(network, 2)
    options = schemes.Options(hybrid=HybridOptions(only=("conv2",)))
    scheme = schemes.find("clustered")
    images = np.random.default_rng(3).normal(0, 40, (2, 3, 67, 67)).astype(np.float32)
    source = Source(network, weights, lambda: [(images, None)])
    statistics = gather(scheme.wanted(network, options), source)

    def planned(counts: Mapping[str, int]) -> Plan:
        hybrid = replace(options.hybrid, clusters=counts)
        plan: Plan = scheme.plan(network, weights, statistics, replace(options, hybrid=hybrid))
        return plan

    ladder = clusters.Ladder(network, weights, planned, options.hybrid)
    assert ladder.price("conv1", 1)[0] == ladder.price("conv1", 8)[0] == 0.0
    assert ladder.price("conv2", 1)[0] > ladder.price("conv2", 8)[0] > 0.0


SMALL = ("squeezenet1_1", "--images", "40", "--calibrate", "60")


@pytest.mark.parametrize("strategy", ["threshold", "bisection"])
def test_a_threshold_is_found(
    evaluation: Callable[..., dict[str, Any]], tmp_path: Path, strategy: str
) -> None:
    journal = str(tmp_path / "journal")
    asked = (
        *SMALL,
        "--scheme",
        "energy",
        "--delta",
        "12",
        "--search",
        strategy,
        "--step",
        "0.4",
        "--journal",
        journal,
    )
    found = evaluation(*asked)
    search = found["search"]
    kept = [trial for trial in search["trials"] if trial["accepted"]]
    assert all(trial["accuracy"] >= search["floor"] for trial in kept)
    assert search["setting"] == max(trial["setting"] for trial in kept) > 0
    assert found["complexity"]["mega_macs"] == pytest.approx(search["found"])
    assert found["complexity"]["saved_percent"] > 5
    assert any("trials" in figure["title"] for figure in found["figures"])
    again = evaluation(*asked)
    assert again["plan"] == found["plan"]
    assert again["search"]["passes"]["spent"] < search["passes"]["spent"]


def test_clusters_are_found(evaluation: Callable[..., dict[str, Any]]) -> None:
    found = evaluation(*SMALL, "--scheme", "clustered", "--granularity", "2D", "--delta", "25")
    assert set(found["search"]["setting"]) == {
        name for name, layer in found["plan"]["layers"].items() if "labels" in layer["weight"]
    }
    assert found["search"]["trials"][-1]["accepted"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--scheme", "energy", "--delta", "1", "--search", "layerwise"), "threshold or bisection"),
        (("--scheme", "energy", "--delta", "1", "--search-bits", "2-4"), "finds its own bits"),
        (("--scheme", "energy", "--delta", "1", "--step", "0"), "a positive number"),
        (("--scheme", "uniform", "--delta", "1", "--search", "threshold"), "sensitivity"),
        (("--scheme", "energy", "--delta", "0", "--bits-wt", "2"), "without few bits"),
        (("--scheme", "energy", "--threshold", "1", "--experiment", "moderate"), "one of them"),
        (("--scheme", "hybrid", "--granularity", "1D"), "4D, 3D, 2D"),
        (("--scheme", "hybrid", "--bits-wt", "conv9=4"), "conv9"),
        (("--scheme", "hybrid", "--bits-acc", "99"), "2 to 62 bits"),
        (("--scheme", "hybrid", "--threshold", "1"), "a scheme that reads them"),
        (("--scheme", "uniform", "--granularity", "2D"), "a scheme that reads them"),
        (("--scheme", "uniform", "--bits-wt", "conv1=4"), "clustered or energy or hybrid"),
        (("--scheme", "clustered", "--clusters", "-1"), "0 or more"),
        (("--scheme", "energy", "--low-share", "120"), "0 to 100 percent"),
        (("--scheme", "energy", "--threshold", "inf"), "0 to 1e+06"),
        (("--scheme", "energy", "--delta", "5", "--threshold", "1"), "one or the other"),
        (("--scheme", "energy", "--delta", "5", "--confidence", "1"), "gives up nothing"),
        (("--scheme", "hybrid", "--float-data", "--delta", "5"), "widths to search for"),
        (("--scheme", "hybrid", "--float-data", "--bits-act", "4"), "one or the other"),
        (("--scheme", "hybrid", "--bits-acc", "exact", "--acc-frac", "range"), "a number of bits"),
    ],
    ids=str,
)
def test_bad_options(refusal: Callable[..., str], arguments: tuple[str, ...], told: str) -> None:
    assert told in refusal(main, *SMALL, *arguments)
