"""Networks with branches, small: every scheme, in every way of computing; shortcuts by option A;
the formats in which operands meet."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from refq import kernels, networks, oracle, schemes
from refq.engine.coefficients import quantize_weights
from refq.engine.forward import Run, forward
from refq.errors import FormatError
from refq.evaluate import main
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import Accumulator, FixedPointFormat, Rounding
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks import Network, Node, chain
from refq.networks.layers import Add, Concat, Conv, ReLU, Subsample
from refq.networks.points import carried_drops, storage_points
from refq.networks.weights import Weights, random_weights
from refq.plans import check as plan_check
from refq.plans.cost import activation_memory, mac_complexity
from refq.plans.joins import Join, joins
from refq.plans.plan import FLOAT, Plan, TensorPlan, exact_sum
from refq.schemes.hybrid_options import HybridOptions
from refq.schemes.statistics import Statistics
from tests.agreement import assert_all_ways_agree

SIZES: dict[str, dict[str, Any]] = {
    "googlenet": {"input_size": 37, "width": 0.03, "classes": 5},
    "googlenet_torchvision": {"input_size": 33, "width": 0.03, "classes": 5},
    "resnet50": {"input_size": 35, "width": 0.03, "classes": 5},
    "resnet50_torchvision": {"input_size": 33, "width": 0.03, "classes": 5},
    "resnet20": {"input_size": 11, "width": 0.2, "classes": 5},
    "resnet32": {"input_size": 9, "width": 0.2, "classes": 5, "centred": True},
}


@lru_cache
def small(name: str) -> tuple[Network, Weights, np.ndarray]:
    network = networks.build(name, SIZES[name])
    weights = random_weights(network, 3)
    rng = np.random.default_rng(4)
    for bias in weights.bias.values():
        bias += rng.normal(0, 3, bias.shape).astype(np.float32)
    images = rng.integers(-128, 128, (2, *network.input_shape)).astype(np.float32)
    return network, weights, images


KNOWN: dict[str, Statistics | None] = {}


def planned(name: str, scheme: str, options: schemes.Options) -> Plan:
    """A plan from everything that schemes ask for, gathered once for each network."""
    network, weights, images = small(name)
    source = Source(network, weights, lambda: [(images, None)])
    wanted = schemes.find(scheme).wanted(network, options)
    KNOWN[name] = gather(wanted, source, KNOWN.get(name))
    plan: Plan = schemes.find(scheme).plan(network, weights, KNOWN[name], options)
    plan_check.check(plan, network)
    return plan


FILTERS = HybridOptions(granularity="2D")
MAPS = HybridOptions(granularity="2D", data_granularity="map", unsigned=True)
INTEGERS: list[tuple[str, str, dict[str, Any]]] = [
    ("googlenet", "uniform", {}),
    ("googlenet", "enq", {"bits_act": 4}),
    ("googlenet", "knq", {"bits_act": 3}),
    ("googlenet", "clnq", {}),
    ("googlenet", "hybrid", {"hybrid": FILTERS}),
    ("googlenet", "energy", {"hybrid": HybridOptions(threshold=0.7)}),
    ("googlenet", "clustered", {"hybrid": HybridOptions(every_layer=1)}),
    ("googlenet_torchvision", "enq", {}),
    ("resnet50", "uniform", {"accumulator": Accumulator(22)}),
    ("resnet50", "enq", {}),
    ("resnet50", "knq", {"assign": "floor"}),
    ("resnet50", "clnq", {"bits_act": 7}),
    ("resnet50", "hybrid", {"hybrid": FILTERS}),
    ("resnet50", "energy", {"hybrid": HybridOptions(threshold=0.7)}),
    ("resnet50", "clustered", {"hybrid": HybridOptions(every_layer=1)}),
    ("resnet50_torchvision", "clnq", {}),
    ("resnet20", "uniform", {"rounding": Rounding.STOCHASTIC}),
    ("resnet20", "enq", {"rounding": Rounding.TO_POS}),
    ("resnet20", "knq", {"bits_act": 2}),
    ("resnet20", "hybrid", {"hybrid": MAPS}),
    ("resnet32", "clnq", {}),
    ("resnet32", "hybrid", {"hybrid": MAPS}),
]


@pytest.mark.parametrize(("name", "scheme", "options"), INTEGERS, ids=str)
def test_integers_agree(name: str, scheme: str, options: dict[str, Any]) -> None:
    network, weights, images = small(name)
    plan = planned(name, scheme, schemes.Options(**options))
    assert_all_ways_agree(network, weights, plan, images)
    memory = activation_memory(network, plan)
    convolutions = [node.name for node in network.weighted if isinstance(node.layer, Conv)]
    outputs = network.activation_counts()
    assert sum(memory.values.values()) == sum(outputs[each] for each in convolutions)
    assert 0 < memory.bits <= 16 * sum(memory.values.values())
    assert set(mac_complexity(network, plan)) == {node.name for node in network.weighted}


@pytest.mark.parametrize("scheme", ["ristretto", "tensorflow"])
@pytest.mark.parametrize("name", ["googlenet", "resnet50", "resnet32"])
def test_simulations_agree(name: str, scheme: str) -> None:
    network, weights, images = small(name)
    options = schemes.Options(mode="eightbit") if scheme == "tensorflow" else schemes.Options()
    plan = planned(name, scheme, options)
    assert plan.arithmetic == FLOAT
    wanted = forward(network, weights, plan, images, ops=oracle)
    exact = forward(network, weights, None, images)
    # a float32 sum may round to the next step; a step's noise is some percent of the output
    room = 0.05 * np.abs(wanted).max()
    for fused in (False, True):
        got = forward(network, weights, plan, images, run=Run(fused=fused))
        assert np.abs(got - wanted).max() < room
    assert np.abs(wanted - exact).max() > 0


@pytest.mark.parametrize("name", SIZES)
def test_float_is_the_oracles(name: str) -> None:
    network, weights, images = small(name)
    wanted = forward(network, weights, None, images, ops=oracle)
    for fused in (False, True):
        got = forward(network, weights, None, images, run=Run(fused=fused))
        assert np.abs(got - wanted).max() < 3e-6 * np.abs(wanted).max()


def option_a() -> tuple[Network, Weights]:
    """One block whose convolutions are zero: what comes out is its shortcut."""
    nodes = [
        *chain("data", ("stem", Conv(3, (1, 1))), ("stem_relu", ReLU())),
        Node("shortcut", Subsample((2, 3), (1, 2)), ("stem_relu",)),
        Node("conv", Conv(6, (2, 3), (2, 3)), ("stem_relu",)),
        Node("sum", Add(), ("shortcut", "conv")),
        Node("sum_relu", ReLU(), ("sum",)),
        Node("last", Conv(6, (1, 1), group=6), ("sum_relu",)),
    ]
    network = Network("block", (3, 4, 6), tuple(nodes))
    weights = random_weights(network, 0)
    for name, array in weights.weight.items():
        # three quarters: a largest weight that is a power of two would saturate
        array[...] = 0.75 * (np.eye(3)[:, :, None, None] if name == "stem" else name == "last")
    return network, weights


def test_what_an_option_a_shortcut_keeps() -> None:
    """Rows 0 and 2, columns 0 and 3, one channel of zeros before and two after."""
    network, weights = option_a()
    # codes of 12 bits, so that the product with 3/4 twice is a whole number
    images = 16 * np.arange(72, dtype=np.float32).reshape(1, 3, 4, 6)
    options = schemes.Options(frac_act=0, bits_image=12)
    plan = schemes.find("uniform").plan(network, weights, None, options)
    wanted = [
        [[0, 0], [0, 0]], [[0, 27], [108, 135]], [[216, 243], [324, 351]], [[432, 459], [540, 567]],
        [[0, 0], [0, 0]], [[0, 0], [0, 0]],
    ]  # fmt: skip
    for how in ((kernels, Run()), (kernels, Run(fused=False)), (oracle, Run())):
        for under in (None, plan):
            got = forward(network, weights, under, images, *how)
            assert got[0].tolist() == wanted
    assert_all_ways_agree(network, weights, plan, images)


def test_option_a_shares_its_sources_format() -> None:
    network, _ = option_a()
    points = {point.name: point for point in storage_points(network)}
    # the shortcut moves codes: it makes none, and its width is that of what it reads
    assert points["conv"].tensors == ("stem_relu", "shortcut")
    assert points["conv"].makers == ("stem_relu",) and points["conv"].readers == ("conv", "sum")
    assert points["sum.conv"].signed and not points["conv"].signed
    drops = {"stem_relu": (2, 0, 1)}
    shortcut = network.by_name["shortcut"]
    assert carried_drops(network, shortcut, drops) == (0, 2, 0, 1, 0, 0)
    assert carried_drops(network, shortcut, {}) == ()


def test_zeros_of_a_shortcut_need_no_code() -> None:
    """As padding, they are zero where a codebook has no zero (contract section 2)."""
    network, weights = option_a()
    images = np.full((1, 3, 4, 6), 12, np.float32)
    source = Source(network, weights, lambda: [(images, None)])
    options = schemes.Options(bits_act=1, widths={"sum.conv": 2})
    found = gather(schemes.find("knq").wanted(network, options), source)
    plan = schemes.find("knq").plan(network, weights, found, options)
    code = plan.tensors["shortcut"].code
    assert isinstance(code, Codebook) and 0 not in code.values
    seen: dict[str, Any] = {}
    run = Run(
        lambda node, tensor: seen.update({node.name if node else "data": tensor}), fused=False
    )
    for ops in (kernels, oracle):
        forward(network, weights, plan, images, ops, run)
        values = seen["shortcut"].values()
        assert not values[:, [0, 4, 5]].any() and (values[:, 1:4] == 9).all()
    assert_all_ways_agree(network, weights, plan, images)


def test_operands_of_two_formats_meet_exactly() -> None:
    """At the larger F, by the shift that the report names: 4.5 k and 12 k, three quarters of it."""
    network, weights = option_a()
    weights.weight["conv"][:, 0, 0, 0] = 0.375
    images = 16 * np.arange(72, dtype=np.float32).reshape(1, 3, 4, 6)
    options = schemes.Options(frac_act=0, bits_image=12)
    plan = schemes.find("uniform").plan(network, weights, None, options)
    formats = {"conv": FixedPointFormat(12, 3), "sum_relu": FixedPointFormat(16, 2, signed=False)}
    own = {name: TensorPlan(fmt) for name, fmt in formats.items()}
    plan = replace(plan, tensors={**plan.tensors, **own})
    (join,) = joins(network, plan, "float32")
    assert str(join) == "sum: shortcut fxp-u12/0 << 3 + conv fxp-s12/3, stored as fxp-u16/2"
    assert join.shifts == (3, 0) and join.kind == "add"
    wanted = ["fxp-u12/0 = ap_ufixed<12,12>", "fxp-s12/3 = ap_fixed<12,9>"]
    assert join.to_json()["formats"] == wanted
    assert_all_ways_agree(network, weights, plan, images)
    got = forward(network, weights, plan, images)[0, :3].reshape(3, 4)
    assert got.tolist() == [
        [0, 10.125, 40.5, 50.625],
        [0, 37.125, 148.5, 185.625],
        [216, 253.125, 364.5, 401.625],
    ]


def test_sums_that_could_leave_63_bits_are_refused() -> None:
    """Never a silent wrap (contract section 3): 2^13 at F = 51 needs 64 bits and a sign."""
    network, weights = option_a()
    options = schemes.Options(frac_act=0, bits_image=12)
    plan = schemes.find("uniform").plan(network, weights, None, options)
    for place, bits in ((50, 63), (51, 64)):
        own = {"conv": TensorPlan(FixedPointFormat(12, place))}
        far = replace(plan, tensors={**plan.tensors, **own})
        assert exact_sum(Add(), [far.tensors[name] for name in ("shortcut", "conv")]) == (
            bits,
            place,
        )
        if bits > 63:
            text = "Add sum of fxp-u12/0 = ap_ufixed<12,12> and fxp-s12/51 = ap_fixed<12,-39>"
            with pytest.raises(FormatError, match=re.escape(f"{text}, which needs 64 bits; exp")):
                quantize_weights(network, weights, far)
        else:
            assert_all_ways_agree(network, weights, far, np.full((1, 3, 4, 6), 2047, np.float32))


def test_an_addition_to_itself_and_a_sum_as_the_output() -> None:
    nodes = [
        *chain("data", ("stem", Conv(3, (2, 2))), ("relu", ReLU())),
        Node("twice", Add(), ("relu", "relu", "relu")),
    ]
    network = Network("twice", (3, 5, 7), tuple(nodes))
    (point,) = [each for each in storage_points(network) if "relu" in each.tensors]
    assert point.readers == ("twice",)
    weights = random_weights(network, 2)
    plan = schemes.find("uniform").plan(network, weights, None, schemes.Options(frac_act=1))
    (join,) = joins(network, plan, "float32")
    assert (
        str(join)
        == "twice: relu fxp-u12/1 + relu fxp-u12/1 + relu fxp-u12/1, stored as 15 exact bits"
    )
    images = np.random.default_rng(1).integers(-128, 128, (2, 3, 5, 7)).astype(np.float32)
    assert_all_ways_agree(network, weights, plan, images)


@pytest.mark.parametrize("scheme", ["uniform", "enq", "knq"])
def test_an_image_joined_with_what_is_computed(scheme: str) -> None:
    nodes = [
        *chain("data", ("conv", Conv(2, (1, 1))), ("relu", ReLU())),
        Node("join", Concat(), ("data", "relu")),
        Node("last", Conv(4, (3, 2)), ("join",)),
    ]
    network = Network("joined", (3, 5, 7), tuple(nodes))
    weights = random_weights(network, 2)
    images = np.random.default_rng(1).integers(-128, 128, (2, 3, 5, 7)).astype(np.float32)
    chosen, options = schemes.find(scheme), schemes.Options(bits_act=3)
    source = Source(network, weights, lambda: [(images, None)])
    statistics = gather(chosen.wanted(network, options), source)
    plan = chosen.plan(network, weights, statistics, options)
    assert_all_ways_agree(network, weights, plan, images)


def test_joins_of_googlenet() -> None:
    found = list(joins(small("googlenet")[0], planned("googlenet", "enq", schemes.Options()), "?"))
    assert [join.name for join in found][:2] == ["inception_3a/output", "inception_3b/output"]
    assert len(found) == 9 and {join.kind for join in found} == {"concat"}
    for join in found:
        assert join.shifts == (0, 0, 0, 0) and len(set(join.formats)) == 1
        assert join.result == join.formats[0]
        assert str(join).startswith(f"{join.name}: 4 operands in fxp-u")


def test_joins_of_a_simulation() -> None:
    join = Join(
        "c", "concat", ("a", "b", "d"), ("fxp-s8/2 = x", "float32", "fxp-s8/2 = x"), (), "?"
    )
    assert str(join) == "c: 3 operands in fxp-s8/2, float32"
    plan = planned("resnet50", "tensorflow", schemes.Options(mode="eightbit"))
    first = next(joins(small("resnet50")[0], plan, "float32"))
    assert str(first) == (
        "res2a: res2a_branch1 affine-8 + res2a_branch2c affine-8, stored as affine-8"
    )
    assert first.shifts == ()


def test_a_report_shows_how_operands_meet(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--weights", "random:0", "--data", "random:2", "--input-size", "9", "--scheme", "clnq"]
    assert main(["resnet20", *given]) == 0
    text = capsys.readouterr().out
    assert "\njoins\n  res1_1: conv1_relu fxp-u" in text
    assert "\nres2_1.res2_1_shortcut  fxp-u" in text
    assert main(["resnet20", *given, "--json", "-"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert len(content["joins"]) == 9 and content["joins"][0]["operands"][0] == "conv1_relu"
    rows = {row["name"]: row for row in content["layers"]}
    assert len(rows) == len(content["layers"]) == 20 + 2 * 9 + 1
    for join in content["joins"]:
        places = []
        for operand, fmt in zip(join["operands"], join["formats"]):
            assert rows[f"{join['name']}.{operand}"]["input_format"] == fmt
            places.append(int(fmt.partition(" ")[0].partition("/")[2]))
        assert join["shifts"] == [max(places) - place for place in places]
    assert any(sum(join["shifts"]) for join in content["joins"])


def test_every_operand_of_a_join_has_its_storage() -> None:
    network, _, _ = small("resnet50")
    plan = planned("resnet50", "enq", schemes.Options(bits_act=3))
    additions = list(joins(network, plan, "?"))
    assert len(additions) == 16
    for join in additions:
        kept = [plan.tensors[name] for name in join.operands]
        # what a ReLU made has no sign, what a convolution hands over keeps its own
        for name, entry in zip(join.operands, kept):
            assert entry.fixed.signed is not name.endswith("_relu")
            assert isinstance(entry.code, ShiftCode)
            assert entry.code.signed is not name.endswith("_relu")
