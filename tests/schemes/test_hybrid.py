"""Hybrid fixed point (paper B): formats by kernel, filter and feature map, clustered kernels and
accumulators are the same integers in every way of computing them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from refq import kernels, oracle, schemes
from refq.data import batches, open_dataset
from refq.data import presets as preparing
from refq.engine import aligning, clustered, coefficients, integer, simulated
from refq.engine.forward import Run, forward
from refq.errors import FormatError, OptionError
from refq.formats.fixed import Accumulator, FixedPointFormat, FormatGrid, Overflow, Rounding
from refq.formats.floats import Affine, AffineGrid
from refq.kernels import backends
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks import Network, Node
from refq.networks.layers import Add, Concat, Conv, Dense, MaxPool, ReLU
from refq.networks.weights import Weights, load, random_weights
from refq.plans import check as plan_check
from refq.plans import plan as plans
from refq.plans.plan import Clustered, Plan
from refq.schemes import kmeans
from refq.schemes.granular import formats, integer_bits
from refq.schemes.hybrid_options import HybridOptions
from refq.schemes.statistics import Statistics, Wanted
from tests.agreement import assert_all_ways_agree, bundled_case, every_tensor
from tests.shared_data import shared


def statistics_of(
    network: Network, weights: Weights, images: np.ndarray, options: schemes.Options
) -> Statistics:
    source = Source(network, weights, lambda: [(images, None)])
    found = gather(schemes.find("energy").wanted(network, options), source)
    assert found is not None
    return found


def made(
    scheme: str, network: Network, weights: Weights, images: np.ndarray, **options: Any
) -> Plan:
    own = {name: options.pop(name) for name in list(options) if hasattr(HybridOptions, name)}
    own |= {
        name: options.pop(name)
        for name in ("weight_bits", "clusters", "low_share", "low_bits", "accumulator_bits", "only")
        if name in options
    }
    chosen = schemes.Options(**options, hybrid=HybridOptions(**own))
    statistics = statistics_of(network, weights, images, chosen)
    plan: Plan = schemes.find(scheme).plan(network, weights, statistics, chosen)
    plan_check.check(plan, network)
    assert plans.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    return plan


def branched() -> Network:
    """Groups, strides, a concatenation of a pool and convolutions, an addition, dense layers."""
    nodes = (
        Node("stem", Conv(6, (3, 2), strides=(2, 1), pads=(1, 0, 1, 1)), ("data",)),
        Node("stem_relu", ReLU(), ("stem",)),
        Node("pool", MaxPool((2, 3), (2, 2)), ("stem_relu",)),
        Node("left", Conv(8, (3, 3), pads=(1, 1, 1, 1), group=2), ("pool",)),
        Node("left_relu", ReLU(), ("left",)),
        Node("right", Conv(5, (1, 1)), ("pool",)),
        Node("right_relu", ReLU(), ("right",)),
        Node("joined", Concat(), ("left_relu", "right_relu")),
        Node("one", Conv(7, (2, 3), pads=(0, 1, 1, 1)), ("joined",)),
        Node("two", Conv(7, (1, 1)), ("joined",)),
        Node("sum", Add(), ("one", "two")),
        Node("sum_relu", ReLU(), ("sum",)),
        Node("wide", Dense(11), ("sum_relu",)),
        Node("wide_relu", ReLU(), ("wide",)),
        Node("last", Dense(4), ("wide_relu",)),
    )
    return Network("branched", (3, 13, 12), nodes, {})


def uneven(network: Network, seed: int) -> Weights:
    """Weights whose kernels and filters have very different ranges, some of them zero."""
    rng = np.random.default_rng(seed)
    weights = random_weights(network, seed)
    scaled = {}
    for name, weight in weights.weight.items():
        kernels = 2.0 ** rng.integers(-5, 3, len(weight))
        filters = 2.0 ** rng.integers(-4, 2, weight.shape[:2])
        filters *= rng.random(filters.shape) > 0.1
        shape = (..., *(None,) * (weight.ndim - 2))
        scaled[name] = (weight * (kernels[:, None] * filters)[shape]).astype(np.float32)
    return Weights(scaled, {k: (4 * v + 0.3).astype(np.float32) for k, v in weights.bias.items()})


def pixels(network: Network, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 128, (count, *network.input_shape)).astype(np.float32)


CASES: list[tuple[str, dict[str, Any]]] = [
    *(("hybrid", {"granularity": each}) for each in ("4D", "3D", "2D")),
    ("hybrid", {"granularity": "2D", "bits_wt": 5, "bits_act": 4}),
    ("hybrid", {"granularity": "3D", "data_granularity": "map"}),
    ("hybrid", {"granularity": "2D", "data_granularity": "map", "unsigned": True}),
    ("hybrid", {"granularity": "2D", "bits_wt": 12, "bits_act": 12, "bits_bias": 20}),
    ("hybrid", {"granularity": "2D", "formats": "coverage", "coverage": 0.9}),
    ("hybrid", {"granularity": "3D", "rounding": Rounding.TO_POS, "overflow": Overflow.SAT_SYM}),
    ("hybrid", {"data_granularity": "map", "rounding": Rounding.STOCHASTIC, "seed": 5}),
    ("hybrid", {"data_granularity": "map", "overflow": Overflow.WRAP, "bits_act": 5}),
    ("hybrid", {"weight_bits": {"left": 3, "wide": 6}, "accumulator_bits": {"one": 13}}),
    ("energy", {"experiment": "moderate"}),
    ("energy", {"threshold": 0.5, "bits_low": 2, "data_granularity": "map"}),
    ("energy", {"low_share": {"left": 70, "last": 100}, "low_bits": {"left": 3}}),
    ("clustered", {"granularity": "2D"}),
    ("clustered", {"granularity": "3D", "data_granularity": "map", "every_layer": 2}),
    ("clustered", {"granularity": "4D", "clusters": {"left": 3, "one": 0}, "bits_low": 8}),
]


@pytest.mark.parametrize(("scheme", "options"), CASES, ids=str)
def test_all_ways_agree(scheme: str, options: dict[str, Any]) -> None:
    network = branched()
    weights, images = uneven(network, 3), pixels(network, 3, 4)
    plan = made(scheme, network, weights, pixels(network, 5, 6), **options)
    assert_all_ways_agree(network, weights, plan, images)


@pytest.mark.parametrize("name", list(backends.TOKENS))
@pytest.mark.parametrize("activations", [8, 12, 16])
def test_every_backend(monkeypatch: pytest.MonkeyPatch, name: str, activations: int) -> None:
    """Shifts by channel, in 32 bits and in 64, on one, three and two planes of activations."""
    if name not in backends.supported():
        pytest.skip(f"this CPU has no {name}")
    monkeypatch.setenv(backends.VARIABLE, name)
    network = branched()
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    plan = made(
        "hybrid",
        network,
        weights,
        pixels(network, 5, 6),
        granularity="2D",
        bits_act=activations,
        bits_wt=activations,
        data_granularity="map",
    )
    assert_all_ways_agree(network, weights, plan, images)


ACCUMULATORS = [
    Accumulator(bits, overflow, every_mac)
    for bits in (32, 20, 14)
    for overflow in (Overflow.SAT, Overflow.SAT_SYM, Overflow.WRAP)
    for every_mac in (False, True)
]


@pytest.mark.parametrize("scheme", ["hybrid", "clustered"])
@pytest.mark.parametrize("accumulator", ACCUMULATORS, ids=str)
def test_accumulators(scheme: str, accumulator: Accumulator) -> None:
    network = branched()
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    plan = made(
        scheme, network, weights, pixels(network, 5, 6), granularity="2D", accumulator=accumulator
    )
    assert_all_ways_agree(network, weights, plan, images)


@pytest.mark.parametrize("rounding", [Rounding.TO_NEG, Rounding.TIES_EVEN, Rounding.TO_ZERO])
@pytest.mark.parametrize("every_mac", [False, True])
def test_accumulators_with_fewer_fraction_bits(rounding: Rounding, every_mac: bool) -> None:
    network = branched()
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    for scheme in ("hybrid", "clustered"):
        plan = made(scheme, network, weights, pixels(network, 5, 6), granularity="2D")
        layers = {}
        for name, entry in plan.layers.items():
            outputs = network.shapes[name][0]
            one = scheme == "clustered"
            places: Any = -1 if one else tuple(o % 4 - 2 for o in range(outputs))
            widths: Any = 9 if one else tuple(7 + o % 5 for o in range(outputs))
            narrow = Accumulator(widths, Overflow.SAT, every_mac, places, rounding)
            layers[name] = replace(entry, accumulator=narrow)
        narrowed = replace(plan, layers=layers)
        plan_check.check(narrowed, network)
        assert plans.from_json(narrowed.to_json()) == narrowed
        assert_all_ways_agree(network, weights, narrowed, images)
        tensors = every_tensor(network, weights, narrowed, images)
        assert any(overflows for _, _, _, overflows, _ in tensors.values())


def one_layer(group: int = 1) -> Network:
    nodes = (Node("only", Conv(6, (2, 3), pads=(1, 1, 0, 1), group=group), ("data",)),)
    return Network("one", (4, 7, 5), nodes)


@pytest.mark.parametrize("scheme", ["hybrid", "clustered"])
@pytest.mark.parametrize("bits", [24, 7])
def test_a_sum_is_rounded_and_limited_once_at_the_end(scheme: str, bits: int) -> None:
    network = one_layer(2)
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    exact = made(scheme, network, weights, images, granularity="2D", accumulator=Accumulator(62))
    sums = every_tensor(network, weights, exact, images)["result"][0]
    places = 1
    layer = replace(exact.layers["only"], accumulator=Accumulator(bits, frac_bits=places))
    narrow = replace(exact, layers={"only": layer})
    rounded = np.rint(sums * 2.0**places)
    kept = rounded.clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert (rounded != sums * 2.0**places).any() and (kept != rounded).any() == (bits == 7)
    tensors = every_tensor(network, weights, narrow, images)
    np.testing.assert_array_equal(tensors["result"][0], kept / 2.0**places)
    assert tensors["only"][3] == (kept != rounded).sum()


@pytest.mark.parametrize("every_mac", [True, False])
def test_accumulators_that_no_sum_can_leave(
    monkeypatch: pytest.MonkeyPatch, every_mac: bool
) -> None:
    """They are exact ones, and so is one whose sums stayed inside; others are modelled."""
    nodes = (*one_layer().nodes, Node("relu", ReLU(), ("only",)), Node("end", Dense(3), ("relu",)))
    network = Network("three", (4, 7, 5), nodes)
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    plan = made("hybrid", network, weights, images, granularity="2D")
    own = coefficients.quantize_weights(network, weights, plan).layers["only"]
    most = int((own.reach * 128 + np.abs(own.bias)).max())
    widest, seen = most.bit_length() + 1, every_tensor(network, weights, plan, images, fused=False)
    sums = seen["only"][4]
    needed = max(sums[1].bit_length(), (-sums[0] - 1).bit_length()) + 1
    assert needed < widest - 1
    plainly: list[str] = []
    weighted = integer.IntegerSteps.sums

    def noted(self: integer.IntegerSteps, node: Node, x: Any) -> Any:
        plainly.append(node.name)
        return weighted(self, node, x)

    monkeypatch.setattr(integer.IntegerSteps, "sums", noted)
    for bits in (widest, widest - 1, needed, needed - 1):
        accumulator = Accumulator(bits, every_mac=every_mac)
        layer = replace(plan.layers["only"], accumulator=accumulator)
        limited = replace(plan, layers={**plan.layers, "only": layer})
        plainly.clear()
        quick = every_tensor(network, weights, limited, images)
        exact = bits == widest or (not every_mac and bits >= needed)
        assert plainly == ([] if exact else ["only"]), bits
        slow = every_tensor(network, weights, limited, images, fused=False)
        np.testing.assert_array_equal(quick["relu"][0], slow["relu"][0])


def test_kernels_with_nothing_to_round_beside_others() -> None:
    """A shift by no place keeps odd codes, where halves of the other kernels go to even."""
    nodes = (*one_layer().nodes, Node("relu", ReLU(), ("only",)), Node("end", Dense(3), ("relu",)))
    network = Network("three", (4, 7, 5), nodes)
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    plan = made("hybrid", network, weights, images, granularity="3D")
    own = coefficients.quantize_weights(network, weights, plan).layers["only"]
    least = int((own.frac_bits - own.raised).min())
    assert own.raised.any()
    entry = plans.TensorPlan(FixedPointFormat(16, least))
    plan = replace(plan, tensors={**plan.tensors, "relu": entry})
    assert_all_ways_agree(network, weights, plan, images)
    assert (every_tensor(network, weights, plan, images)["relu"][0] % 2).any()


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "squeezenet1_1"])
def test_filters_of_bundled_networks(name: str) -> None:
    network, weights, images, statistics = bundled_case(name)
    options = schemes.Options(hybrid=HybridOptions(granularity="2D"))
    plan = schemes.find("hybrid").plan(network, weights, statistics, options)
    assert_all_ways_agree(network, weights, plan, images)


def test_real_squeezenet() -> None:
    path = shared("squeezenet_v1.1.caffemodel.h5")
    network, weights = load(path, "squeezenet1_1", {"input_size": 67})
    dataset = open_dataset(str(shared("ilsvrc2012_val")), network.input_shape)
    images, _ = next(iter(batches(dataset, preparing.caffe(network.input_shape), 4, 0, 4)))
    plan = made("hybrid", network, weights, images, granularity="2D", data_granularity="map")
    assert_all_ways_agree(network, weights, plan, images[:1])


def test_2d_stays_on_the_fused_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Formats by filter cost no plain convolution: shifts are in the weights and in the store."""
    network, weights, images, statistics = bundled_case("vgg16")
    options = schemes.Options(hybrid=HybridOptions(granularity="2D"))
    plan = schemes.find("hybrid").plan(network, weights, statistics, options)

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a plain convolution")

    monkeypatch.setattr(integer.IntegerSteps, "sums", refuse)
    every_tensor(network, weights, plan, images)


@pytest.mark.parametrize("group", [1, 2])
def test_sums_are_those_of_the_values(group: int) -> None:
    """No shift is lost: what leaves the accumulator is the sum of products of the values that
    codes of every filter and every feature map stand for, each in its own format."""
    nodes = (
        Node("first", Conv(6, (1, 1)), ("data",)),
        Node("relu", ReLU(), ("first",)),
        Node("last", Conv(4, (3, 2), pads=(1, 0, 1, 1), group=group), ("relu",)),
    )
    network = Network("two", (3, 5, 4), nodes)
    weights, images = uneven(network, 2), pixels(network, 2, 4)
    plan = made(
        "hybrid",
        network,
        weights,
        pixels(network, 4, 9),
        granularity="2D",
        data_granularity="map",
        accumulator=Accumulator(62),
    )
    grid, entry = plan.layers["last"].weight, plan.tensors["relu"]
    assert isinstance(grid, FormatGrid) and len(set(entry.drops)) > 1
    seen = every_tensor(network, weights, plan, images)
    codes, frac_bits, *_ = seen["relu"]
    x = np.ldexp(codes.astype(float), -frac_bits)
    # every map is in its own format, none with more bits than it has
    steps = np.ldexp(1.0, np.array(entry.drops) - entry.fixed.frac_bits)[:, None, None]
    assert (x / steps == np.rint(x / steps)).all()
    assert (np.abs(x / steps) <= entry.fixed.max_code).all()
    scale = np.ldexp(1.0, grid.frac_bits.astype(int))[:, :, None, None]
    w = np.clip(np.rint(weights.weight["last"] * scale), -128, 127) / scale
    _, bias = plan.layers["last"].fixed
    b = np.rint(weights.bias["last"] * 2.0**bias.frac_bits).clip(-128, 127) / 2.0**bias.frac_bits
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 1)))
    wanted = np.zeros((2, 4, 5, 4))
    for o, i, r, c in np.ndindex(w.shape):
        channel = i + (o // (4 // group)) * (6 // group)
        wanted[:, o] += w[o, i, r, c] * padded[:, channel, r : r + 5, c : c + 4]
    wanted += b[:, None, None]
    np.testing.assert_array_equal(seen["result"][0], wanted)


def test_kernels_align_by_hand() -> None:
    """Two filters with F = 3 and F = 1: the second's codes are shifted left by two."""
    nodes = (Node("only", Conv(1, (1, 1)), ("data",)),)
    network = Network("tiny", (2, 1, 1), nodes, {})
    weight = np.array([0.625, -3.5], np.float32).reshape(1, 2, 1, 1)
    weights = Weights({"only": weight}, {"only": np.array([0.25], np.float32)})
    layer = plans.LayerPlan(
        FormatGrid(np.array([[5, 5]]), np.array([[3, 1]])), FixedPointFormat(8, 2)
    )
    image = plans.TensorPlan(FixedPointFormat(8, 0))
    plan = Plan("tiny", {}, "hybrid", {"data": image}, {"only": layer})
    own = coefficients.quantize_weights(network, weights, plan).layers["only"]
    # 0.625 * 8 = 5; -3.5 * 2 = -7, at F = 3 -28; the bias 0.25 * 8 = 2
    assert own.codes.reshape(-1).tolist() == [5, -28] and own.bias.tolist() == [2]
    assert own.frac_bits == 3 and own.align.tolist() == [0]
    images = np.array([[[[7.0]], [[-3.0]]]], np.float32)
    tensors = every_tensor(network, weights, plan, images)
    assert tensors["result"][0].item() == (7 * 5 + 3 * 28 + 2) / 8 == 0.625 * 7 + 3.5 * 3 + 0.25


def test_formats_follow_each_filter() -> None:
    weight = np.zeros((2, 3, 1, 2))
    weight[0, 0] = 0.9, -0.1
    weight[0, 1] = 0.01, 0.3
    weight[0, 2] = 0.25, 0.125  # an exact power of two saturates by one step
    weight[1] = 0.05
    options = schemes.Options(hybrid=HybridOptions())
    assert formats(weight, 8, "4D", options) == FixedPointFormat(8, 7)
    assert formats(weight, 8, "3D", options) == FormatGrid(np.array(8), np.array([7, 11]))
    grid = formats(weight, 8, "2D", options)
    assert isinstance(grid, FormatGrid)
    assert grid.frac_bits.tolist() == [[7, 8, 9], [11, 11, 11]]
    bits = np.array([[8, 4, 4], [4, 8, 4]])
    mixed = formats(weight, bits, "2D", options)
    assert isinstance(mixed, FormatGrid)
    assert (
        mixed.frac_bits.tolist() == [[7, 4, 5], [7, 11, 7]] and mixed.bits.tolist() == bits.tolist()
    )
    codes, outside = oracle.quantize_grid(weight, grid)
    assert codes[0, 2].reshape(-1).tolist() == [127, 64] and outside == 1


def test_zeros_lie_below_any_power_of_two() -> None:
    values = np.array([[0.0, 0.01, 0.02, -0.011], [0.0, 0.0, 0.0, 0.3]]).reshape(2, 1, 2, 2)
    for coverage, wanted in ((0.999, [-5, -1]), (0.75, [-6, -1]), (0.5, [-6, -1])):
        options = schemes.Options(coverage=coverage, hybrid=HybridOptions(formats="coverage"))
        assert integer_bits(values, 1, options).tolist() == wanted


def test_sums_that_no_64_bits_hold_are_refused() -> None:
    """Kernels' sums are brought to one number of fraction bits, which must not wrap."""
    network = Network("one", (4, 2, 3), (Node("only", Conv(2, (1, 1)), ("data",)),))
    weight = np.array([[1.0] * 4, [1e-15] * 4], np.float32).reshape(2, 4, 1, 1)
    weights = Weights({"only": weight}, {"only": np.zeros(2, np.float32)})
    image = plans.TensorPlan(FixedPointFormat(9, 0))
    for finest, fits in ((48, True), (60, False)):
        entry = plans.LayerPlan(
            FormatGrid(np.array(8), np.array([6, finest])), FixedPointFormat(8, 6)
        )
        plan = Plan("one", {}, "hybrid", {"data": image}, {"only": entry})
        if fits:
            images = np.full((1, 4, 2, 3), 250, np.float32)
            assert forward(network, weights, plan, images)[0, 0, 0, 0] == 1000.0
            continue
        with pytest.raises(FormatError, match=r"layer only: sums of kernels.*differ by 54"):
            coefficients.quantize_weights(network, weights, plan)


def test_an_accumulator_that_ends_at_its_least_sum() -> None:
    """-2**(b - 1) is a sum of sat, and none of sat-sym."""
    nodes = (
        Node("only", Conv(1, (1, 1)), ("data",)),
        Node("relu", ReLU(), ("only",)),
        Node("end", Dense(1), ("relu",)),
    )
    network = Network("least", (1, 1, 2), nodes)
    weight = {"only": np.ones((1, 1, 1, 1), np.float32), "end": np.ones((1, 2), np.float32)}
    weights = Weights(weight, {name: np.zeros(1, np.float32) for name in weight})
    eight = plans.TensorPlan(FixedPointFormat(8, 0))
    images = np.array([[[[-128.0, 127.0]]]], np.float32)
    one = plans.LayerPlan(FixedPointFormat(2, 0), FixedPointFormat(8, 0))
    for overflow, lost in ((Overflow.SAT, 0), (Overflow.SAT_SYM, 1), (Overflow.WRAP, 0)):
        only = replace(one, accumulator=Accumulator(8, overflow))
        tensors = {"data": eight, "relu": eight}
        plan = Plan("least", {}, "hybrid", tensors, {"only": only, "end": one})
        seen = every_tensor(network, weights, plan, images)
        assert seen["relu"][3] == lost and seen["relu"][4] == (-128, 127)


def test_kernels_have_accumulators_of_their_own() -> None:
    network = branched()
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    plan = made(
        "hybrid",
        network,
        weights,
        pixels(network, 5, 6),
        granularity="3D",
        accumulated="kernel",
        accumulator=Accumulator(12),
    )
    for name, entry in plan.layers.items():
        places = entry.accumulator.frac_bits
        assert isinstance(places, tuple) and len(places) == network.shapes[name][0]
    assert len(set(plan.layers["left"].accumulator.frac_bits or ())) > 1  # type: ignore[arg-type]
    assert_all_ways_agree(network, weights, plan, images)


def test_filters_without_energy_have_few_bits() -> None:
    energies = {"left": np.zeros((8, 3)), "one": np.array([[0.0, 1.0, 3.0]])}
    network = branched()
    rest = {n.name: np.ones((2, 2)) for n in network.weighted if isinstance(n.layer, Conv)}
    low = schemes.find("energy").low_filters
    for threshold, dead in ((0.0, False), (0.1, True)):
        options = schemes.Options(hybrid=HybridOptions(threshold=threshold))
        found = low(network, {**rest, **energies}, options)
        assert found["left"].all() == found["left"].any() == dead
        assert found["one"].tolist() == [[dead, False, False]]


def test_coverage_leaves_outliers_out() -> None:
    values = np.append(np.full(999, 0.7), 100.0).reshape(1, 1000, 1, 1)
    options = schemes.Options(coverage=0.999, hybrid=HybridOptions(formats="coverage"))
    assert integer_bits(values, 0, options) == 0
    assert integer_bits(values, 0, replace(options, coverage=1.0)) == 7
    assert integer_bits(values, 0, schemes.Options()) == 7


def test_fewer_bits_lose_less_by_filter() -> None:
    """Fig. 3: the finer the granularity, the nearer the coefficients."""
    network = branched()
    weights = uneven(network, 3)
    options = schemes.Options()
    for name in ("left", "one"):
        weight, errors = weights.weight[name], []
        for granularity in ("4D", "3D", "2D"):
            fmt = formats(weight, 5, granularity, options)
            filters = weight.reshape(*weight.shape[:2], -1)
            codes, frac_bits, _ = aligning.coded(filters, fmt)
            values = np.ldexp(codes.astype(float), -frac_bits.reshape(*frac_bits.shape, 1))
            errors.append(float(np.square(values - filters).sum()))
        assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_clusters_add_up_to_the_kernels() -> None:
    """With enough bits base and residual are the kernel: eq. (9)."""
    network = branched()
    weights = uneven(network, 3)
    plan = made(
        "clustered",
        network,
        weights,
        pixels(network, 5, 6),
        bits_wt=16,
        bits_low=16,
        granularity="4D",
    )
    integer = coefficients.quantize_weights(network, weights, plan)
    for name, own in integer.layers.items():
        source = plan.tensors[network.by_name[name].inputs[0]].fixed.frac_bits
        scale = own.frac_bits - own.raised - own.align + own.drop - source
        shape = (-1, *(1,) * (own.codes.ndim - 1))
        values = np.ldexp(own.codes.astype(float), -scale.reshape(shape))
        wanted = weights.weight[name]
        assert np.abs(values - wanted).max() < 2.0**-14 * np.abs(wanted).max()
        assert own.split is not None


def test_residuals_are_smaller_than_kernels() -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(0, 1, (3, 5, 2, 2))
    weight = centres[np.arange(12) % 3] + rng.normal(0, 0.01, (12, 5, 2, 2))
    labels = kmeans.lloyd(weight.reshape(12, -1), 3).labels
    base = FixedPointFormat(8, 5)
    rest = clustered.residuals(weight, labels, base)
    assert np.abs(rest).max() < 0.08 < np.abs(weight).max()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"weight": FormatGrid(np.array(8), np.zeros((8, 2), int))}, r"shape \(8, 2\) for left"),
    ({"weight": FormatGrid(np.array(8), np.zeros(5, int))}, r"shape \(5,\) for left"),
    ({"accumulator": Accumulator((8,) * 7)}, "7 accumulators in left"),
    (
        {"weight": Clustered(FixedPointFormat(8, 0), FixedPointFormat(4, 0), (0, 1) * 4)},
        "2 base kernels across the 2 groups",
    ),
    (
        {"weight": Clustered(FixedPointFormat(8, 0), FixedPointFormat(4, 0), (0, 0, 1))},
        "3 clustered kernels in left",
    ),
]


@pytest.mark.parametrize(("change", "told"), WRONG)
def test_plans_that_do_not_fit(change: dict[str, Any], told: str) -> None:
    network = branched()
    weights = uneven(network, 3)
    plan = made("hybrid", network, weights, pixels(network, 2, 6))
    layers = {**plan.layers, "left": replace(plan.layers["left"], **change)}
    with pytest.raises(OptionError, match=told):
        plan_check.check(replace(plan, layers=layers), network)


def test_feature_maps_that_do_not_fit() -> None:
    network = branched()
    weights = uneven(network, 3)
    plan = made("hybrid", network, weights, pixels(network, 2, 6), data_granularity="map")
    entry = plan.tensors["joined"]
    for drops in ((), entry.drops[:-1], (*entry.drops[1:], entry.drops[0] + 1)):
        tensors = {**plan.tensors, "joined": replace(entry, drops=drops)}
        with pytest.raises(OptionError, match="formats of feature maps in joined"):
            plan_check.check(replace(plan, tensors=tensors), network)


def test_bad_grids_and_clusters() -> None:
    for bits, frac_bits, told in (
        (1, [3], "1 bits"),
        (8, [99], "99 fraction bits"),
        (8, [], "shape"),
        (8, [[[1]]], "shape"),
    ):
        with pytest.raises(FormatError, match=told):
            FormatGrid(np.array(bits), np.array(frac_bits, int))
    eight = FixedPointFormat(8, 0)
    with pytest.raises(FormatError, match="base kernels"):
        Clustered(eight, eight, (0, 2))
    with pytest.raises(FormatError, match="3 base kernels"):
        Clustered(FormatGrid(np.array(8), np.zeros(3, int)), eight, (0, 1))
    assert FormatGrid(np.array(8), np.array([3, 5])).short == "3D fxp-s8/3..5"
    assert str(Clustered(eight, FixedPointFormat(4, 2), (0, 1))) == "2 x fxp-s8/0 + fxp-s4/2"


def test_energy_masks() -> None:
    network, weights = branched(), uneven(branched(), 3)
    source = Source(network, weights, lambda: [(pixels(network, 5, 6), None)])
    statistics = gather(Wanted(energies=True), source)
    energies = statistics.energies if statistics else pytest.fail("nothing was gathered")
    low = schemes.find("energy").low_filters
    found = low(network, energies, schemes.Options(hybrid=HybridOptions(threshold=0.3)))
    for name, energy in energies.items():
        np.testing.assert_array_equal(found[name], energy < 0.3 * energy.mean())
    assert not found["wide"].any()
    shares = HybridOptions(low_share={"left": 25, "wide": 100})
    found = low(network, energies, schemes.Options(hybrid=shares))
    assert found["left"].sum() == round(0.25 * found["left"].size) and found["wide"].all()
    assert energies["left"][found["left"]].max() <= energies["left"][~found["left"]].min()
    assert not found["one"].any()
    experiment = HybridOptions(experiment="aggressive")
    found = low(network, energies, schemes.Options(hybrid=experiment))
    assert [name for name, mask in found.items() if mask.all()] == [
        "left",
        "right",
        "one",
        "two",
        "wide",
    ]


def test_affine_values_by_hand() -> None:
    """Eq. (4) and (5): the middle and 2**(1 - T) of the farthest distance from it."""
    weight = np.array([[-1.0, 0.0, 1.2, 3.0], [5.0, 5.0, 5.0, 5.0]]).reshape(2, 1, 2, 2)
    options = schemes.Options(hybrid=HybridOptions(formats="affine"))
    grid = formats(weight, 3, "3D", options)
    assert isinstance(grid, AffineGrid)
    assert grid.mean.tolist() == [1.0, 5.0] and grid.step.tolist() == [0.5, 0.25]
    # (x - 1) / 0.5 = -4, -2, 0.4, 4, of which 3 bits hold -4 to 3
    values, outside = kernels.round_affine(weight, grid)
    assert values[0].ravel().tolist() == [-1.0, 0.0, 1.0, 2.5] and outside == 1
    assert formats(weight[:1], 3, "4D", options) == Affine(3, 0.5, -4, 1.0)


SIMULATED: list[dict[str, Any]] = [
    {"float_data": True, "granularity": "2D"},
    {"formats": "affine", "granularity": "3D"},
    {"formats": "affine", "granularity": "4D", "float_data": True},
    {"only": ("left",), "granularity": "2D", "bits_wt": 4},
]


@pytest.mark.parametrize("options", SIMULATED, ids=str)
def test_simulations_round_what_they_say(options: dict[str, Any]) -> None:
    network = branched()
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    plan = made("hybrid", network, weights, pixels(network, 5, 6), **options)
    assert plan.arithmetic == plans.FLOAT
    kept = set(options.get("only", plan.layers))
    rounded = simulated.rounded_weights(network, weights, plan).weights
    for name in plan.layers:
        same = np.array_equal(rounded.weight[name], weights.weight[name])
        assert same == (name not in kept), name
    read = {network.by_name[name].inputs[0] for name in kept}
    assert set(plan.tensors) == (set() if options.get("float_data") else read)
    quick = forward(network, weights, plan, images)
    np.testing.assert_allclose(
        quick, forward(network, weights, plan, images, run=Run(fused=False)), rtol=0.05
    )
    slow = forward(network, weights, plan, images, ops=oracle)
    np.testing.assert_allclose(quick, slow, rtol=0.05, atol=0.02 * np.abs(slow).max())


def test_a_clustered_simulation_adds_base_and_residual() -> None:
    network = branched()
    weights = uneven(network, 3)
    plan = made("clustered", network, weights, pixels(network, 5, 6), only=("left",))
    fmt = plan.layers["left"].weight
    assert isinstance(fmt, Clustered)
    wanted = clustered.quantized_values(weights.weight["left"], fmt)
    rounded = simulated.rounded_weights(network, weights, plan).weights
    np.testing.assert_array_equal(rounded.weight["left"], wanted.astype(np.float32))


def test_options_that_do_not_meet() -> None:
    for own in (
        {"only": ("left",), "data_granularity": "map"},
        {"float_data": True, "accumulator_bits": {"one": 9}},
        {"formats": "affine", "accumulated": "range"},
    ):
        with pytest.raises(OptionError, match="simulated in float32"):
            HybridOptions(**own)
    network = branched()
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    for scheme, options, told in (
        ("hybrid", {"only": ("nowhere",)}, "--only nowhere"),
        ("hybrid", {"float_data": True, "accumulator": Accumulator(9)}, "exact sums"),
        ("clustered", {"formats": "affine"}, "magnitude or coverage"),
        ("clustered", {"accumulated": "kernel"}, "products or range"),
        ("hybrid", {"float_data": True, "overflow": Overflow.WRAP}, "ties-away, and sat"),
        ("energy", {"low_bits": {"nowhere": 3}}, "--bits-low of nowhere"),
        ("energy", {"formats": "affine", "threshold": 0.3}, "two widths"),
        ("clustered", {"clusters": {"nowhere": 2}}, "clusters of nowhere"),
        ("energy", {"low_share": {"nowhere": 2}}, "--low-share of nowhere"),
        ("hybrid", {"weight_bits": {"nowhere": 2}}, "--bits-wt of nowhere"),
    ):
        with pytest.raises(OptionError, match=told):
            made(scheme, network, weights, images, **options)
