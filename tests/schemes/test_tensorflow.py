"""The scheme `tensorflow`: bucket centres and min/max affine values, against values by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refq import kernels, networks, schemes
from refq.errors import OptionError
from refq.formats.fixed import Rounding
from refq.formats.floats import Affine, Buckets
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks import Network
from refq.networks.weights import Weights, random_weights
from refq.plans.plan import Plan
from refq.schemes.statistics import Statistics, Wanted
from refq.schemes.tensorflow import affine

AWAY = Rounding.TIES_AWAY


def case(name: str = "squeezenet1_1") -> tuple[Network, Weights, Statistics]:
    network = networks.build(name, {"input_size": 80, "width": 0.125, "classes": 7})
    weights = random_weights(network, 3)
    images = np.random.default_rng(1).integers(-90, 160, (2, 3, 80, 80)).astype(np.float32)
    wanted = schemes.find("tensorflow").wanted(network, schemes.Options(mode="eightbit"))
    statistics = gather(wanted, Source(network, weights, lambda: [(images, None)]))
    assert statistics is not None
    return network, weights, statistics


def plan_for(name: str = "squeezenet1_1", **options: Any) -> tuple[Network, Statistics, Plan]:
    network, weights, statistics = case(name)
    chosen = schemes.Options(**options)
    plan: Plan = schemes.find("tensorflow").plan(network, weights, statistics, chosen)
    return network, statistics, plan


def test_buckets_by_hand() -> None:
    x = np.array([-1.0, -0.5, -0.2, 0.0, 0.1, 0.5, 1.0], np.float32)
    got, outside = kernels.round_values(x, Buckets(2, -1.0, 1.0))
    np.testing.assert_array_equal(
        got, np.array([-0.75, -0.25, -0.25, 0.25, 0.25, 0.75, 0.75], np.float32)
    )
    assert outside == 0


def test_a_constant_tensor_stays() -> None:
    x = np.full((2, 3), 0.7, np.float32)
    got, _ = kernels.round_values(x, Buckets(8, float(x.min()), float(x.max())))
    np.testing.assert_array_equal(got, x)


def min_first(x: np.ndarray, low: float, high: float, bits: int) -> np.ndarray:
    """The quantizing and dequantizing operations, written after their formulas."""

    def away(value: float) -> float:
        return float(np.copysign(np.floor(abs(value) + 0.5), value))

    steps = 2**bits - 1
    scale = steps / (high - low)
    out = []
    for value in x.reshape(-1).tolist():
        code = min(max(away(value * scale) - away(low * scale), 0.0), steps)
        step = (high - low) / steps
        out.append(away(low / step) * step + code * step)
    return np.array(out).reshape(x.shape)


@pytest.mark.parametrize("bits", [3, 6, 8])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (-0.37, 0.91), (0.0, 6.5), (-2.0, 2.0)])
def test_affine_values_are_min_first(low: float, high: float, bits: int) -> None:
    x = np.random.default_rng(bits).uniform(low - 0.5, high + 0.5, (9, 41)).astype(np.float32)
    fmt = affine(low, high, bits)
    got, outside = kernels.round_values(x, fmt, AWAY)
    np.testing.assert_allclose(got, min_first(x, low, high, bits), rtol=1e-6, atol=1e-7)
    assert outside > 0
    zero, _ = kernels.round_values(np.zeros(3, np.float32), fmt, AWAY)
    assert not zero.any()


def test_ranges_are_widened() -> None:
    # above zero: from zero on; step 1 from -102 + 0.5 away from zero
    assert affine(1.0, 5.1, 8) == Affine(8, 5.1 / 255, 0)
    assert affine(-127.5, 127.5, 8) == Affine(8, 1.0, -128)
    # no narrower than a hundredth of 1, or of what is larger
    assert affine(0.0, 0.0, 8).step == pytest.approx(0.01 / 255)
    assert affine(-8.0, -8.0, 4).step == pytest.approx(0.08 / 15)


def test_weights_rounded_leaves_data_alone() -> None:
    _network, _, plan = plan_for()
    _, weights, _ = case()
    assert plan.tensors == {} and plan.options["bits_wt"] == 8
    entry = plan.layers["conv1"]
    w = weights.weight["conv1"]
    assert entry.weight == Buckets(8, float(w.min()), float(w.max()))
    assert entry.bias == Buckets(8, 0.0, 0.0)  # constants are tensors like all others
    symmetric, _ = kernels.round_values(np.zeros(2, np.float32), Buckets(8, -1.0, 1.0))
    assert symmetric.all()  # zero is no bucket's centre
    assert schemes.find("tensorflow").wanted(case()[0], schemes.Options()) == Wanted()


def test_eightbit_ranges_are_those_of_sums() -> None:
    network, statistics, plan = plan_for(mode="eightbit", bits_act=7)
    low, high = statistics.extremes["conv1"]
    assert low < 0 < high  # before the ReLU
    assert plan.tensors["conv1"].format == affine(low, high, 7)
    (relu,) = network.consumers["conv1"]
    (pool,) = network.consumers[relu.name]
    assert plan.tensors[relu.name] == plan.tensors[pool.name] == plan.tensors["conv1"]
    join = next(node for node in network.nodes if type(node.layer).__name__ == "Concat")
    sums = [network.by_name[name].inputs[0] for name in join.inputs]
    ends = [statistics.extremes[name] for name in sums]
    joint = affine(min(low for low, _ in ends), max(high for _, high in ends), 7)
    assert plan.tensors[join.name].format == joint
    assert plan.tensors["data"].format == affine(*statistics.extremes["data"], 7)
    assert "pool10" not in plan.tensors  # a global mean has no quantized kernel
    assert plan.layers["conv1"].bias == affine(0.0, 0.0, 8)


def test_what_is_computed_between_is_ranged_itself() -> None:
    network = networks.build("alexnet", {"input_size": 99, "width": 0.125, "classes": 7})
    weights = random_weights(network, 3)
    images = np.random.default_rng(1).integers(-90, 160, (2, 3, 99, 99)).astype(np.float32)
    scheme, options = schemes.find("tensorflow"), schemes.Options(mode="eightbit")
    source = Source(network, weights, lambda: [(images, None)])
    statistics = gather(scheme.wanted(network, options), source)
    assert statistics is not None
    plan = scheme.plan(network, weights, statistics, options)
    lrn = next(node for node in network.nodes if type(node.layer).__name__ == "LRN")
    low, high = statistics.extremes[lrn.name]
    assert plan.tensors[lrn.name].format == affine(low, high, 8)
    assert plan.tensors[lrn.name] != plan.tensors[lrn.inputs[0]]


def test_one_width_alone() -> None:
    with pytest.raises(OptionError, match=r"by layer with scheme tensorflow.*one number"):
        plan_for(widths={"conv1": 4})
