"""Activations of both signs under every scheme: formats with a sign, and ENQ's and KNQ's codes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from refq import schemes
from refq.engine.forward import forward
from refq.errors import FormatError, OptionError
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.kernels import adding, fused
from refq.networks.points import storage_points
from refq.plans import check
from refq.plans import plan as plans
from refq.plans.plan import FLOAT, Plan, TensorPlan
from refq.search.space import searched_layers, storable_widths
from tests.agreement import assert_all_ways_agree, every_tensor
from tests.small_networks import bottleneck, pixels, planned, uneven

NETWORK = bottleneck()
WEIGHTS = uneven(NETWORK, 8)
IMAGES = pixels(NETWORK, 2, 9)
POINTS = {point.name: point for point in storage_points(NETWORK)}
SIGNED = ("narrow", "back", "sum", "pooled", "positive", "joined", "mean", "short")
PLAIN = ("stem_relu", "wide_relu")


def test_the_network_has_what_it_is_for() -> None:
    signs = {name: point.signed for point in POINTS.values() for name in point.tensors}
    assert [name for name, signed in signs.items() if signed] == ["data", *SIGNED]
    assert {"wide", "wide_relu", "last"} >= {point.width_of for point in POINTS.values()} - {
        "stem",
        "narrow",
        "back",
    }


@pytest.mark.parametrize("scheme", sorted(schemes.known()))
def test_every_scheme(scheme: str) -> None:
    """Its own default width, of which one bit is the sign, wherever values can be negative."""
    if scheme == "float":
        return
    plan = planned(NETWORK, WEIGHTS, scheme)
    check.check(plan, NETWORK)
    if plan.arithmetic == FLOAT:
        assert np.isfinite(forward(NETWORK, WEIGHTS, plan, IMAGES)).all()
        return
    default = schemes.find(scheme).DEFAULT_BITS
    for name in SIGNED:
        entry = plan.tensors[name]
        assert entry.fixed.signed and entry.stored_bits == default, name
    assert_all_ways_agree(NETWORK, WEIGHTS, plan, IMAGES)
    values = every_tensor(NETWORK, WEIGHTS, plan, IMAGES)
    for name in ("narrow", "back", "sum", "mean"):
        assert values[name][0].min() < 0 < values[name][0].max(), name


def ways() -> list[tuple[str, dict[str, Any]]]:
    """Every rounding with each rule, and overflows in turn."""
    found: list[tuple[str, dict[str, Any]]] = []
    for scheme in ("enq", "knq"):
        for number, rounding in enumerate(Rounding):
            overflow, assign = list(Overflow)[number % 3], ("nearest", "floor")[number % 2]
            options = {"rounding": rounding, "overflow": overflow, "assign": assign}
            found.append((scheme, {**options, "bits_act": 3 + number % 3}))
    wide = {"bits_act": 7, "qm": "global", "frac_act": 3}
    return [*found, ("enq", wide), ("knq", {"bits_act": 4, "frac_act": 3, "saturate": False})]


@pytest.mark.parametrize(("scheme", "options"), ways(), ids=str)
def test_all_ways_agree(scheme: str, options: dict[str, Any]) -> None:
    plan = planned(NETWORK, WEIGHTS, scheme, **options)
    assert all(plan.tensors[name].code for name in SIGNED)
    assert_all_ways_agree(NETWORK, WEIGHTS, plan, IMAGES)
    seen = every_tensor(NETWORK, WEIGHTS, plan, IMAGES)
    for name in (*SIGNED, *PLAIN):
        code = plan.tensors[name].code
        assert code is not None and set(np.unique(seen[name][0])) <= {0, *code.levels}, name
    # a ReLU of what is stored makes levels of levels
    np.testing.assert_array_equal(seen["positive"][0], np.maximum(seen["pooled"][0], 0))


def steps(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> tuple[int, int]:
    """(weighted layers, additions) that end in codes in one pass."""
    calls = {"convolve": 0, "add_maps": 0}
    for module, name in ((fused, "convolve"), (adding, "add_maps")):
        own = getattr(module, name)

        def counted(*arguments: Any, own: Any = own, name: str = name) -> Any:
            calls[name] += 1
            return own(*arguments)

        monkeypatch.setattr(module, name, counted)
    forward(NETWORK, WEIGHTS, plan, IMAGES)
    return calls["convolve"], calls["add_maps"]


@pytest.mark.parametrize("scheme", ["enq", "knq"])
def test_fused_kernels_store_signed_codes(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(NETWORK, WEIGHTS, scheme, bits_act=4)
    assert steps(monkeypatch, plan) == (4, 1)


def test_shifts_that_end_below_are_computed_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed codes that do not keep the upper bits have a lower end, which no kernel has."""
    plan = planned(NETWORK, WEIGHTS, "enq", bits_act=4)
    narrow, fmt = plan.tensors["narrow"], plan.tensors["narrow"].fixed
    short = replace(narrow, code=ShiftCode(3, fmt.bits - 6, True, signed=True))
    plan = replace(plan, tensors={**plan.tensors, "narrow": short})
    check.check(plan, NETWORK)
    assert_all_ways_agree(NETWORK, WEIGHTS, plan, IMAGES)
    seen = every_tensor(NETWORK, WEIGHTS, plan, IMAGES)["narrow"][0]
    assert short.code is not None and fmt.min_code < seen.min() == short.code.levels[0]
    assert steps(monkeypatch, plan) == (3, 1)


def test_enq_keeps_the_upper_bits() -> None:
    for assign in ("nearest", "floor"):
        plan = planned(NETWORK, WEIGHTS, "enq", bits_act=4, assign=assign)
        q_m = {POINTS[name].makers[0]: bits for name, bits in plan.options["q_m"].items()}
        for name in ("narrow", "back", "sum", "mean"):
            entry, bits = plan.tensors[name], q_m[name]
            assert entry.format.bits == bits and 5 < bits <= 12
            assert entry.code == ShiftCode(4, bits - 4, assign == "nearest", signed=True)
            step = 1 << (bits - 4)
            assert list(entry.code.levels) == [k * step for k in range(-8, 8)]


def test_knq_has_a_zero_and_both_signs() -> None:
    plan = planned(NETWORK, WEIGHTS, "knq", bits_act=4)
    for name in ("narrow", "back", "sum", "mean"):
        code = plan.tensors[name].code
        assert isinstance(code, Codebook) and len(code.values) == 16
        assert code.values[0] < 0 < code.values[-1] and code.values.count(0) == 1


def test_one_bit_is_refused() -> None:
    for scheme in ("enq", "knq"):
        for options in ({"bits_act": 1}, {"bits_act": 4, "widths": {"wide": 1}}):
            said = "1 bit at wide, whose values can be negative; expected 2 or more bits for wide"
            with pytest.raises(OptionError, match=said):
                planned(NETWORK, WEIGHTS, scheme, **options)
        few = {"wide": 2, "sum.back": 2, "last": 2, "mean": 2}
        plan = planned(NETWORK, WEIGHTS, scheme, bits_act=1, widths=few)
        assert plan.tensors["stem_relu"].stored_bits == 1
        assert plan.tensors["narrow"].stored_bits == 2
        assert_all_ways_agree(NETWORK, WEIGHTS, plan, IMAGES)


def test_searches_begin_at_two_bits() -> None:
    layers = searched_layers(NETWORK)
    assert storable_widths(NETWORK, layers, range(1, 9)) == range(2, 9)
    assert storable_widths(NETWORK, ("all",), range(1, 9)) == range(2, 9)
    assert storable_widths(NETWORK, layers, range(3, 9)) == range(3, 9)
    plain = [point.width_of for point in POINTS.values() if not point.signed]
    assert storable_widths(NETWORK, plain[:1], range(1, 9)) == range(1, 9)
    with pytest.raises(OptionError, match="widths of 1 bit for signed values; expected 2 or more"):
        storable_widths(NETWORK, layers, range(1, 2))


def test_plans_in_files() -> None:
    for scheme in ("enq", "knq"):
        plan = planned(NETWORK, WEIGHTS, scheme, bits_act=4)
        written = json.loads(json.dumps(plan.to_json()))
        assert plans.from_json(written) == plan
        code = written["tensors"]["wide_relu"]["code"]
        # as files were before codes had signs
        assert code.pop("signed", False) is False
        assert plans.from_json(written) == plan
    written["tensors"]["narrow"]["code"] = {"bits": 3, "drop": 2, "nearest": True, "signed": 1}
    with pytest.raises(OptionError, match="signed is 1, not true or false"):
        plans.from_json(written)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ShiftCode(1, 3, True, signed=True), "1 bit kept of signed codes; expected 2"),
        (
            lambda: TensorPlan(FixedPointFormat(7, 0), ShiftCode(3, 4, True)),
            "a shift of unsigned codes on fxp-s7/0.*; expected a format that is unsigned",
        ),
        (
            lambda: TensorPlan(FixedPointFormat(7, 0, False), ShiftCode(3, 4, True, True)),
            "a shift of signed codes on fxp-u7/0.*; expected a format that is signed",
        ),
        (
            lambda: TensorPlan(FixedPointFormat(6, 0), ShiftCode(3, 4, True, True)),
            "3 bits kept after 4 of fxp-s6/0",
        ),
    ],
)
def test_bad_signed_codes(make: Any, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        make()


def test_the_image_has_no_code() -> None:
    plan = planned(NETWORK, WEIGHTS, "enq")
    image = replace(plan.tensors["data"], code=ShiftCode(4, 5, True, signed=True))
    with pytest.raises(OptionError, match="a plan that stores the image by a shift; expected its"):
        check.check(replace(plan, tensors={**plan.tensors, "data": image}), NETWORK)
