"""Whole networks: kernels equal the oracle bit for bit, fused or not, for every tensor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from refq import kernels, networks, oracle, schemes
from refq.data import batches, open_dataset
from refq.data import presets as preparing
from refq.engine.forward import Run, forward, quantize_weights
from refq.errors import OptionError, ShapeError
from refq.formats.fixed import Accumulator, FixedPointFormat, Overflow, Rounding
from refq.measure.calibration import gather
from refq.networks import Network, Node
from refq.networks.layers import (
    LRN,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    ReLU,
    Softmax,
)
from refq.networks.points import storage_points
from refq.networks.weights import Weights, load, random_weights
from tests.agreement import assert_all_ways_agree, bundled_case, bundled_source
from tests.shared_data import shared
from tests.small_networks import crossing, pixels, planned, uneven

BUNDLED: list[tuple[str, str, dict[str, Any]]] = [
    *((name, "uniform", {}) for name in ("vgg16", "alexnet", "squeezenet1_1")),
    *((name, "enq", {}) for name in ("vgg16", "alexnet", "squeezenet1_1")),
    ("googlenet", "enq", {"bits_act": 4}),
    ("resnet50", "uniform", {}),
    ("vgg16", "knq", {}),
    ("alexnet", "knq", {"saturate": False, "rounding": Rounding.TO_POS}),
    ("squeezenet1_1", "knq", {"assign": "floor", "bits_act": 3}),
]


@pytest.mark.parametrize(("name", "scheme", "options"), BUNDLED, ids=str)
def test_bundled_networks(name: str, scheme: str, options: dict[str, Any]) -> None:
    network, weights, images, statistics = bundled_case(name)
    # one point with a bit of its own, for all options
    chosen = schemes.Options(**options, widths={storage_points(network)[3].name: 1})
    if scheme == "knq":
        source = bundled_source(network, weights)
        counted = gather(schemes.find(scheme).wanted(network, chosen), source, statistics)
        assert counted is not None
        statistics = counted
    plan = schemes.find(scheme).plan(network, weights, statistics, chosen)
    assert_all_ways_agree(network, weights, plan, images)


def test_real_squeezenet() -> None:
    path = shared("squeezenet_v1.1.caffemodel.h5")
    network, weights = load(path, "squeezenet1_1", {"input_size": 67})
    dataset = open_dataset(str(shared("ilsvrc2012_val")), network.input_shape)
    prepared = batches(dataset, preparing.caffe(network.input_shape), 1, 0, 1)
    images, _ = next(iter(prepared))
    plan = schemes.find("uniform").plan(network, weights, None, schemes.Options(frac_act=0))
    assert_all_ways_agree(network, weights, plan, images)


VARIANTS: list[dict[str, Any]] = [
    {"rounding": Rounding.STOCHASTIC, "seed": 3},
    {"rounding": Rounding.TO_ZERO, "overflow": Overflow.SAT_SYM},
    {"overflow": Overflow.WRAP, "bits_act": 6},
    {"accumulator": Accumulator(16, Overflow.SAT, every_mac=True)},
    {"accumulator": Accumulator(18, Overflow.WRAP)},
    {"accumulator": Accumulator(32, Overflow.SAT, every_mac=True)},
    {"accumulator": Accumulator(24, Overflow.SAT_SYM)},
    {"bits_act": 20, "frac_act": 9},
    {"bits_act": 8, "bits_wt": 20},
    {"bits_act": 8, "bits_wt": 16},
    {"bits_image": 14, "bits_act": 3, "frac_act": -2},
    {"bits_image": 20},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_0"])
def test_every_number_format(name: str, options: dict[str, Any]) -> None:
    sizes = {"input_size": 33, "classes": 5, "width": 0.07}
    if name == "alexnet":
        sizes |= {"hidden": 9, "stem_stride": 1}
    network = networks.build(name, sizes)
    weights = random_weights(network, 1)
    rng = np.random.default_rng(2)
    images = rng.integers(-128, 128, (3, *network.input_shape)).astype(np.float32)
    chosen = schemes.Options(**{"frac_act": 2, **options})
    plan = schemes.find("uniform").plan(network, weights, None, chosen)
    assert_all_ways_agree(network, weights, plan, images)


def residual() -> Network:
    """Add, average pools and softmax, which the paper's first networks do not have."""
    nodes = (
        Node("stem", Conv(6, (3, 3), pads=(1, 1, 1, 1)), ("data",)),
        Node("stem_relu", ReLU(), ("stem",)),
        Node("left", Conv(6, (3, 3), pads=(1, 1, 1, 1)), ("stem_relu",)),
        Node("join", Add(), ("left", "stem_relu")),
        Node("join_relu", ReLU(), ("join",)),
        Node("mean", AvgPool((3, 2), (2, 1), (1, 0, 1, 1), ceil_mode=True), ("join_relu",)),
        Node("last", Conv(7, (1, 1)), ("mean",)),
        Node("last_relu", ReLU(), ("last",)),
        Node("pool", GlobalAvgPool(), ("last_relu",)),
        Node("fc", Dense(4), ("pool",)),
        Node("fc_relu", ReLU(), ("fc",)),
        Node("prob", Softmax(), ("fc_relu",)),
    )
    return Network("residual", (3, 9, 8), nodes)


@pytest.mark.parametrize("options", [{}, {"rounding": Rounding.STOCHASTIC}], ids=str)
def test_residual_network(options: dict[str, Any]) -> None:
    network = residual()
    weights = random_weights(network, 3)
    images = np.random.default_rng(4).integers(-99, 99, (2, 3, 9, 8)).astype(np.float32)
    chosen = schemes.Options(frac_act=3, bits_act=10, **options)
    plan = schemes.find("uniform").plan(network, weights, None, chosen)
    assert_all_ways_agree(network, weights, plan, images)


@pytest.mark.parametrize("rounding", [Rounding.TIES_EVEN, Rounding.STOCHASTIC])
def test_batch_size_changes_nothing(rounding: Rounding) -> None:
    network = networks.build("squeezenet1_1", {"input_size": 33, "width": 0.1, "classes": 7})
    weights = random_weights(network, 1)
    images = np.random.default_rng(2).integers(-99, 99, (5, 3, 33, 33)).astype(np.float32)
    options = schemes.Options(frac_act=1, rounding=rounding, seed=9)
    plan = schemes.find("uniform").plan(network, weights, None, options)
    integer = quantize_weights(network, weights, plan)
    whole = forward(network, integer, plan, images)
    parts = [
        forward(network, integer, plan, images[i : i + 2], run=Run(first_image=i))
        for i in range(0, 5, 2)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    # buffers are reused: a second run, other images in between, gives the same
    np.testing.assert_array_equal(forward(network, integer, plan, images), whole)


def test_images_of_another_shape_are_refused() -> None:
    network = networks.build("vgg16", {"input_size": 32, "width": 0.05, "hidden": 4})
    weights = random_weights(network, 0)
    with pytest.raises(ShapeError, match=r"images of shape \(1, 3, 31, 32\); expected \(N, "):
        forward(network, weights, None, np.zeros((1, 3, 31, 32), np.float32))
    plan = schemes.find("uniform").plan(network, weights, None, schemes.Options(frac_act=0))
    integer = quantize_weights(network, weights, plan)
    with pytest.raises(OptionError, match="integer weights without a plan"):
        forward(network, integer, None, np.zeros((1, 3, 32, 32), np.float32))


FLOAT_NETWORKS = [
    ("alexnet", {"input_size": 67, "width": 0.1, "hidden": 20}),
    ("squeezenet1_0", {"input_size": 45, "width": 0.2, "classes": 11}),
    ("vgg16", {"input_size": 32, "width": 0.1, "hidden": 9}),
]


@pytest.mark.parametrize(("name", "sizes"), FLOAT_NETWORKS, ids=str)
def test_float_kernels_equal_float_oracle(name: str, sizes: dict[str, Any]) -> None:
    network = networks.build(name, sizes)
    weights = random_weights(network, 5)
    images = np.random.default_rng(6).normal(0, 50, (2, *network.input_shape)).astype(np.float32)

    def tensors(ops: ModuleType, fused: bool = True) -> dict[str, np.ndarray]:
        seen: dict[str, np.ndarray] = {}
        run = Run(
            lambda node, array: seen.update({node.name if node else "data": array}), fused=fused
        )
        result = forward(network, weights, None, images, ops, run)
        return {**seen, "result": result}

    wanted = tensors(oracle)
    for got in (tensors(kernels), tensors(kernels), tensors(kernels, fused=False)):
        for key, array in got.items():
            scale = np.abs(wanted[key]).max()
            np.testing.assert_allclose(array, wanted[key], rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("under", ["float", "uniform", "tensorflow"])
def test_part_of_a_network(under: str) -> None:
    """Any tensor is the same whether what comes after it is computed or not."""
    network = crossing()
    weights, images = uneven(network, 3), pixels(network, 2, 4)
    options = {"mode": "eightbit"} if under == "tensorflow" else {}
    plan = None if under == "float" else planned(network, weights, under, **options)
    whole: dict[str, np.ndarray] = {}

    def note(node: Node | None, tensor: Any) -> None:
        tensor = getattr(tensor, "tensor", tensor)
        values = tensor if isinstance(tensor, np.ndarray) else tensor.values()
        whole[node.name if node else "data"] = values

    forward(network, weights, plan, images, run=Run(note, fused=False))
    computed: list[str] = []
    for last in network.shapes:
        for fused in (False, True):
            run = Run(lambda node, _: computed.append(node.name if node else "data"), until=last)
            got = forward(network, weights, plan, images, run=replace(run, fused=fused))
            np.testing.assert_allclose(got, whole[last], rtol=1e-4, atol=1e-3)
            if under == "uniform":
                np.testing.assert_array_equal(got, whole[last])
        after = list(network.shapes)[list(network.shapes).index(last) + 1 :]
        assert not set(after) & set(computed)
    with pytest.raises(OptionError, match="unknown layer 'fc9'; expected one of data, joined"):
        forward(network, weights, plan, images, run=Run(until="fc9"))


def test_float_residual_network() -> None:
    network = residual()
    weights = random_weights(network, 3)
    images = np.random.default_rng(4).normal(0, 9, (2, 3, 9, 8)).astype(np.float32)
    wanted = forward(network, weights, None, images, oracle)
    np.testing.assert_allclose(forward(network, weights, None, images), wanted, rtol=1e-4)


def nested() -> Network:
    """A concatenation of a concatenation, one with an LRN of its own input, and a wide stride."""

    def pair(name: str, source: str, channels: int) -> list[Node]:
        conv = Conv(channels, (3, 3), pads=(1, 1, 1, 1))
        return [Node(name, conv, (source,)), Node(f"{name}_relu", ReLU(), (name,))]

    nodes = (
        *pair("a", "data", 5),
        *pair("b", "a_relu", 7),
        *pair("c", "a_relu", 18),
        *pair("d", "a_relu", 3),
        Node("inner", Concat(), ("b_relu", "c_relu")),
        Node("outer", Concat(), ("d_relu", "inner")),
        *pair("e", "outer", 6),
        Node("norm", LRN(3), ("e_relu",)),
        Node("both", Concat(), ("e_relu", "norm")),
        Node("last", Conv(4, (2, 2), (3, 2)), ("both",)),
    )
    return Network("nested", (3, 9, 8), nodes)


@pytest.mark.parametrize("scheme", ["uniform", "enq"])
def test_nested_concatenations(scheme: str) -> None:
    network = nested()
    weights = random_weights(network, 3)
    images = np.random.default_rng(4).integers(-99, 99, (2, 3, 9, 8)).astype(np.float32)
    chosen = schemes.Options(frac_act=2, qm="global")
    plan = schemes.find(scheme).plan(network, weights, None, chosen)
    assert_all_ways_agree(network, weights, plan, images)
    wanted = forward(network, weights, None, images, oracle)
    np.testing.assert_allclose(forward(network, weights, None, images), wanted, rtol=1e-4)


def test_threads_may_share_weights() -> None:
    network = networks.build("squeezenet1_1", {"input_size": 33, "width": 0.1, "classes": 7})
    weights = random_weights(network, 1)
    images = np.random.default_rng(2).integers(-99, 99, (6, 3, 33, 33)).astype(np.float32)
    plan = schemes.find("uniform").plan(network, weights, None, schemes.Options(frac_act=1))
    integer = quantize_weights(network, weights, plan)
    wanted = forward(network, integer, plan, images)
    with ThreadPoolExecutor(3) as pool:
        got = list(
            pool.map(lambda i: forward(network, integer, plan, images[i % 6 :][:1]), range(24))
        )
    for i, each in enumerate(got):
        np.testing.assert_array_equal(each[0], wanted[i % 6])


def test_what_does_not_belong_together_is_refused() -> None:
    network = networks.build("squeezenet1_1", {"input_size": 33, "width": 0.1, "classes": 7})
    weights = random_weights(network, 1)
    make = schemes.find("uniform").plan
    plans = [make(network, weights, None, schemes.Options(frac_act=f)) for f in (1, 2)]
    integer = quantize_weights(network, weights, plans[0])
    images = np.zeros((1, 3, 33, 33), np.float32)
    with pytest.raises(OptionError, match="integer weights of another plan"):
        forward(network, integer, plans[1], images)
    with pytest.raises(ShapeError, match="a batch of 0 images; expected 1 or more"):
        forward(network, integer, plans[0], images[:0])


def test_weights_of_32_unsigned_bits() -> None:
    """By hand: oracle and kernels read the same codes, so neither would see them wrap."""
    network = Network("one", (1, 1, 1), (Node("fc", Dense(1), ("data",)),))
    weights = Weights({"fc": np.array([[3e9]], np.float32)}, {"fc": np.zeros(1, np.float32)})
    plan = schemes.find("uniform").plan(network, weights, None, schemes.Options(frac_act=0))
    layer = replace(plan.layers["fc"], weight=FixedPointFormat(32, 0, signed=False))
    plan = replace(plan, layers={"fc": layer})
    image = np.full((1, 1, 1, 1), 2, np.float32)
    for fused in (False, True):
        assert forward(network, weights, plan, image, run=Run(fused=fused)).tolist() == [[6e9]]
