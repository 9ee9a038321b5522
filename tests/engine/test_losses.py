"""Saturated and vanished coefficients are counted, in every format that a plan may have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refq import kernels, oracle
from refq.engine.clustered import quantized_values
from refq.engine.forward import quantize_weights
from refq.engine.losses import Losses
from refq.engine.simulated import rounded_weights
from refq.formats.fixed import Accumulator, FixedPointFormat, FormatGrid
from refq.formats.floats import Affine, AffineGrid, Buckets, MiniFloat, PowerOfTwo
from refq.networks import Network, Node
from refq.networks.layers import Conv, ReLU
from refq.networks.weights import Weights
from refq.plans.plan import FLOAT, Clustered, LayerPlan, Plan, TensorPlan

NETWORK = Network(
    "one", (3, 4, 5), (Node("only", Conv(4, (1, 2)), ("data",)), Node("end", ReLU(), ("only",)))
)
# 4 kernels of 6: two of 4 to 9, one of 1/64 and less, one of zeros
WEIGHT = np.zeros((4, 3, 1, 2), np.float32)
WEIGHT[0] = np.arange(4, 10).reshape(3, 1, 2)
WEIGHT[1] = -WEIGHT[0]
WEIGHT[2] = 2.0**-6
WEIGHT[2, 0, 0, 0] = 1e-40
BIAS = np.array([100.0, 0.25, 0.0, -3.0], np.float32)
WEIGHTS = Weights({"only": WEIGHT}, {"only": BIAS})
DATA = TensorPlan(FixedPointFormat(9, 0))
FIXED = FixedPointFormat(4, 0)


def plan(layer: LayerPlan, arithmetic: str = "integer") -> Plan:
    tensors = {"data": DATA, "only": DATA, "end": DATA}
    if arithmetic == FLOAT:
        tensors = {}
    return Plan("one", {}, "uniform", tensors, {"only": layer}, arithmetic=arithmetic)


def integers(layer: LayerPlan) -> Losses:
    """Of a plan of integers; kernels and oracle count alike."""
    one, two = (
        quantize_weights(NETWORK, WEIGHTS, plan(layer), ops).layers["only"].losses
        for ops in (kernels, oracle)
    )
    assert one == two
    return one


def simulated(layer: LayerPlan) -> Losses:
    one, two = (
        rounded_weights(NETWORK, WEIGHTS, plan(layer, FLOAT), ops).losses["only"]
        for ops in (kernels, oracle)
    )
    assert one == two
    return one


def test_one_format() -> None:
    """4 bits hold -8 to 7: of each large kernel 8 and 9, and -9, are beyond."""
    lost = integers(LayerPlan(FIXED, FixedPointFormat(8, 2)))
    assert lost == Losses(
        outputs=4,
        weights=24,
        saturated_weights=3,
        kernels=3,
        empty_kernels=1,
        saturated_biases=1,
        biases=3,
        empty_biases=0,
    )
    assert simulated(LayerPlan(FIXED, FixedPointFormat(8, 2))) == lost


def test_formats_of_kernels_and_filters() -> None:
    grid = FormatGrid(np.array([4, 5, 4, 4]), np.array([0, 0, 9, 0]))
    lost = integers(LayerPlan(grid, FixedPointFormat(8, -3)))
    # kernel 1 has 5 bits, kernel 2 2**-6 as 8 of 2**-9: five beyond, one gone, none empty
    assert (lost.saturated_weights, lost.empty_kernels) == (2 + 5, 0)
    # steps of 8: 100 is 12.5 of them, 0.25 and -3 none
    assert (lost.saturated_biases, lost.biases, lost.empty_biases) == (0, 3, 2)
    assert simulated(LayerPlan(grid, FixedPointFormat(8, -3))) == lost


def test_base_kernels_and_residuals_count_both() -> None:
    """The mean of 4 and 1/64, ..., is within a base of 4 bits; what is lacking is not within 2."""
    clusters = Clustered(FIXED, FixedPointFormat(2, 0), (0, 1, 0, 1))
    lost = integers(LayerPlan(clusters, FixedPointFormat(12, 2)))
    assert lost.weights == 24 + 12
    rest = (
        WEIGHT
        - quantized_values(
            np.stack([WEIGHT[[0, 2]].mean(axis=0), WEIGHT[[1, 3]].mean(axis=0)]), FIXED
        )[[0, 1, 0, 1]]
    )
    codes = np.rint(rest.astype(np.float64))
    assert lost.saturated_weights == int(((codes < -2) | (codes > 1)).sum()) > 0
    assert simulated(LayerPlan(clusters, FixedPointFormat(12, 2))) == lost


@pytest.mark.parametrize(
    ("fmt", "saturated", "empty"),
    [
        (Affine(4, 1.0, -8), 3, 1),
        (AffineGrid(4, np.zeros(4), np.array([1.0, 2.0, 1.0, 1.0])), 2, 1),
        (Buckets(4, -7.0, 7.0), 4, 0),
        (MiniFloat(2, 1), 4, 1),  # below 8, and from 0.5
        (PowerOfTwo(-4, 2), 8, 0),  # to 4, and nothing is zero: 6 and more round to 8
        (None, 0, 0),
    ],
    ids=["affine", "affine-grid", "buckets", "minifloat", "power-of-two", "float32"],
)
def test_formats_of_simulations(fmt: object, saturated: int, empty: int) -> None:
    lost = simulated(LayerPlan(fmt, None))  # type: ignore[arg-type]
    assert (lost.saturated_weights, lost.empty_kernels) == (saturated, empty)
    assert (lost.saturated_biases, lost.empty_biases) == (0, 0)


def test_biases_beyond_the_accumulator() -> None:
    """8 bits with 2 fraction bits hold 31.75."""
    layer = LayerPlan(FIXED, FixedPointFormat(12, 2), Accumulator(8))
    assert integers(layer).beyond == 1
    assert integers(replace(layer, accumulator=Accumulator(10))).beyond == 0
    # of 6 bits and no fraction bits 31
    assert integers(replace(layer, accumulator=Accumulator(6, frac_bits=0))).beyond == 1
