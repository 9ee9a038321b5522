"""Whole networks computed in every way: oracle, plain kernels, fused kernels."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from refq import kernels, oracle
from refq.data import batches, open_dataset
from refq.data import preprocessing as preparing
from refq.engine.forward import Run, Tensor, forward
from refq.measure.calibration import gather
from refq.measure.streaming import Batches, Source
from refq.networks import Network, Node, bundled
from refq.networks.weights import Weights, load
from refq.plans.plan import Plan
from refq.schemes.statistics import Statistics, Wanted


def every_tensor(
    network: Network,
    weights: Weights,
    plan: Plan,
    images: np.ndarray,
    ops: ModuleType = kernels,
    **how: Any,
) -> dict[str, tuple[Any, ...]]:
    """{name: (codes, fraction bits, outside, overflows, sums)}, and the output under "result"."""
    seen: dict[str, Tensor] = {}

    def note(node: Node | None, tensor: Any) -> None:
        name = node.name if node else "data"
        # kept as it came: a tensor stays what it was when the network goes on
        seen[name] = tensor

    result = forward(network, weights, plan, images, ops, Run(note, **how))
    return {
        name: (tensor.codes, tensor.frac_bits, tensor.outside, tensor.overflows, tensor.sums)
        for name, tensor in seen.items()
    } | {"result": (result, 0, 0, 0, None)}


def assert_all_ways_agree(
    network: Network, weights: Weights, plan: Plan, images: np.ndarray
) -> None:
    wanted = every_tensor(network, weights, plan, images, ops=oracle)
    plain = every_tensor(network, weights, plan, images, fused=False)
    quick = every_tensor(network, weights, plan, images)
    assert set(plain) == set(wanted) and set(plan.tensors) <= set(quick)
    for got in (plain, quick):
        for name, (codes, *rest) in got.items():
            np.testing.assert_array_equal(codes, wanted[name][0], err_msg=name)
            assert rest == list(wanted[name][1:]), name


def bundled_case(name: str) -> tuple[Network, Weights, np.ndarray, Statistics]:
    network, weights = load(bundled.path(f"{name}.h5"), name)
    statistics = gather(Wanted(histograms=True), bundled_source(network, weights))
    assert statistics is not None
    images, _ = next(iter(bundled_batches(network, weights, 70, 72)))
    return network, weights, images, statistics


def bundled_source(network: Network, weights: Weights) -> Source:
    """The images that bundled cases are calibrated on."""
    return Source(network, weights, lambda: bundled_batches(network, weights, 0, 64))


def bundled_batches(network: Network, weights: Weights, start: int, stop: int) -> Batches:
    preprocessing = preparing.from_json(weights.metadata["preprocessing"])
    dataset = open_dataset("bundled", network.input_shape, "calibration")
    return batches(dataset, preprocessing, 64, start, stop)
