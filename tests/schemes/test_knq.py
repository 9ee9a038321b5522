"""K-means quantization: codebooks, what chooses an entry, how they are made."""

from __future__ import annotations

import numpy as np
import pytest

from refq import kernels, networks, schemes
from refq.errors import FormatError, OptionError
from refq.formats.codes import Codebook
from refq.formats.fixed import FixedPointFormat, Rounding
from refq.measure.calibration import code_counts
from refq.networks.points import storage_points
from refq.networks.weights import random_weights
from refq.plans import plan as plans
from refq.plans.plan import TensorPlan
from refq.schemes import Options, knq
from refq.schemes.statistics import Statistics

VALUES = (2, 2, 5, 8, 8, 9, 15)
# as calibration counts codes of an unsigned point
COUNTED = FixedPointFormat(16, 1, signed=False)


def stored(code: Codebook, codes: np.ndarray) -> np.ndarray:
    index = kernels.codebook_encode(codes, np.array(code.thresholds))
    return kernels.codebook_decode(index, np.array(code.values, np.int32))


def test_floor_is_the_papers_rule() -> None:
    """x becomes k where d_k <= x < d_(k+1); below d_0 the first, from the last on the last."""
    code = Codebook(3, VALUES, nearest=False)
    for x in range(20):
        below = [value for value in VALUES if value <= x]
        assert stored(code, np.array([x])).tolist() == [max(below, default=2)]


def test_nearest_is_nearest_and_ties_go_up() -> None:
    code = Codebook(3, VALUES, nearest=True)
    for x in range(20):
        wanted = max(VALUES, key=lambda value: (-abs(value - x), value))
        assert stored(code, np.array([x])).tolist() == [wanted]


@pytest.mark.parametrize("nearest", [True, False])
def test_stored_values_keep_their_index(nearest: bool) -> None:
    """So that stored codes can be counted from decoded ones; equal values count as one."""
    code = Codebook(3, tuple(sorted(set(VALUES))), nearest)
    index = kernels.codebook_encode(np.arange(20), np.array(code.thresholds))
    again = kernels.codebook_encode(stored(code, np.arange(20)), np.array(code.thresholds))
    np.testing.assert_array_equal(again, index)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Codebook(2, (0, 1, 2, 3, 4), True), "2 bits for a codebook of 5 values"),
        (lambda: Codebook(2, (), True), "a codebook of 0 values"),
        (lambda: Codebook(17, (1,), True), "17 bits for a codebook"),
        (lambda: Codebook(2, (3, 1), True), r"a codebook \[3, 1\]; expected ascending values"),
        (
            lambda: TensorPlan(FixedPointFormat(4, 0, False), Codebook(2, (0, 16), True)),
            "a codebook from 0 to 16; expected 0 to 15",
        ),
        (
            lambda: TensorPlan(FixedPointFormat(5, 0), Codebook(2, (0, 16), True)),
            "a codebook from 0 to 16; expected -16 to 15",
        ),
        (
            lambda: TensorPlan(FixedPointFormat(5, 0), Codebook(2, (-9, 1), True)),
            "a codebook without the level 0 on fxp-s5/0.*; expected 0 among its levels",
        ),
        (
            lambda: TensorPlan(FixedPointFormat(32, 0), Codebook(2, (0, 16), True)),
            "a storage code on fxp-s32/0.*; expected a fixed-point format to 31 bits",
        ),
    ],
)
def test_bad_codebooks(make: object, text: str) -> None:
    with pytest.raises(FormatError, match=text):
        make()  # type: ignore[operator]


def test_thresholds_must_ascend() -> None:
    with pytest.raises(FormatError, match=r"thresholds \[3, 2\]; expected ascending"):
        kernels.codebook_encode(np.arange(3), np.array([3, 2]))
    with pytest.raises(FormatError, match="indices from 0 to 2; expected 0 to 1"):
        kernels.codebook_decode(np.arange(3), np.array([3, 2]))


def counts_of(codes: list[int], bins: int = 16) -> np.ndarray:
    return np.bincount(codes, minlength=bins)


def test_exact_centroids_are_rounded_and_padded() -> None:
    counts = counts_of([0, 0, 0, 3, 4, 4, 11])
    # {0}, {3, 4}, {11}: 11/3 rounds to 4
    assert knq.centroids(counts, 3, Options()) == (0, 4, 11)
    assert knq.centroids(counts, 8, Options()) == (0, 3, 4, 11, 11, 11, 11, 11)
    assert knq.centroids(counts_of([0, 1]), 1, Options()) == (0,)  # half to even


def test_lloyd_starts() -> None:
    counts = counts_of([0] * 90 + [5] * 6 + [6] * 3 + [15])
    linear = Options(kmeans="lloyd", kmeans_iterations=0)
    assert knq.centroids(counts, 4, linear) == (0, 5, 10, 15)
    small = counts_of([0, 0, 4, 8, 8], 16)
    ranged = Options(kmeans="lloyd-range", kmeans_iterations=0)
    assert knq.centroids(small, 3, ranged) == (0, 4, 8)
    settled = Options(kmeans="lloyd")
    # 10 is nearest to nothing and stays where it is
    assert knq.centroids(counts, 4, settled) == (0, 5, 10, 15)
    random = [
        knq.centroids(counts, 4, Options(kmeans="lloyd-random", kmeans_iterations=0, seed=seed))
        for seed in range(200)
    ]
    share = np.mean([value == 0 for drawn in random for value in drawn])
    assert 0.86 < share < 0.94  # activations are drawn, and 90 of 100 are zero
    assert any(drawn[:2] == (0, 0) for drawn in random)  # equal starts stay equal (Table IV)
    assert knq.centroids(counts, 3, Options(kmeans="lloyd++")) in ((0, 5, 15), (0, 5, 6))


def test_values_beyond_are_saturated_first() -> None:
    """The pre-process: everything above M counts as M."""
    counts = np.zeros(1 << 16, np.int64)
    counts[[0, 7, 4095, 4096, 9000]] = 5, 4, 3, 2, 1
    kept = knq.saturated(counts, FixedPointFormat(12, 0, signed=False))
    assert len(kept) == 4096 and kept[[0, 7, 4095]].tolist() == [5, 4, 6]


def test_signed_values_beyond_are_saturated_on_both_sides() -> None:
    counts = np.zeros(1 << 16, np.int64)
    counts[np.array([-9000, -8, -7, 0, 7, 8, 9000]) + (1 << 15)] = 1, 2, 4, 8, 16, 32, 64
    kept = knq.saturated(counts, FixedPointFormat(4, 0))
    assert len(kept) == 16 and kept[[0, 1, 8, 15]].tolist() == [3, 4, 8, 112]
    assert kept.sum() == counts.sum()
    for codes, bits in (([-9, 3], 5), ([-8, 7], 4), ([-5, -3], 4), ([0], 1), ([3, 8], 5)):
        few = np.bincount(np.array(codes) + (1 << 15), minlength=1 << 16)
        assert knq.needed_bits(few, signed=True) == bits
    assert knq.needed_bits(counts_of([5, 12]), signed=False) == 4


def test_zero_is_a_value_where_codes_have_signs() -> None:
    def found(codes: list[int], k: int, **options: object) -> tuple[int, ...]:
        counts = counts_of([code + 8 for code in codes])
        return knq.centroids(counts, k, Options(**options), least=-8)  # type: ignore[arg-type]

    assert found([-7, -7, -2, 5], 3) == (-7, 0, 5)  # in place of the nearest
    assert found([-3, -3, 3, 3], 2) == (0, 3)  # of two the negative one
    assert found([-3, 3, 7], 4) == (-3, 0, 3, 7)  # one more, where there is room
    assert found([-4, -3], 4) == (-4, -3, 0, 0)
    assert found([2, 2, 5, 7], 4) == (0, 2, 5, 7)
    assert found([-6, 0, 0, 6], 3) == (-6, 0, 6)
    assert knq.centroids(counts_of([2, 2, 5, 7]), 3, Options()) == (2, 5, 7)
    none: dict[str, object] = {"kmeans_iterations": 0}
    assert found([-2, 0, 6], 4, kmeans="lloyd", **none) == (-8, -3, 0, 7)
    assert found([-3, 0, 6], 4, kmeans="lloyd-range", **none) == (-3, 0, 3, 6)
    random = found([-3, -3, 6], 4, kmeans="lloyd-random", **none)
    assert set(random) == {-3, 0, 6} or set(random) == {-3, 0}


def make_plan(**options: object) -> tuple[plans.Plan, Statistics, networks.Network]:
    network = networks.build("squeezenet1_1", {"input_size": 33, "width": 0.1, "classes": 7})
    weights = random_weights(network, 1)
    rng = np.random.default_rng(3)
    makers = {name for point in storage_points(network) for name in point.makers} - {"data"}
    tensors = {name: rng.exponential(900, 4000).astype(np.float32) for name in makers}
    codes = {name: code_counts(x, COUNTED, Rounding.TIES_EVEN) for name, x in tensors.items()}
    statistics = Statistics(codes=codes, frac_bits=1)
    chosen = Options(frac_act=1, **options)  # type: ignore[arg-type]
    return knq.plan(network, weights, statistics, chosen), statistics, network


def test_plans_hold_the_best_codebooks() -> None:
    plan, statistics, _ = make_plan(bits_act=4)
    entry = plan.tensors["relu_conv1"]
    assert isinstance(entry.code, Codebook) and entry.stored_bits == 4
    assert entry.format == FixedPointFormat(12, 1, signed=False)
    counts = knq.saturated(statistics.codes["relu_conv1"], entry.fixed)

    def cost(code: Codebook) -> float:
        values = stored(code, np.arange(4096))
        return float((counts * (values - np.arange(4096.0)) ** 2).sum())

    rng = np.random.default_rng(4)
    for _ in range(50):
        moved = np.sort(np.array(entry.code.values) + rng.integers(-9, 10, 16)).clip(0, 4095)
        assert cost(entry.code) < cost(Codebook(4, tuple(moved.tolist()), True))
    # fire2's two branches end in one concatenation, which has one codebook
    codes = {plan.tensors[f"fire2/relu_expand{n}"].code for n in ("1x1", "3x3")}
    assert len(codes) == 1


def test_unsaturated_plans_reach_further() -> None:
    plan, statistics, _ = make_plan(saturate=False)
    entry = plan.tensors["relu_conv1"]
    assert isinstance(entry.code, Codebook)
    most = int(np.flatnonzero(statistics.codes["relu_conv1"])[-1])
    assert entry.format.bits == most.bit_length() > 12
    assert entry.code.values[-1] > 4095


def test_wide_points_need_no_codebook() -> None:
    plan, _, _ = make_plan(bits_act=12)
    assert plan.tensors["relu_conv1"].code is None


def test_round_trip() -> None:
    plan, _, _ = make_plan(kmeans="lloyd")
    stored_plan = plan.to_json()
    assert plans.from_json(stored_plan) == plan
    for values in ([0, 1.5], [0, True], 7, ["0"], [5, 4]):
        stored_plan["tensors"]["relu_conv1"]["code"]["values"] = values
        with pytest.raises((OptionError, FormatError), match=r"^a (plan with TypeError|codebook)"):
            plans.from_json(stored_plan)


def test_counted_codes() -> None:
    values = np.array([[-3.0, 0.2, 0.25, 0.75], [1.25, 3e4, 40000.0, 7.5]], np.float32)
    counts = code_counts(values, COUNTED, Rounding.TIES_EVEN)
    codes = [0, 0, 0, 2, 2, 60000, 65535, 15]
    np.testing.assert_array_equal(counts, np.bincount(codes, minlength=65536))
    up = code_counts(values, COUNTED, Rounding.TO_POS)
    assert up[[0, 1, 2, 3]].tolist() == [1, 2, 1, 1]
    signed = code_counts(values, FixedPointFormat(16, 1), Rounding.TIES_EVEN)
    codes = [-6, 0, 0, 2, 2, 32767, 32767, 15]
    np.testing.assert_array_equal(signed, np.bincount(np.array(codes) + 32768, minlength=65536))


@pytest.mark.parametrize(
    ("options", "text"),
    [({"kmeans": "best"}, "--kmeans best"), ({"kmeans_iterations": -1}, "--kmeans-iterations -1")],
)
def test_bad_options(options: dict[str, object], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        schemes.Options(**options)  # type: ignore[arg-type]
