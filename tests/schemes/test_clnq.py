"""CLNQ: the cross-layer rule, its plans, engines that agree on them, its options."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq import kernels, networks, schemes
from refq.cli.asking import per_layer, stored_inputs
from refq.errors import FormatError, OptionError
from refq.evaluate import main
from refq.formats.fixed import FixedPointFormat
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks import Network
from refq.networks.graph import INPUT
from refq.networks.points import storage_points, stored_counts
from refq.networks.weights import Weights, random_weights
from refq.plans.cost import activation_memory
from refq.plans.plan import Plan, from_json
from refq.schemes.allocation import allocate, noise
from refq.schemes.statistics import Statistics
from refq.schemes.steps import step
from tests.engine.test_engine import assert_all_ways_agree, bundled_case, nested, residual
from tests.schemes.test_steps import samples
from tests.shared_data import shared

# --- allocation ---


def modelled(widths: Any, counts: Any, kappa: float) -> tuple[int, int]:
    """(noise, stored bits) of an allocation."""
    return (
        sum(noise(bits, kappa) for bits in widths),
        sum(bits * count for bits, count in zip(widths, counts, strict=True)),
    )


@pytest.mark.parametrize("seed", range(60))
def test_no_other_allocation_is_better(seed: int) -> None:
    rng = random.Random(seed)
    layers, most = rng.randint(1, 5), rng.choice([4, 6])
    counts = [rng.choice([rng.randint(1, 9), rng.randint(1, 3000)]) for _ in range(layers)]
    least = [rng.choice([1, 1, 2]) for _ in counts]
    kappa, average = rng.uniform(1, 6.02), rng.randint(2, most)
    got = allocate(counts, average, kappa, least, most)
    budget = average * sum(counts)
    every = itertools.product(*(range(low, most + 1) for low in least))
    known = [modelled(widths, counts, kappa) for widths in every]
    assert modelled(got, counts, kappa) == min(pair for pair in known if pair[1] <= budget)
    assert all(low <= bits <= most for low, bits in zip(least, got, strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_larger_layers_have_fewer_bits(seed: int) -> None:
    """And where a bit is no small change, the differences are the rule's but for rounding."""
    rng = random.Random(seed)
    counts = [int(10 ** rng.uniform(3, 6)) for _ in range(25)]
    kappa, average = rng.choice([3.0, 5.0, 6.02]), rng.randint(6, 9)
    widths = allocate(counts, average, kappa, [1] * 25, 24)
    assert modelled(widths, counts, kappa)[1] <= average * sum(counts)
    assert modelled(widths, counts, kappa)[1] > average * sum(counts) - min(counts)
    for (i, small), (j, large) in itertools.combinations(sorted(zip(counts, widths)), 2):
        # sorted by count: i <= j
        assert small >= large
        if i > 0.03 * sum(counts):
            assert abs(small - large - 10 * math.log10(j / i) / kappa) < 1.5


def test_the_rule_in_whole_bits() -> None:
    """Where b_i - b_j = 10 log10(rho_j / rho_i) / kappa is whole, it is met exactly."""
    assert allocate([4, 1, 1, 1, 1], 6, 10 * math.log10(2), [1] * 5, 16) == [5, 7, 7, 7, 7]
    # a bit of the large layer is worth more than any number in the small ones
    assert allocate([100, 1, 1], 3, 5.0, [1, 1, 1], 8) == [3, 3, 3]
    assert allocate([7, 7, 7], 5, 5.0, [1, 1, 2], 16) == [5, 5, 5]
    assert allocate([3, 2], 16, 5.0, [1, 1], 16) == [16, 16]
    with pytest.raises(OptionError, match="1 bits a value on average; expected 2 or more"):
        allocate([3, 2], 1, 5.0, [1, 2], 16)


# --- plans ---


def some_statistics(network: Network) -> Statistics:
    """What calibration might have found; half of the values of a ReLU are zero."""
    counts = kernels.float_histogram(np.maximum(samples("gaussian"), 0) * np.float32(40))
    makers = {name for point in storage_points(network) for name in point.makers} - {INPUT}
    return Statistics(1, dict.fromkeys(makers, counts))


def widths_of(plan: Plan) -> dict[str, int]:
    """Bits of each layer's weights, all of which have one format."""
    formats = {name: layer.weight for name, layer in plan.layers.items()}
    return {name: fmt.bits for name, fmt in formats.items() if isinstance(fmt, FixedPointFormat)}


def plan_for(network: Network, weights: Weights | None = None, **options: Any) -> Plan:
    plan: Plan = schemes.find("clnq").plan(
        network,
        weights or random_weights(network, 1),
        some_statistics(network),
        schemes.Options(**options),
    )
    return plan


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("vgg16", {"input_size": 64, "width": 0.1, "hidden": 90}),
    ("alexnet", {"input_size": 67, "width": 0.1, "hidden": 50}),
    ("squeezenet1_1", {"input_size": 67, "width": 0.2, "classes": 11}),
]


@pytest.mark.parametrize(("name", "sizes"), SMALL, ids=lambda value: str(value)[:9])
@pytest.mark.parametrize("average", [4, 7])
def test_widths_of_a_network(name: str, sizes: dict[str, Any], average: int) -> None:
    network = networks.build(name, sizes)
    plan = plan_for(network, bits_act=average)
    points = storage_points(network)
    counts = stored_counts(network, points)
    stored = {p.name: plan.tensors[p.makers[0]].stored_bits for p in points}
    total = sum(counts.values())
    taken = sum(counts[point] * bits for point, bits in stored.items())
    assert average * total - min(n for n in counts.values() if n) < taken <= average * total
    uniform = schemes.find("uniform").plan(
        network, random_weights(network, 1), None, schemes.Options(bits_act=average, frac_act=0)
    )
    assert activation_memory(network, plan).bits <= activation_memory(network, uniform).bits
    assert plan.tensors[INPUT] == uniform.tensors[INPUT]
    assert plan.layers == uniform.layers
    shared_widths: dict[str, set[int]] = {}
    for point in points:
        if INPUT not in point.makers and point.readers:
            shared_widths.setdefault(point.width_of, set()).add(stored[point.name])
    assert all(len(bits) == 1 for bits in shared_widths.values())
    assert len({min(bits) for bits in shared_widths.values()}) > 2
    # what the plan says it did
    for point_name, found in plan.options["points"].items():
        (point,) = [each for each in points if each.name == point_name]
        fmt = plan.tensors[point.makers[0]].fixed
        assert found["bits"] == fmt.bits and found["distribution"] == "gaussian"
        size = found["sigma"] * step("gaussian", fmt.bits + 1)
        assert found["step"] == pytest.approx(size) and found["sigma"] == pytest.approx(40, rel=0.1)
        assert fmt.frac_bits == -math.ceil(math.log2(size))
    shown = {p.name for p in points if INPUT not in p.makers and p.readers}
    assert set(plan.options["points"]) == shown


def test_alexnets_norm_and_convolution_share_a_width() -> None:
    network = networks.build(*SMALL[1])
    plan = plan_for(network, bits_act=6)
    assert plan.tensors["relu1"].stored_bits == plan.tensors["norm1"].stored_bits
    # a width asked for one leaves the allocation to the others, which then differs
    narrow = plan_for(network, bits_act=6, widths={"conv2": 2})
    assert narrow.tensors["relu1"].stored_bits == narrow.tensors["norm1"].stored_bits == 2
    points = storage_points(network)
    counts = stored_counts(network, points)
    free = [p for p in points if p.name not in ("norm1", "conv2") and counts[p.name]]
    wanted = allocate([counts[p.name] for p in free], 6, 5.0, [1] * len(free), 16)
    assert [narrow.tensors[p.makers[0]].stored_bits for p in free] == wanted


def test_widths_asked_for_win() -> None:
    network = networks.build(*SMALL[0])
    asked = {"conv1_1": 10, "conv1_2": 11, "fc7": 3}
    plan = plan_for(network, bits_act=5, widths=asked, kappa=2.0)
    points = storage_points(network)
    stored = {p.name: plan.tensors[p.makers[0]].stored_bits for p in points}
    assert {name: stored[name] for name in asked} == asked
    # the others are allocated among themselves
    counts = stored_counts(network, points)
    free = [name for name in stored if name not in asked and counts[name]]
    values = [counts[name] for name in free]
    assert [stored[name] for name in free] == allocate(values, 5, 2.0, [1] * len(free), 16)


def test_the_papers_widths() -> None:
    """Paper A, section IV-A: 13 widths, in 16.8 MB (Table VII); pool5 has 8 bits."""
    network = networks.build("vgg16", {"top": False})
    listed = "8, 8, 10, 11, 11, 11, 11, 11, 11, 10, 10, 9, 8"
    _, widths = per_layer("--bits-act", listed, stored_inputs(network), int)
    zeros = {
        node.name: np.zeros(shape, np.float32)
        for node, shape in zip(network.weighted, network.weight_shapes().values(), strict=True)
    }
    biases = {name: np.zeros(len(weight), np.float32) for name, weight in zeros.items()}
    plan = plan_for(network, Weights(zeros, biases), widths=widths)
    assert activation_memory(network, plan).megabytes == pytest.approx(16.82, abs=0.005)
    assert plan.tensors[INPUT].format.bits == 8


def test_weights_by_parameters() -> None:
    network = networks.build(*SMALL[0])
    weights = random_weights(network, 1)
    plain, plan = plan_for(network, weights), plan_for(network, weights, allocate="all", bits_wt=6)
    six = plan_for(network, weights, bits_wt=6)
    sizes = {name: weights.weight[name].size for name in weights.weight}
    bits = widths_of(plan)
    taken = sum(sizes[name] * bits[name] for name in sizes)
    assert 6 * sum(sizes.values()) - min(sizes.values()) < taken <= 6 * sum(sizes.values())
    assert bits[max(sizes, key=lambda name: sizes[name])] == min(bits.values()) < 6
    assert bits["conv1_1"] == max(bits.values()) > 8
    assert plan.tensors == plain.tensors and plain.options["layers"] == {}
    for name, layer in plan.layers.items():
        found = plan.options["layers"][name]
        # random weights are Gaussian; few ones may look different
        assert found["distribution"] == "gaussian" or sizes[name] < 500
        size = found["sigma"] * step(found["distribution"], bits[name])
        assert layer.weight == FixedPointFormat(bits[name], -math.ceil(math.log2(size)))
        assert layer.fixed[1].bits == 6 and layer.accumulator == six.layers[name].accumulator
    assert set(widths_of(plain).values()) == {14}


CASES = [{}, {"bits_act": 4, "allocate": "all", "bits_wt": 7}, {"distribution": "gamma"}]


@pytest.mark.parametrize("options", CASES, ids=str)
@pytest.mark.parametrize("make", [residual, nested])
def test_all_ways_agree(make: Callable[[], Network], options: dict[str, Any]) -> None:
    network = make()
    weights = random_weights(network, 3)
    images = np.random.default_rng(4).integers(-99, 99, (2, 3, 9, 8)).astype(np.float32)
    clnq, chosen = schemes.find("clnq"), schemes.Options(**options)
    source = Source(network, weights, lambda: [(images, None)])
    statistics = gather(clnq.wanted(network, chosen), source)
    plan = clnq.plan(network, weights, statistics, chosen)
    assert_all_ways_agree(network, weights, plan, images)
    assert len({entry.format.frac_bits for entry in plan.tensors.values()}) > 1
    assert from_json(json.loads(json.dumps(plan.to_json(), allow_nan=False))) == plan


def test_bundled_squeezenet() -> None:
    network, weights, images, statistics = bundled_case("squeezenet1_1")
    options = schemes.Options(bits_act=5)
    plan = schemes.find("clnq").plan(network, weights, statistics, options)
    assert_all_ways_agree(network, weights, plan, images)


def test_signed_points() -> None:
    """A convolution that is stored without a ReLU: the symmetric quantizer itself."""
    network = nested_without_relu()
    plan = plan_for(network, bits_act=3)
    fmt = plan.tensors["a"].fixed
    assert fmt.signed and fmt.bits >= 2
    found = plan.options["points"]["b"]
    assert found["step"] == pytest.approx(found["sigma"] * step("gaussian", fmt.bits))
    with pytest.raises(OptionError, match="1 bits a value on average; expected 2 or more"):
        plan_for(network, bits_act=1)
    with pytest.raises(FormatError, match="a signed format of 1 bits"):
        plan_for(network, widths={"b": 1})


def nested_without_relu() -> Network:
    from refq.networks.layers import Conv

    nodes = networks.chain("data", ("a", Conv(5, (3, 2))), ("b", Conv(4, (2, 2))))
    return Network("linear", (3, 9, 8), tuple(nodes))


# --- the command ---


def test_few_bits_are_better_than_uniform(evaluation: Callable[..., dict[str, Any]]) -> None:
    """In no more memory. Coverage would give a point of 3 bits the range of its largest values."""
    three = ["--images", "500", "--bits-act", "3"]
    for name in ("vgg16", "alexnet"):
        clnq, uniform = (evaluation(name, "--scheme", s, *three) for s in ("clnq", "uniform"))
        assert clnq["memory"]["megabytes"] <= uniform["memory"]["megabytes"]
        assert clnq["output_sqnr_db"] > uniform["output_sqnr_db"] + 3
        assert clnq["quantized"]["top1"] > uniform["quantized"]["top1"]


def test_options_reach_the_plan(
    capsys: pytest.CaptureFixture[str], evaluation: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    given = ["--distribution", "laplacian", "--allocate", "all", "--kappa", "3", "--bits-wt", "9"]
    got = evaluation(
        "alexnet", "--scheme", "clnq", "--images", "20", *given, "--save-plan", str(path)
    )
    chosen = got["plan"]["options"]
    assert (chosen["distribution"], chosen["allocate"], chosen["kappa"]) == ("laplacian", "all", 3)
    assert {each["distribution"] for each in chosen["points"].values()} == {"laplacian"}
    assert chosen["bits_act"] == 8 and len({each["bits"] for each in chosen["layers"].values()}) > 3
    again = evaluation("alexnet", "--images", "20", "--plan", str(path))
    assert again["layers"] == got["layers"] and again["plan"] == got["plan"]
    # the text is of what the plan holds, which may have been edited since the options made it
    assert main(["alexnet", "--images", "20", "--plan", str(path)]) == 0
    text = capsys.readouterr().out
    assert "as in " in text and "kappa" not in text and "sigma" not in text


def test_real_squeezenet(evaluation: Callable[..., dict[str, Any]]) -> None:
    real = [
        "squeezenet1_1",
        "--weights",
        str(shared("squeezenet_v1.1.caffemodel.h5")),
        "--data",
        str(shared("ilsvrc2012_val")),
        "--skip",
        "100",
        "--images",
        "100",
        "--bits-act",
        "5",
    ]
    clnq, uniform = (evaluation(*real, "--scheme", s) for s in ("clnq", "uniform"))
    assert clnq["output_sqnr_db"] > uniform["output_sqnr_db"] + 4
    assert clnq["memory"]["megabytes"] <= uniform["memory"]["megabytes"]


CLNQ = ["vgg16", "--scheme", "clnq"]
BAD = [
    ([*CLNQ, "--distribution", "cauchy"], "--distribution cauchy; expected one of fit, uniform, g"),
    ([*CLNQ, "--allocate", "weights"], "--allocate weights; expected one of activations, all"),
    ([*CLNQ, "--kappa", "9"], "--kappa 9.0; expected 1 to 6.02 dB a bit"),
    ([*CLNQ, "--kappa", "nan"], "--kappa nan; expected 1 to 6.02 dB a bit"),
    ([*CLNQ, "--frac-act", "0"], "--frac-act with scheme clnq; expected a scheme that reads"),
    ([*CLNQ, "--assign", "floor", "--qm", "global"], "--assign, --qm with scheme clnq"),
    ([*CLNQ, "--coverage", "0.9"], "--coverage with scheme clnq"),
    ([*CLNQ, "--kmeans", "lloyd"], "--kmeans with scheme clnq"),
    (["vgg16", "--scheme", "knq", "--kappa", "4"], "--kappa with scheme knq"),
    ([*CLNQ, "--bits-act", "0"], "--bits-act 0; expected 1 to 24"),
    ([*CLNQ, "--bits-act", "conv9=3"], "bits for layer conv9; expected one of"),
    (["vgg16", "--scheme", "enq", "--kappa", "4"], "--kappa with scheme enq; expected a scheme"),
    (["vgg16", "--scheme", "uniform", "--allocate", "all"], "--allocate with scheme uniform"),
    (["vgg16", "--distribution", "gamma"], "--distribution with scheme float"),
    (["vgg16", "--plan", "p.json", "--kappa", "4"], "--plan with --kappa; expected one or the"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_options_are_one_line(
    refusal: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in refusal(main, *arguments, "--calibrate", "1")
