"""Float32 layers on channels-last maps equal the definition, and stay on maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refq import oracle
from refq.engine.float_steps import FloatSteps
from refq.engine.forward import forward
from refq.networks import Network, Node, chain
from refq.networks.graph import INPUT
from refq.networks.layers import Add, Clip, Conv, ReLU
from tests.small_networks import pixels, uneven


def network() -> Network:
    """Depthwise convolutions with weights in registers and without, tails of channels, clips of
    sums, an addition that is clipped and one that is rectified."""
    around: Any = {"pads": (1, 1, 1, 1), "group": 19}
    nodes = (
        *chain(INPUT, ("stem", Conv(19, (2, 3))), ("stem_clip", Clip(0.0, 6.0))),
        *chain("stem_clip", ("nine", Conv(19, (3, 3), **around)), ("nine_clip", Clip(-4.0, None))),
        Node("twelve", Conv(19, (4, 3), (1, 1), (3, 2, 3, 2), 19, (2, 2)), ("stem_clip",)),
        *chain("twelve", ("twelve_clip", Clip(None, 2.5))),
        Node("sum", Add(), ("nine_clip", "twelve_clip")),
        *chain("sum", ("sum_clip", Clip(-1.0, 3.0)), ("apart", Conv(19, (3, 3), (2, 3), **around))),
        Node("twice", Add(), ("apart", "apart")),
        *chain("twice", ("twice_relu", ReLU()), ("last", Conv(3, (2, 2)))),
    )
    return Network("floats", (2, 9, 10), nodes, {})


def test_equals_the_definition_on_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, images = uneven(network(), 3), pixels(network(), 5, 3) / 16
    wanted = forward(network(), weights, None, images, oracle)
    plain = FloatSteps.__call__

    def refused(self: FloatSteps, node: Node, inputs: object) -> object:
        raise AssertionError(node.name)

    monkeypatch.setattr(FloatSteps, "__call__", refused)
    got = forward(network(), weights, None, images)
    monkeypatch.setattr(FloatSteps, "__call__", plain)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6 * np.abs(wanted).max())
