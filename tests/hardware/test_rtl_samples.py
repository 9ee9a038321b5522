"""Sums that a MAC does again are those of the network."""

from __future__ import annotations

import numpy as np
import pytest

from refq.engine.forward import Run, forward, quantize_weights
from refq.hardware.rtl import samples, vectors
from refq.networks import Node
from refq.networks.layers import Conv, ConvTranspose, Dense, Layer
from refq.networks.weights import random_weights
from tests.layer_cases import network_of
from tests.small_networks import pixels, planned


@pytest.mark.parametrize(
    "layer",
    [
        Conv(4, (3, 2), (2, 1), (1, 0, 2, 1), 2, dilations=(1, 2)),
        ConvTranspose(4, (3, 2), (2, 3), (1, 0, 0, 1), 2, (1, 2), (1, 0)),
        ConvTranspose(6, (2, 3), (3, 1), (0, 1, 1, 0)),
        Dense(5),
    ],
    ids=str,
)
def test_sums_are_the_networks(layer: Layer) -> None:
    network = network_of(layer, [(6, 4, 5)], Node("end", Dense(3), ("made",)))
    weights, images = random_weights(network, 1), pixels(network, 1, 3)
    plan = planned(network, weights, "uniform")
    coded = quantize_weights(network, weights, plan)
    sums: dict[str, np.ndarray] = {}

    def note(layer: str, stage: str, codes: np.ndarray) -> None:
        if stage == "sum":
            sums[layer] = codes[0]

    forward(network, coded, plan, images, run=Run(note=note, fused=False))
    dots = samples.sampled(network, coded, plan, images, ["made"])
    assert len(dots) > 1
    for dot in dots:
        made = sums["made"].reshape(len(sums["made"]), -1)
        columns = sums["made"].shape[2] if sums["made"].ndim == 3 else 1
        _, row, column = dot.place
        assert vectors.summed(dot)[0] == made[dot.place[0], row * columns + column]
