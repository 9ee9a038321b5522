"""Functions of stored values on maps: every way gives the same codes, and counts the same."""

from __future__ import annotations

from typing import Any

import pytest

from refq.kernels import lookup
from refq.networks import Network, chain
from refq.networks.layers import Conv, Dense, Function, ReLU
from tests.agreement import assert_all_ways_agree
from tests.small_networks import pixels, planned, uneven

# grows beyond formats that are calibrated on few images, and is negative between its zeros
CUBIC = Function(("sub", ("pow", ("mul", "x", 0.05), 3.0), ("mul", "x", 0.1)))
SIGMOID = Function(("sigmoid", ("mul", "x", 0.03)))


def network() -> Network:
    steps = [
        ("stem", Conv(19, (3, 2))),
        ("cubic", CUBIC),
        ("next", Conv(5, (1, 1))),
        ("next_relu", ReLU()),
        ("sigmoid", SIGMOID),
        ("last", Dense(3)),
    ]
    return Network("tables", (2, 7, 6), tuple(chain("data", *steps)))


@pytest.mark.parametrize(
    ("scheme", "options", "tables"),
    [
        ("uniform", {"bits_act": 6}, 2),
        ("uniform", {"bits_act": 12}, 2),
        ("enq", {"bits_act": 3}, 2),
        ("knq", {"bits_act": 3}, 2),
        ("uniform", {"bits_act": 18}, 0),
    ],
    ids=str,
)
def test_all_ways_agree(
    scheme: str, options: dict[str, Any], tables: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, look_up, made = uneven(network(), 3), lookup.look_up, []

    def watched(*arguments: Any) -> int:
        made.append(look_up(*arguments))
        return made[-1]

    monkeypatch.setattr(lookup, "look_up", watched)
    plan = planned(network(), weights, scheme, **options)
    assert_all_ways_agree(network(), weights, plan, pixels(network(), 9, 30))
    assert len(made) == tables
