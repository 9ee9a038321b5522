"""Bit-width search: strategies against brute force, races, bounds, journal, cached prefixes."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import hypergeom

from refq import kernels, networks, oracle, schemes
from refq.cli.console import BAD_INPUT, INTERRUPTED
from refq.data import Dataset, batches
from refq.data import presets as preparing
from refq.engine.forward import Cut, Run, forward, quantize_weights
from refq.errors import OptionError, ShapeError
from refq.evaluate import main
from refq.formats.fixed import FixedPointFormat, Rounding
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks import Network, Node
from refq.networks.points import storage_points
from refq.networks.weights import Weights, random_weights
from refq.plans.cost import activation_memory, mac_complexity
from refq.plans.plan import Plan
from refq.schemes.statistics import Statistics, Wanted
from refq.search import Found, Settings, Task, layerwise, run, sensitivity
from refq.search.bounds import Bounds
from refq.search.journal import Journal
from refq.search.judging import Judge, front
from refq.search.prefix import Prefixes, clean_cuts, narrow
from refq.search.racing import hopeless, least_hits, tail
from refq.search.space import OBJECTIVES, Space, Widths, amount, searched_layers, space_of
from refq.search.subject import NetworkSubject, shuffled

# --- a subject without a network: which images come out right is a function of the widths ---


@dataclasses.dataclass
class Synthetic:
    """Image k is right while the layers' noises add up to less than its margin."""

    table: np.ndarray  # (layers, widths)
    margins: np.ndarray  # (images,), in the order of the race
    least: int
    top: Widths
    blocks: Sequence[int]
    asked: int = 0

    def right(self, widths: Widths) -> np.ndarray:
        noise = sum(self.table[i, width - self.least] for i, width in enumerate(widths))
        return np.asarray(noise < self.margins)

    def hits(self, widths: Widths, block: int) -> tuple[int, float]:
        self.asked += self.blocks[block]
        start = sum(self.blocks[:block])
        right = self.right(widths)[start : start + self.blocks[block]]
        return int(right.sum()), float(self.blocks[block])

    def noise(self, layer: int, width: int) -> tuple[float, float, int]:
        top = self.table[layer, self.top[layer] - self.least]
        return float(self.table[layer, width - self.least] - top), 1.0, 1

    def settle(self, widths: Widths) -> None:
        pass


def synthetic(seed: int, layers: int = 4, widths: int = 4) -> tuple[Space, Synthetic]:
    """Separable and monotone: random costs, noises that grow by 2 to 6 a bit."""
    rng = np.random.default_rng(seed)
    falling = rng.uniform(2, 6, (layers, widths)).cumprod(axis=1)[:, ::-1]
    table = falling * rng.uniform(0.1, 3, (layers, 1)) * 1e-4
    values = rng.integers(1, 50, layers)
    cost = tuple(tuple(float(v * w) for w in range(2, 2 + widths)) for v in values)
    top = (1 + widths,) * layers
    space = Space(tuple(f"layer{i}" for i in range(layers)), top, 2, cost, 7.0, "units")
    margins = rng.lognormal(math.log(0.02), 1.5, 120)
    return space, Synthetic(table, margins, 2, top, (20,) * 6)


def judge_for(
    subject: Synthetic, delta: int, confidence: float = 1.0, journal: Journal | None = None
) -> Judge:
    least = int(subject.right(subject.top).sum()) - delta
    return Judge(subject, least, journal or Journal(None, {}), confidence)


def cheapest(space: Space, subject: Synthetic, least: int) -> float:
    """The least cost of all lists that keep the accuracy, by trying every one."""
    every = itertools.product(*(range(space.least, top + 1) for top in space.top))
    return min(space.total(w) for w in every if subject.right(w).sum() >= least)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("strategy", [layerwise, sensitivity])
def test_strategies_against_brute_force(strategy: Any, seed: int) -> None:
    space, subject = synthetic(seed)
    judge = judge_for(subject, 12)
    judge.start(space)
    widths = strategy.search(space, judge)
    assert subject.right(widths).sum() >= judge.least
    # the answer has been measured on all images, and nothing cheaper has passed
    passed = [t for t in judge.trials if t.accepted]
    assert min(space.total(t.widths) for t in passed) == space.total(widths)
    assert any(t.widths == widths and t.images == judge.images for t in passed)
    # no single width can be lowered
    for layer, width in enumerate(widths):
        if width > space.least:
            lower = (*widths[:layer], width - 1, *widths[layer + 1 :])
            assert subject.right(lower).sum() < judge.least
    best = cheapest(space, subject, judge.least)
    assert space.total(widths) >= best
    if strategy is sensitivity:
        # prices reach the hull: no more is lost than one step along it costs
        step = max(max(each) - min(each) for each in space.cost)
        assert space.total(widths) <= best + step


def test_sensitivity_is_near_the_optimum_and_nearer_than_layerwise() -> None:
    excess: dict[str, list[float]] = {"layerwise": [], "sensitivity": []}
    for seed in range(25):
        space, subject = synthetic(seed)
        best = cheapest(space, subject, judge_for(subject, 12).least)
        for strategy in (layerwise, sensitivity):
            judge = judge_for(subject, 12)
            judge.start(space)
            name = strategy.__name__.rpartition(".")[2]
            excess[name].append(space.total(strategy.search(space, judge)) / best - 1)
    assert np.mean(excess["sensitivity"]) < 0.01 < np.mean(excess["layerwise"])
    assert sum(each < 1e-9 for each in excess["sensitivity"]) > 15


def test_a_start_below_the_floor_is_told() -> None:
    space, subject = synthetic(0)
    judge = Judge(subject, 120, Journal(None, {}), 1.0)
    with pytest.raises(OptionError, match=r"with the most bits; expected at least 100.00 %"):
        judge.start(space)


def test_the_descent_is_the_lower_hull() -> None:
    """Every list is the cheapest for some price: all lists are above its line."""
    space, subject = synthetic(3, layers=3, widths=3)
    family = sensitivity.descent(space, lambda i, w: float(subject.table[i, w - 2]))
    assert family[0] == space.top and family[-1] == (2, 2, 2)

    def noise(widths: Widths) -> float:
        return sum(float(subject.table[i, w - 2]) for i, w in enumerate(widths))

    for before, after in itertools.pairwise(family):
        assert all(a >= b for a, b in zip(before, after, strict=True))
        saved = space.total(before) - space.total(after)
        price = (noise(after) - noise(before)) / saved
        line = noise(after) + price * space.total(after)
        for widths in itertools.product(range(2, 5), repeat=3):
            assert noise(widths) + price * space.total(widths) >= line * (1 - 1e-12)


# --- bounds ---


def test_bounds_follow_from_what_was_measured() -> None:
    rng = np.random.default_rng(0)
    bounds = Bounds()
    measured: list[tuple[Widths, bool]] = []
    for _ in range(60):
        widths = tuple(int(w) for w in rng.integers(1, 6, 3))
        passes = sum(widths) + 2 * widths[0] > 11  # monotone
        known = bounds.verdict(widths)
        assert known is None or known == passes
        follows = [ok for other, ok in measured if _implies(other, ok, widths)]
        assert (known is None) == (not follows)
        if known is None:
            bounds = bounds.plus(widths, passes)
            measured.append((widths, passes))
    # none says more than another
    for group in (bounds.passed, bounds.failed):
        for a, b in itertools.permutations(group, 2):
            assert not all(x <= y for x, y in zip(a, b, strict=True))


def _implies(other: Widths, passes: bool, widths: Widths) -> bool:
    pairs = zip(other, widths, strict=True)
    return all(a <= b if passes else a >= b for a, b in pairs)


def test_unseen_lists_cost_nothing_and_are_counted_once() -> None:
    space, subject = synthetic(1)
    judge = judge_for(subject, 12)
    judge.start(space)
    assert not judge((2, 2, 2, 3))
    asked = subject.asked
    for _ in range(3):
        assert not judge((2, 2, 2, 2))
    assert (subject.asked, judge.unseen, judge.passes.bounds) == (asked, {(2, 2, 2, 2)}, 120)
    # spent and saved are what all questions would have cost
    assert judge.passes.plain == pytest.approx(120 * (len(judge.trials) + len(judge.unseen)))


# --- races ---


@pytest.mark.parametrize(
    ("images", "hits", "seen"), [(30, 20, 11), (7, 0, 3), (12, 12, 5), (400, 290, 170), (9, 4, 9)]
)
def test_tail_is_the_hypergeometric_one(images: int, hits: int, seen: int) -> None:
    for found in range(seen + 1):
        ways = sum(
            math.comb(hits, x) * math.comb(images - hits, seen - x) for x in range(found + 1)
        )
        exact = float(Fraction(ways, math.comb(images, seen)))
        assert tail(images, hits, seen, found) == pytest.approx(exact, rel=1e-9, abs=0)
        peer = hypergeom.cdf(found, images, hits, seen)
        assert tail(images, hits, seen, found) == pytest.approx(peer, rel=1e-6, abs=1e-300)


def test_tail_of_large_data_sets() -> None:
    # scipy's own sum of masses, not its faster approximations
    wanted = hypergeom.pmf(np.arange(3301), 50000, 35000, 5000).sum()
    assert tail(50000, 35000, 5000, 3300) == pytest.approx(wanted, rel=1e-6)


def test_least_hits_is_exact() -> None:
    assert least_hits(73, 100, 3) == 70
    assert least_hits(73, 100, 2.9) == 71
    assert least_hits(2, 60, 5) == 0
    assert least_hits(200, 300, 0.1) == 200  # 199.7
    assert least_hits(290, 1000, 0.7) == 283  # floats: 28.999999999999996 - 0.7
    for reference, images, tenths in itertools.product((50, 51), (97, 100), range(40)):
        least = least_hits(reference, images, tenths / 10)
        drops = [Fraction(100 * (reference - k), images) for k in (least, least - 1)]
        assert drops[0] <= Fraction(tenths, 10) < drops[1]


@pytest.mark.parametrize("confidence", [1.0, 0.99])
def test_races_never_accept_below_the_floor(confidence: float) -> None:
    differs = 0
    for seed in range(10):
        _, subject = synthetic(seed)
        judge = judge_for(subject, 12, confidence)
        for widths in itertools.product(range(2, 6), repeat=4):
            judge.bounds = Bounds()
            passes, full = judge(widths), int(subject.right(widths).sum()) >= judge.least
            assert full or not passes
            differs += passes != full
            assert judge.trials[-1].accuracy >= 100 * judge.least / 120 or not passes
        raced = sum(trial.images < 120 for trial in judge.trials)
        assert raced > 0 and judge.passes.racing > 0
    # certainty loses nothing; confidence next to nothing
    assert differs == 0 if confidence == 1.0 else differs < 0.01 * 2560


def test_a_candidate_goes_on_while_it_can_pass() -> None:
    assert not hopeless(100, 70, 90, 60, 1.0, 9)  # all of the last ten
    assert hopeless(100, 70, 90, 59, 1.0, 9)
    assert not hopeless(100, 70, 10, 0, 1.0, 9) and hopeless(100, 70, 10, 0, 0.999, 9)


def test_statistics_stop_sooner_than_certainty() -> None:
    seen = {}
    for confidence in (1.0, 0.999):
        _, subject = synthetic(2)
        judge = judge_for(subject, 12, confidence)
        assert not judge((2, 2, 2, 2))
        seen[confidence] = judge.trials[-1].images
    assert seen[0.999] < seen[1.0] < 120


def test_confidence_bounds_the_share_of_good_candidates_lost() -> None:
    """One that just passes, in random orders: stopped no more often than 1 - confidence."""
    rng = np.random.default_rng(3)
    images, least, lost, runs = 100, 70, 0, 4000
    right = np.arange(images) < least
    for _ in range(runs):
        found = np.cumsum(rng.permutation(right))
        looks = range(10, images, 10)
        lost += any(hopeless(images, least, n, int(found[n - 1]), 0.9, 9) for n in looks)
    assert 0.01 * runs < lost < 0.1 * runs


# --- journal ---

HEADER = {"network": "none", "delta": 3}


def searched(path: Path | None, seed: int = 5, die_after: int | None = None) -> Any:
    """(widths, trials, passes) of a synthetic search, killed before result number die_after."""
    space, subject = synthetic(seed)
    journal = Journal(str(path) if path else None, HEADER)
    left = [math.inf if die_after is None else die_after]

    def dying(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if left[0] <= 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return method(*arguments)

        return call

    subject.hits = dying(subject.hits)  # type: ignore[method-assign]
    subject.noise = dying(subject.noise)  # type: ignore[method-assign]
    judge = judge_for(subject, 12, 0.999, journal)
    judge.start(space)
    widths = sensitivity.search(space, judge)
    return widths, judge.trials, judge.passes, left[0]


def test_killed_at_any_time_it_ends_the_same(tmp_path: Path) -> None:
    wanted = searched(None)[:3]
    path = tmp_path / "journal"
    for steps in range(0, 1000, 3):
        path.unlink(missing_ok=True)
        died = False
        try:
            searched(path, die_after=steps)
        except KeyboardInterrupt:
            died = True
        assert searched(path)[:3] == wanted
        if not died:
            break
    assert steps > 30


def test_killed_again_and_again_it_ends_the_same(tmp_path: Path) -> None:
    path, kills = tmp_path / "journal", 0
    while True:
        try:
            got = searched(path, die_after=7)
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills > 5 and got[:3] == searched(None)[:3]
    # all in the journal: a last run measures nothing
    assert searched(path, die_after=0)[:3] == got[:3]


def test_a_torn_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    wanted = searched(path)[:3]
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    for cut in {0, 1, len(lines[0]) - 1, len(lines[0]), len(lines[0]) + 5, len(content) - 1}:
        path.write_bytes(content[:cut])
        assert searched(path)[:3] == wanted
        assert path.read_bytes() == content  # and is written again


def test_journals_that_are_not_this_searchs(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    searched(path)
    content = path.read_bytes()
    with pytest.raises(OptionError, match=r"is of another search: delta 3; expected 2; give"):
        Journal(str(path), {**HEADER, "delta": 2})
    assert path.read_bytes() == content
    lines = content.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][:-4] + b"\n", *lines[4:]]))
    with pytest.raises(OptionError, match="line 4 is damaged"):
        Journal(str(path), HEADER)
    # a file that is no journal stays what it is, with or without an end of line
    for other in (b"my thesis", b"my thesis\n", b"[1]\n", b'{"refq_plan": 1}\n', b"\xff\xfe\n"):
        path.write_bytes(other)
        with pytest.raises(OptionError, match="is no journal of a search"):
            Journal(str(path), HEADER)
        assert path.read_bytes() == other
    with pytest.raises(OptionError, match="cannot use journal"):
        Journal(str(tmp_path), HEADER)


# --- networks: cuts and cached prefixes ---


def case(name: str = "squeezenet1_1", count: int = 24) -> tuple[Network, Weights, Dataset]:
    """A small network with random weights, and images labelled as float32 ranks them."""
    sizes: dict[str, Any] = {"input_size": 40, "classes": 7, "width": 0.2}
    if name == "alexnet":
        sizes |= {"hidden": 9, "stem_stride": 1}
    network = networks.build(name, sizes)
    weights = random_weights(network, 1)
    pixels = np.random.default_rng(2).integers(0, 256, (count, 40, 40, 3)).astype(np.uint8)
    pixels[: count // 2] //= 3
    dataset = Dataset("noise", count, lambda index: pixels[index], str)
    images = batches(dataset, preparing.caffe(network.input_shape), count)
    prepared = next(iter(images))[0]
    labels = forward(network, weights, None, prepared).argmax(axis=1)
    return network, weights, dataclasses.replace(dataset, labels=labels)


def statistics_of(network: Network, weights: Weights, images: np.ndarray) -> Statistics | None:
    source = Source(network, weights, lambda: [(images, None)])
    return gather(Wanted(histograms=True), source)


def enq_plans(
    network: Network, weights: Weights, **more: Any
) -> Callable[[Mapping[str, int]], Plan]:
    images = np.random.default_rng(3).integers(-128, 128, (8, 3, 40, 40)).astype(np.float32)
    statistics = statistics_of(network, weights, images)
    enq = schemes.find("enq")

    def plan_for(named: Mapping[str, int]) -> Plan:
        options = schemes.Options(widths=named, **more)
        made: Plan = enq.plan(network, weights, statistics, options)
        return made

    return plan_for


WAYS = [
    ("squeezenet1_0", "fused"),
    ("vgg16", "fused"),
    ("alexnet", "fused"),
    ("squeezenet1_0", "plain"),
    ("alexnet", "plain"),
    ("alexnet", "oracle"),
    ("resnet20", "fused"),
    ("googlenet", "fused"),
    ("resnet20", "plain"),
]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_going_on_from_any_cut_gives_the_same(name: str, way: str) -> None:
    network, weights, _ = case(name, 2)
    stochastic = Rounding.STOCHASTIC if way == "plain" else Rounding.TIES_EVEN
    plan = enq_plans(network, weights, rounding=stochastic, seed=3)({})
    count, ops = (1, oracle) if way == "oracle" else (3, kernels)
    run = Run(first_image=5, fused=way == "fused")
    images = np.random.default_rng(4).integers(-128, 128, (count, 3, 40, 40)).astype(np.float32)
    integer, cuts = quantize_weights(network, weights, plan), set(clean_cuts(network))
    kept: list[Cut] = []
    keeping = dataclasses.replace(run, cuts=cuts, keep=kept.append)
    wanted = forward(network, integer, plan, images, ops, keeping)
    plain = forward(network, integer, plan, images, ops, run)
    np.testing.assert_array_equal(wanted, plain)
    assert {cut.at for cut in kept} == cuts and len(cuts) > 12
    for cut in kept[:: 6 if way == "oracle" else 1]:
        small = Cut(cut.at, {name: narrow(each).tensor() for name, each in cut.tensors.items()})
        for name, tensor in cut.tensors.items():
            np.testing.assert_array_equal(small.tensors[name].codes, tensor.codes)
            assert narrow(tensor).codes.itemsize <= 2
        seen: list[str] = []

        def note(node: Node | None, tensor: Any, seen: list[str] = seen) -> None:
            seen.append(node.name if node else "data")

        watching = dataclasses.replace(run, observe=note)
        got = forward(network, integer, plan, small, ops, watching)
        np.testing.assert_array_equal(got, wanted)
        assert all(network.by_name[each] in network.nodes[cut.at :] for each in seen if cut.at)


def test_cuts_that_do_not_fit() -> None:
    network, weights, _ = case(count=1)
    plan = enq_plans(network, weights)({})
    kept: list[Cut] = []
    images = np.zeros((1, 3, 40, 40), np.float32)
    forward(network, weights, plan, images, run=Run(cuts={3}, keep=kept.append))
    with pytest.raises(ShapeError, match="a cut at 3 without pool1"):
        forward(network, weights, plan, Cut(3, {}))
    with pytest.raises(ShapeError, match="without a plan or images"):
        forward(network, weights, None, kept[0])
    # between a sum and its ReLU there is nothing to keep
    number = [node.name for node in network.nodes].index("relu_conv1")
    with pytest.raises(OptionError, match="a cut between a sum and its ReLU"):
        forward(network, weights, plan, images, run=Run(cuts={number}, keep=kept.append))
    assert clean_cuts(network)[number] == number - 1


def astuple(kernel: Any) -> tuple[Any, ...]:
    """Arrays and numbers of a panels.Kernel; its recipe compares as one."""
    fields = {f.name: getattr(kernel, f.name) for f in dataclasses.fields(kernel) if f.compare}
    fields["recipe"] = str(fields["recipe"])
    return tuple(fields.values())


def test_layers_that_stay_the_same_are_shared() -> None:
    network, weights, _ = case("alexnet", 1)
    plan_for = enq_plans(network, weights)
    layers = searched_layers(network)
    first, second = plan_for({layers[0]: 6}), plan_for({layers[0]: 3})
    one = quantize_weights(network, weights, first)
    two = quantize_weights(network, weights, second, like=one)
    assert all(two.layers[name] is one.layers[name] for name in two.layers)
    images = np.random.default_rng(5).integers(-128, 128, (2, 3, 40, 40)).astype(np.float32)
    for plan, integer in ((first, one), (second, two), (first, one)):
        # panels made for other ranges of codes, in the same workspace, change nothing
        wanted = forward(network, weights, plan, images, run=Run(fused=False))
        np.testing.assert_array_equal(forward(network, integer, plan, images), wanted)
        fresh = quantize_weights(network, weights, plan)
        forward(network, fresh, plan, images)
        for each, layer in fresh.layers.items():
            for key, kernel in layer.panels.items():
                shared = integer.layers[each].panels[key]
                for own, other in zip(astuple(shared), astuple(kernel), strict=True):
                    np.testing.assert_array_equal(own, other)
    name, entry = layers[1], first.layers[layers[1]]
    assert isinstance(entry.weight, FixedPointFormat)
    weight = dataclasses.replace(entry.weight, frac_bits=entry.weight.frac_bits - 1)
    changed = {**first.layers, name: dataclasses.replace(entry, weight=weight)}
    finer = dataclasses.replace(first, layers=changed)
    three = quantize_weights(network, weights, finer, like=one)
    shared = {each for each in three.layers if three.layers[each] is one.layers[each]}
    assert shared == set(three.layers) - {name}
    np.testing.assert_array_equal(
        forward(network, three, finer, images), forward(network, weights, finer, images)
    )


@pytest.mark.parametrize("budget", [0, 20_000, 1 << 30], ids=["none", "little", "much"])
@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet", "resnet20"])
def test_cached_prefixes_change_no_output(name: str, budget: int) -> None:
    network, weights, dataset = case(name)
    # stochastic rounding depends on an image's place in the search's order
    rounding = Rounding.STOCHASTIC if name == "alexnet" else Rounding.TIES_EVEN
    plans = enq_plans(network, weights, rounding=rounding)
    layers = searched_layers(network)
    space = space_of(network, plans, layers, range(1, 7), "memory")
    images = shuffled(dataset, preparing.caffe(network.input_shape), 24, 10, 7)

    def plan_for(widths: Widths) -> Plan:
        return plans(space.named(widths))

    settings = Settings(delta=0.0, widths=range(1, 7), images=24, budget=budget)
    task = task_of(network, weights, dataset, settings)
    subject = NetworkSubject(task, plan_for, space, images)
    rng, widths, spent, asked = np.random.default_rng(6), space.top, 0.0, 0
    for number in range(8):
        layer = int(rng.integers(len(layers)))
        low = max(space.least, widths[layer] - 1)
        tried = (*widths[:layer], low, *widths[layer + 1 :])
        if number % 4 == 3:  # a list far from all before
            tried = tuple(int(rng.integers(space.least, top + 1)) for top in space.top)
        for block, (batch, labels) in enumerate(images.batches()):
            got, cost = subject._outputs(tried, block)
            there = Run(first_image=10 * block)
            wanted = forward(network, weights, plan_for(tried), batch, run=there)
            np.testing.assert_array_equal(got, wanted)
            right = int((wanted.argmax(axis=1) == labels).sum())
            assert subject.hits(tried, block)[0] == right
            spent, asked = spent + cost, asked + len(batch)
            assert subject.prefixes.bytes <= budget
        if number % 2:
            subject.settle(tried)
            widths = tried
    held = sum(
        each.codes.nbytes
        for block in subject.prefixes.kept.values()
        for cut in block.values()
        for each in cut.values()
    )
    assert held == subject.prefixes.bytes
    assert spent == asked if budget == 0 else spent < asked


def test_prefix_numbers_tell_plans_apart() -> None:
    network, weights, _ = case(count=1)
    plan_for, prefixes = enq_plans(network, weights), Prefixes(network, 0)
    layers = searched_layers(network)
    base = prefixes.path(plan_for({}))
    order = {node.name: number for number, node in enumerate(network.nodes)}
    for layer in layers:
        at = prefixes.parting(prefixes.path(plan_for({layer: 2})), base)
        makers = [p.makers[0] for p in storage_points(network) if p.width_of == layer]
        # the sum that the first maker's ReLU reads
        assert at == order[makers[0]] - 1
    assert prefixes.share[0] == 1 and prefixes.share[order["pool10"]] == 0
    other = dataclasses.replace(plan_for({}), seed=4)
    assert prefixes.parting(prefixes.path(other), base) == 0


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet", "vgg16"])
def test_costs_are_the_plans(name: str, objective: str) -> None:
    network, weights, _ = case(name, 1)
    plan_for = enq_plans(network, weights)
    space = space_of(network, plan_for, searched_layers(network), range(1, 9), objective)
    rng = np.random.default_rng(8)
    for _ in range(5):
        widths = tuple(int(rng.integers(1, top + 1)) for top in space.top)
        plan = plan_for(space.named(widths))
        if objective == "memory":
            wanted = activation_memory(network, plan).megabytes
        else:
            wanted = sum(mac_complexity(network, plan).values()) / 1e6
        assert amount(network, plan, objective) == pytest.approx(wanted)
        # beside it, stored bits count for a thousandth
        assert wanted <= space.total(widths) <= wanted * (1.002 if objective == "memory" else 1.2)
    for layer, top in enumerate(space.top):
        costs = [space.at(layer, width) for width in range(1, top + 1)]
        assert costs == sorted(set(costs))


def test_mac_complexity_is_the_papers() -> None:
    """AlexNet's 724.4 M MACs: float is 9 times, 8 by 8 bits once (contract section 3)."""
    network = networks.build("alexnet")
    assert sum(mac_complexity(network, None).values()) == pytest.approx(9 * 724.4e6, rel=1e-3)
    small, weights, _ = case("alexnet", 1)
    options = schemes.Options(bits_act=8, bits_image=8, bits_wt=8, frac_act=0)
    plan = schemes.find("uniform").plan(small, weights, None, options)
    assert mac_complexity(small, plan) == small.macs()


def task_of(
    network: Network,
    weights: Weights,
    dataset: Dataset,
    settings: Settings,
    statistics: Statistics | None = None,
) -> Task:
    return Task(
        network=network,
        weights=weights,
        scheme=schemes.find("enq"),
        statistics=statistics,
        options=schemes.Options(),
        dataset=dataset,
        preprocessing=preparing.caffe(network.input_shape),
        settings=settings,
    )


def found(**changes: Any) -> Found:
    network, weights, dataset = case(count=20)
    images = np.random.default_rng(3).integers(-128, 128, (8, 3, 40, 40)).astype(np.float32)
    statistics = statistics_of(network, weights, images)
    settings = Settings(**{"delta": 10.0, "widths": range(3, 6), "images": 20, **changes})
    answer = run(task_of(network, weights, dataset, settings, statistics))
    assert isinstance(answer, Found)
    return answer


@pytest.mark.parametrize("strategy", ["layerwise", "sensitivity"])
def test_neither_cache_nor_certain_races_change_a_search(strategy: str) -> None:
    cached, plain = (
        found(strategy=strategy, budget=budget, confidence=1.0) for budget in (1 << 28, 0)
    )
    assert cached.plan == plain.plan and cached.judge.trials == plain.judge.trials
    spent = [each.judge.passes for each in (cached, plain)]
    assert spent[0].spent < 0.8 * spent[1].spent and spent[1].caching == 0
    assert spent[0].plain == pytest.approx(spent[1].plain)
    best = cached.to_json()
    assert best["front"][0]["memory"] <= best["found"] <= best["trials"][0]["memory"]
    accuracies = [each["accuracy"] for each in best["front"]]
    assert accuracies == sorted(set(accuracies))
    assert all(each["images"] == 20 for each in best["front"])


def test_front_holds_what_nothing_beats() -> None:
    space, subject = synthetic(4)
    judge = judge_for(subject, 30)
    judge.start(space)
    sensitivity.search(space, judge)
    full = [t for t in judge.trials if t.images == judge.images]
    chosen = front(space.total, judge)
    for trial in full:
        beaten = [
            t
            for t in full
            if space.total(t.widths) <= space.total(trial.widths)
            and t.hits >= trial.hits
            and (space.total(t.widths), t.hits) != (space.total(trial.widths), trial.hits)
        ]
        assert (trial in chosen) == (not beaten)


# --- the command ---

SMALL = ["squeezenet1_1", "--images", "10", "--calibrate", "40"]
SEARCH = [*SMALL, "--scheme", "enq", "--delta", "5"]


@pytest.mark.parametrize(
    "more",
    [
        ["--search", "layerwise", "--objective", "macs", "--search-bits", "3-5"],
        ["--search", "network", "--metric", "top5"],
        [
            "--search-images",
            "50",
            "--confidence",
            "1",
            "--search-memory",
            "0",
            "--search-bits",
            "4-6",
        ],
    ],
    ids=["layerwise", "network", "sensitivity"],
)
def test_every_strategy_on_the_command_line(
    evaluation: Callable[..., dict[str, Any]], more: list[str]
) -> None:
    got = evaluation(*SEARCH, *more)["search"]
    assert got["images"] == (50 if "--search-images" in more else 40)
    last = [t for t in got["trials"] if t["accepted"]][-1]
    assert last["widths"] == got["widths"] and last["images"] == got["images"]
    assert last["accuracy"] >= got["floor"] >= got["reference"] - 5
    passes = got["passes"]
    assert passes["plain"] == pytest.approx(sum(v for k, v in passes.items() if k != "plain"))
    assert passes["caching"] == 0 or "50" not in more


def test_uniform_widths_layer_by_layer(evaluation: Callable[..., dict[str, Any]]) -> None:
    got = evaluation(*SMALL, "--scheme", "uniform", "--delta", "5", "--search", "sensitivity")
    bits = {layer["name"]: layer["input_bits"] for layer in got["layers"]}
    assert all(bits[name] == width for name, width in got["search"]["widths"].items())
    assert len(set(got["search"]["widths"].values())) > 1


BAD = [
    (["--search", "layerwise"], "--search without --delta"),
    (["--delta", "3", "--scheme", "float"], "--delta with scheme float"),
    (["--delta", "3", "--scheme", "enq", "--search-bits", "5"], "--search-bits 5; expected LEAST"),
    (["--delta", "3", "--scheme", "enq", "--search-bits", "5-3"], "--search-bits 5-3; expected"),
    (["--delta", "3", "--scheme", "enq", "--confidence", "2"], "--confidence 2.0; expected 0.5 to"),
    (["--delta", "3", "--scheme", "enq", "--search-images", "0"], "--search-images 0; expected 1"),
    (["--delta", "3", "--scheme", "enq", "--search-memory", "-1"], "--search-memory -1; expected"),
    (["--delta", "3", "--scheme", "enq", "--journal", "no/x"], "cannot write no/x; expected"),
    (["--delta", "3", "--scheme", "enq", "--journal", "notes"], "notes is no journal of a search"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_options_are_one_line(
    refusal: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes").write_text("not yours\n")
    assert message in refusal(main, *SMALL, *arguments)
    assert Path("notes").read_text() == "not yours\n"


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_killed_process_resumes(
    capsys: pytest.CaptureFixture[str], evaluation: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Ctrl-C, then SIGKILL, then to the end: the Plan of a search that nobody disturbed."""
    journal, plans = tmp_path / "journal", [tmp_path / "a.json", tmp_path / "b.json"]
    few = [*SEARCH, "--search-bits", "3-6"]
    command = [sys.executable, "-m", "refq.evaluate", *few, "--journal", str(journal)]
    lines = 0
    for kill in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            # a background job's children inherit an ignored SIGINT
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while not journal.exists() or journal.read_bytes().count(b"\n") < lines + 8:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        process.send_signal(kill)
        _, err = process.communicate(timeout=60)
        if kill == signal.SIGINT:
            assert process.returncode == INTERRUPTED
            assert err == "refq: interrupted during the search; the journal resumes it\n"
        lines = journal.read_bytes().count(b"\n")
    wanted = evaluation(*few, "--save-plan", str(plans[0]))["search"]
    resumed = ["--journal", str(journal), "--save-plan", str(plans[1])]
    got = evaluation(*few, *resumed)["search"]
    assert got["resumed"] >= 15 and got["trials"] == wanted["trials"]
    assert plans[0].read_text() == plans[1].read_text()
    # another search's journal
    assert main([*few, "--seed", "1", "--journal", str(journal)]) == BAD_INPUT
    assert "is of another search" in capsys.readouterr().err
