"""Additions from bytes to bytes: every rounding, format, storage code and place in a map."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from refq.engine.forward import forward
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels import adding
from refq.networks import Network, Node, chain
from refq.networks.layers import Add, Concat, Conv, MaxPool, ReLU
from refq.plans.plan import Plan
from tests.agreement import assert_all_ways_agree
from tests.small_networks import pixels, planned, uneven


def residual() -> Network:
    """Sums with and without a ReLU, of other sums, of three operands, of a tensor and itself, and
    joined with other channels, so that pixels do not lie side by side."""
    wide: dict[str, Any] = {"pads": (1, 1, 1, 1)}
    nodes = [
        *chain("data", ("stem", Conv(5, (3, 3), **wide)), ("stem_relu", ReLU())),
        *chain("stem_relu", ("one", Conv(5, (1, 1)))),
        *chain("stem_relu", ("two", Conv(5, (3, 3), **wide)), ("two_relu", ReLU())),
        Node("first", Add(), ("one", "two_relu")),
        Node("first_relu", ReLU(), ("first",)),
        Node("three", Conv(5, (1, 1)), ("first_relu",)),
        Node("second", Add(), ("three", "first_relu")),
        Node("pooled", MaxPool((2, 1), (1, 1), (1, 0, 0, 0)), ("second",)),
        Node("twice", Add(), ("pooled", "pooled")),
        Node("twice_relu", ReLU(), ("twice",)),
        Node("four", Conv(3, (2, 2)), ("second",)),
        Node("five", Conv(3, (2, 2)), ("twice_relu",)),
        Node("third", Add(), ("four", "five")),
        Node("third_relu", ReLU(), ("third",)),
        Node("six", Conv(4, (2, 2)), ("first_relu",)),
        Node("six_relu", ReLU(), ("six",)),
        Node("joined", Concat(), ("six_relu", "third_relu")),
        Node("last", Conv(2, (3, 1)), ("joined",)),
    ]
    return Network("residual", (3, 6, 7), tuple(nodes), {})


NETWORK = residual()
WEIGHTS = uneven(NETWORK, 8)
IMAGES = pixels(NETWORK, 2, 9)


def added(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> int:
    """How many additions are one pass."""
    calls: list[object] = []
    own = adding.add_maps

    def counted(*arguments: Any) -> int:
        calls.append(arguments)
        return own(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(adding, "add_maps", counted)
        forward(NETWORK, WEIGHTS, plan, IMAGES)
    return len(calls)


@pytest.mark.parametrize("overflow", [Overflow.SAT, Overflow.SAT_SYM], ids=str)
@pytest.mark.parametrize("rounding", [mode for mode in Rounding if mode.value != "stochastic"])
def test_every_rounding(
    rounding: Rounding, overflow: Overflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(NETWORK, WEIGHTS, "hybrid", rounding=rounding, overflow=overflow, bits_act=7)
    assert_all_ways_agree(NETWORK, WEIGHTS, plan, IMAGES)
    assert added(monkeypatch, plan) == 4


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("uniform", {"bits_act": 8}),
        ("uniform", {"bits_act": 11}),
        ("clnq", {"bits_act": 5}),
        ("enq", {"bits_act": 3}),
        ("enq", {"bits_act": 4, "bits_wt": 9}),
        ("knq", {"bits_act": 3}),
        ("hybrid", {"bits_act": 16}),
        ("hybrid", {"bits_act": 2}),
    ],
    ids=str,
)
def test_every_format(
    scheme: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(NETWORK, WEIGHTS, scheme, **options)
    assert_all_ways_agree(NETWORK, WEIGHTS, plan, IMAGES)
    assert added(monkeypatch, plan) == 4


@pytest.mark.parametrize(
    ("name", "fmt", "passes"),
    [
        ("one", FixedPointFormat(9, 30), 4),  # far below the other operand
        ("one", FixedPointFormat(9, -7), 3),  # the sum has fewer fraction bits than are stored
        ("one", FixedPointFormat(17, 3), 3),  # beyond bytes
        ("first_relu", FixedPointFormat(8, 12, signed=False), 3),  # finer than the sum
        ("first_relu", FixedPointFormat(8, -40, signed=False), 4),
    ],
    ids=str,
)
def test_formats_far_apart(
    name: str, fmt: FixedPointFormat, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(NETWORK, WEIGHTS, "hybrid", bits_act=8)
    entry = replace(plan.tensors[name], format=fmt)
    plan = replace(plan, tensors={**plan.tensors, name: entry})
    assert_all_ways_agree(NETWORK, WEIGHTS, plan, IMAGES)
    assert added(monkeypatch, plan) == passes


@pytest.mark.parametrize(
    "options",
    [
        {"rounding": Rounding.STOCHASTIC},
        {"overflow": Overflow.WRAP, "bits_act": 6},
        {"data_granularity": "map"},
    ],
    ids=str,
)
def test_what_stays_on_plain_arrays(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(NETWORK, WEIGHTS, "hybrid", **options)
    assert_all_ways_agree(NETWORK, WEIGHTS, plan, IMAGES)
    assert added(monkeypatch, plan) == 0
