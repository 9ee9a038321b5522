"""K-means: the exact cut against all cuts there are, Lloyd's algorithm against its promises."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest

from refq.errors import FormatError, OptionError, RefqError, ShapeError
from refq.schemes import kmeans
from refq.schemes.kmeans import Course
from tests.machine import COMPILED, THREADS


def fraction_cost(values: list[Fraction], counts: list[int]) -> Fraction:
    weight = sum(counts)
    mean = sum((x * w for x, w in zip(values, counts)), Fraction(0)) / weight
    return sum(((x - mean) ** 2 * w for x, w in zip(values, counts)), Fraction(0))


def brute_force(values: np.ndarray, counts: np.ndarray, k: int) -> tuple[Fraction, list[Any]]:
    """(least inertia, values that begin the clusters, of equal cuts the first in order)."""
    kept: dict[Any, int] = {}
    for x, w in zip(values.tolist(), counts.tolist()):
        if w:
            kept[x] = kept.get(x, 0) + w
    xs, ws = list(kept), list(kept.values())
    best: tuple[Fraction, list[Any]] | None = None
    exact = [Fraction(x) for x in xs]
    for inner in itertools.combinations(range(1, len(xs)), min(k, len(xs)) - 1):
        edges = [0, *inner, len(xs)]
        parts = itertools.pairwise(edges)
        cost = sum((fraction_cost(exact[a:b], ws[a:b]) for a, b in parts), Fraction(0))
        if best is None or cost < best[0]:
            best = cost, [xs[a] for a in edges[:-1]]
    assert best is not None
    return best


def check_exact(values: np.ndarray, counts: np.ndarray, k: int) -> None:
    inertia, lower = brute_force(values, counts, k)
    got = kmeans.exact(values, counts, k)
    assert got.lower.tolist() == lower
    assert got.inertia == pytest.approx(float(inertia), rel=1e-14, abs=0)
    assert got.boundaries.dtype == np.int64
    assert values[got.boundaries].tolist() == lower and (counts[got.boundaries] > 0).all()
    labels = got.assign(values)
    for c, centroid in enumerate(got.centroids):
        mine = (labels == c) & (counts > 0)
        assert got.counts[c] == counts[mine].sum()
        total = sum(Fraction(x) * w for x, w in zip(values[mine].tolist(), counts[mine].tolist()))
        # the exact mean, rounded once
        assert centroid == float(total / int(got.counts[c]))
    counted = counts > 0
    nearest = np.searchsorted(got.midpoints, values[counted], "left")
    np.testing.assert_array_equal(labels[counted], nearest)


@pytest.mark.parametrize("seed", range(40 if COMPILED else 6))
def test_exact_equals_all_cuts(seed: int) -> None:
    """Few values close together, so that ties, duplicates and empty bins are frequent."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 10))
    counts = rng.integers(0, 4, size)
    counts[rng.integers(size)] = 1 + rng.integers(3)
    whole = np.sort(rng.integers(-6, 7, size))
    wide = np.sort(rng.integers(-(2**20), 2**20, size))
    for k in range(1, size + 3):
        check_exact(whole, counts, k)
        check_exact(wide, counts, k)
        check_exact(whole.astype(np.uint8 if whole[0] >= 0 else np.int16), counts, k)
        check_exact(whole / 4, counts, k)
        check_exact(wide.astype(np.float32), counts.astype(np.uint16), k)


def plain_programming(values: np.ndarray, counts: np.ndarray, most: int) -> list[list[int]]:
    """For 1..most clusters the boundaries of least cost, first in order: all ends, fractions."""
    size = len(values)
    exact, ws = [Fraction(x) for x in values.tolist()], counts.tolist()
    costs = {}
    for i in range(size):
        w, s, q = 0, Fraction(0), Fraction(0)
        for j in range(i, size):
            w, s, q = w + ws[j], s + exact[j] * ws[j], q + exact[j] ** 2 * ws[j]
            costs[i, j + 1] = q - s * s / w
    # at each place: the least cost from there on, and the boundaries that reach it
    line = [(costs[i, size], [i]) for i in range(size)]
    found = [line[0][1]]
    for c in range(2, most + 1):
        # lists compare element by element, so of equal costs min takes the first boundaries
        line = [
            min((costs[i, j] + line[j][0], [i, *line[j][1]]) for j in range(i + 1, size - c + 2))
            for i in range(size - c + 1)
        ]
        found.append(line[0][1])
    return found


@pytest.mark.parametrize("seed", range(8 if COMPILED else 2))
def test_exact_equals_plain_programming(seed: int) -> None:
    """Enough values for divide and conquer to divide; even seeds are full of ties."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(25, 50))
    if seed % 2:
        values, counts = np.sort(rng.integers(0, 10**6, size)), rng.integers(1, 1000, size)
    else:
        values, counts = np.arange(size) - 9, rng.integers(1, 3, size) ** (seed % 4)
    wanted = plain_programming(values, counts, 12)
    for k, boundaries in enumerate(wanted, 1):
        assert kmeans.exact(values, counts, k).boundaries.tolist() == boundaries


def test_of_equal_cuts_the_first() -> None:
    for size, k, boundaries in [
        (3, 2, [0, 1]),
        (5, 2, [0, 2]),
        (4, 3, [0, 1, 2]),
        (7, 3, [0, 2, 4]),
        (11, 4, [0, 2, 5, 8]),
    ]:
        for offset, step in [(0, 1), (-(2**50), 1), (2**40 + 1, 2**18)]:
            values = offset + step * np.arange(size)
            got = kmeans.exact(values, np.full(size, 3), k)
            assert got.boundaries.tolist() == boundaries
        got = kmeans.exact(np.arange(size) * 0.125, np.full(size, 2**40), k)
        assert got.boundaries.tolist() == boundaries


def test_fewer_values_than_clusters() -> None:
    got = kmeans.exact(np.array([1, 1, 4, 5, 9]), np.array([0, 2, 3, 0, 1]), 8)
    assert got.centroids.tolist() == [1.0, 4.0, 9.0] and got.inertia == 0
    assert got.boundaries.tolist() == [1, 2, 4] and got.counts.tolist() == [2, 3, 1]
    # uncounted values: to the left, and below all to the first
    assert got.assign(np.array([[-7, 1, 3], [5, 9, 99]])).tolist() == [[0, 0, 0], [1, 2, 2]]
    alone = kmeans.exact(np.array([0.1]), np.array([7]), 1)
    assert alone.centroids.tolist() == [0.1] and alone.inertia == 0


def test_costs_survive_cancellation() -> None:
    """Clusters a billion times narrower than their distance; float64 prefix sums lose them."""
    base = np.array([0.0, 1.0, 2.0, 5.0, 6.0, 7.0])
    values = np.concatenate([1e9 + base, 2e9 + base, 3e9 + base])
    counts = np.full(values.size, 12345)
    got = kmeans.exact(values, counts, 6)
    assert got.boundaries.tolist() == [0, 3, 6, 9, 12, 15]
    assert got.inertia == 6 * 2 * 12345
    wide = values.astype(np.int64) * 2**20 - 2**50  # codes of 52 bits
    assert kmeans.exact(wide, counts, 6).inertia == pytest.approx(6 * 2 * 12345 * 2.0**40)
    many = np.full(6, 2**50)  # more values than any data set has
    many[0] += 1
    got = kmeans.exact(base.astype(np.int64), many, 2)
    assert got.boundaries.tolist() == [0, 3]
    assert got.centroids[0] == float(Fraction(3 * 2**50, 3 * 2**50 + 1))
    cost = fraction_cost([Fraction(x) for x in (0, 1, 2)], many[:3].tolist()) + 2 * 2**50
    assert got.inertia == pytest.approx(float(cost), rel=1e-15)
    for scale in (1e-300, 1e140):
        got = kmeans.exact(base * scale, np.ones(6, np.int64), 2)
        assert got.boundaries.tolist() == [0, 3]
        assert got.inertia == pytest.approx(4 * scale**2)


def activations(seed: int, size: int) -> np.ndarray:
    """12-bit codes as ReLU leaves them: half zeros, a long tail that saturates."""
    rng = np.random.default_rng(seed)
    x = np.abs(rng.standard_t(3, size)) * 300
    x[rng.random(size) < 0.5] = 0
    return np.minimum(x, 4095).astype(np.int64)


@pytest.mark.parametrize("k", [2, 5, 16, 32])
def test_exact_is_never_worse_than_lloyd(k: int) -> None:
    codes = activations(k, 50_000 if COMPILED else 500)
    counts = np.bincount(codes, minlength=4096)
    values = np.arange(4096)
    if not COMPILED:
        values, counts = values[:300:2], counts[:300:2]
    best = kmeans.exact(values, counts, k)
    labels = best.assign(values)
    cost = (counts * (values - best.centroids[labels]) ** 2).sum()
    assert best.inertia == pytest.approx(cost, rel=1e-12)
    for seed in range(30 if COMPILED else 2):
        tried = kmeans.lloyd_histogram(values, counts, k, Course(seed))
        assert tried.converged and best.inertia <= tried.inertia * (1 + 1e-13)
        assert (np.diff(tried.centroids[:, 0]) > 0).all()
    linear = np.linspace(0, values[-1], k)
    for empty in ("farthest", "keep"):
        tried = kmeans.lloyd_histogram(values, counts, k, Course(start=linear, empty=empty))
        assert best.inertia <= tried.inertia * (1 + 1e-13)
    # Lloyd's algorithm cannot leave the optimum
    stays = kmeans.lloyd_histogram(values, counts, k, Course(start=best.centroids))
    assert stays.inertia == pytest.approx(best.inertia, rel=1e-12)


@pytest.mark.parametrize("shift", [0, 1e6])
def test_exact_on_reals_agrees_with_integers(shift: float) -> None:
    codes, counts = np.unique(activations(1, 3000 if COMPILED else 200), return_counts=True)
    whole = kmeans.exact(codes, counts, 12)
    real = kmeans.exact(codes / 8 + shift, counts, 12)
    np.testing.assert_array_equal(real.boundaries, whole.boundaries)
    assert real.inertia == pytest.approx(whole.inertia / 64, rel=1e-13)


def blobs(dtype: type, size: int = 3001) -> np.ndarray:
    rng = np.random.default_rng(8)
    centres = rng.normal(0, 5, (7, 3))
    picked = centres[rng.integers(0, 7, size if COMPILED else 601)]
    return (picked + rng.normal(0, 1, picked.shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lloyd_keeps_its_promises(dtype: type) -> None:
    x = blobs(dtype)
    rng = np.random.default_rng(3)
    for seed, weights in [(0, None), (1, rng.integers(0, 5, len(x))), (2, rng.random(len(x)))]:
        got = kmeans.lloyd(x, 9, weights, Course(seed))
        assert got.converged and got.iterations == len(got.history) - 1
        assert (np.diff(got.history) < 0).all() and got.inertia == got.history[-1]
        assert got.centroids.shape == (9, 3) and got.labels.dtype == np.int32
        apart = ((x.astype(np.float64)[:, None] - got.centroids) ** 2).sum(axis=2)
        np.testing.assert_array_equal(got.labels, apart.argmin(axis=1))
        masses = np.ones(len(x)) if weights is None else weights
        assert got.inertia == pytest.approx((masses * apart.min(axis=1)).sum(), rel=1e-12)
        for c in range(9):
            mine = got.labels == c
            mean = np.average(x[mine].astype(np.float64), axis=0, weights=masses[mine])
            np.testing.assert_allclose(got.centroids[c], mean, atol=1e-9)


@pytest.mark.skipif(THREADS < 2, reason="one processor")
def test_lloyd_is_the_same_at_any_number_of_threads() -> None:
    x = blobs(np.float32, 20_011)
    weights = np.random.default_rng(5).random(len(x))
    results = []
    before = numba.get_num_threads()
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            results.append(kmeans.lloyd(x, 8, weights, Course(seed=4, iterations=15)))
    finally:
        numba.set_num_threads(before)
    one, two = results
    assert one.history == two.history
    np.testing.assert_array_equal(one.centroids, two.centroids)
    np.testing.assert_array_equal(one.labels, two.labels)
    other = kmeans.lloyd(x, 8, weights, Course(seed=5, iterations=0))
    assert other.inertia != one.history[0]


def test_a_seed_means_the_same_on_every_machine() -> None:
    """Written down once: PCG64's raw bits, sums in the defined order."""
    x = np.arange(40, dtype=np.float64).reshape(20, 2) ** 2
    first = kmeans.plus_plus(x, 4, seed=7)
    assert first[:, 0].tolist() == [576.0, 1444.0, 256.0, 16.0]


def test_plus_plus_draws_by_weight_and_distance() -> None:
    x = np.array([[0.0], [0.0], [10.0], [11.0], [500.0]])
    weights = np.array([1.0, 3.0, 0.0, 4.0, 0.0])
    drawn = [kmeans.plus_plus(x, 1, weights, seed)[0, 0] for seed in range(400)]
    assert set(drawn) == {0.0, 11.0} and 150 < drawn.count(0.0) < 250
    for seed in range(20):
        # two distinct samples have weight; no third centroid is made up
        assert sorted(kmeans.plus_plus(x, 4, weights, seed)[:, 0]) == [0.0, 11.0]
    pairs = [kmeans.plus_plus(x, 2, None, seed)[:, 0].tolist() for seed in range(200)]
    assert {first for first, _ in pairs} == set(x[:, 0])
    assert sum(500.0 in pair for pair in pairs) > 195
    got = kmeans.lloyd(x, 4, weights)
    assert got.inertia == 0 and got.centroids.shape == (2, 1) and got.labels.shape == (5,)


def test_empty_clusters() -> None:
    x = np.array([[0.0], [1.0], [10.0], [30.0]])
    start = np.array([[1.0], [1.0], [900.0]])  # of two equal centroids the first takes all
    kept = kmeans.lloyd(x, 3, course=Course(start=start, empty="keep"))
    np.testing.assert_allclose(kept.centroids[:, 0], [30.0, 11 / 3, 900.0])
    # 30 is farthest and goes to cluster 1, then 10 to cluster 2
    moved = kmeans.lloyd(x, 3, course=Course(start=start, iterations=1))
    assert moved.centroids[:, 0].tolist() == [0.5, 30.0, 10.0] and moved.inertia == 0.5
    # 60 costs most, but its cluster has no other sample
    lone = kmeans.lloyd(
        np.array([[0.0], [1.0], [2.0], [60.0]]),
        3,
        course=Course(start=np.array([[1.0], [100.0], [900.0]]), iterations=1),
    )
    assert lone.centroids[:, 0].tolist() == [1.5, 60.0, 0.0]
    # nothing is gained where all samples are equal
    same = kmeans.lloyd(np.ones((4, 1)), 2, course=Course(start=np.array([[1.0], [1.0]])))
    assert same.centroids[:, 0].tolist() == [1.0, 1.0] and same.labels.tolist() == [0] * 4


def test_iterations_and_tolerance() -> None:
    x = blobs(np.float64)
    whole = kmeans.lloyd(x, 9, course=Course(seed=1))
    assert whole.iterations > 3
    for most in (0, 1, 3):
        cut = kmeans.lloyd(x, 9, course=Course(seed=1, iterations=most))
        assert cut.iterations == most and not cut.converged
        assert cut.history == whole.history[: most + 1]
    loose = kmeans.lloyd(x, 9, course=Course(seed=1, tolerance=0.02))
    assert loose.converged and loose.iterations <= whole.iterations
    falls = -np.diff(loose.history) / loose.history[1:]
    assert (falls[:-1] > 0.02).all() and falls[-1] <= 0.02


@pytest.mark.parametrize(
    ("values", "counts", "k", "error", "text"),
    [
        ([1, 2], [1, 1], 0, OptionError, "0 clusters; expected 1 or more"),
        ([1.0, np.nan], [1, 1], 1, FormatError, "1 NaN or infinite values"),
        ([1.0, np.inf], [1, 1], 1, FormatError, "1 NaN or infinite values"),
        ([1, 2], [3, -1], 1, FormatError, "1 negative counts"),
        ([1, 2], [0, 0], 1, FormatError, "counts nothing"),
        (np.zeros(0), np.zeros(0, int), 1, FormatError, "counts nothing"),
        ([1, 2], [1.0, 2.0], 1, FormatError, "counts of type float64"),
        ([1, 2, 3], [1, 1], 1, ShapeError, "one count a value"),
        ([[1, 2]], [[1, 1]], 1, ShapeError, "one count a value"),
        ([2, 1], [1, 1], 1, FormatError, "ascending"),
        ([1, 2], [2**53 - 1, 1], 1, FormatError, "2**53 values or more"),
        ([1, 2], [2**62, 2**62], 1, FormatError, "2**53 values or more"),
        ([-(2**62), 0, 2**62], [1, 1, 1], 2, FormatError, "a span below 2**53"),
        ([-1e300, 0, 1e300], [1, 1, 1], 2, FormatError, "whose square is finite"),
        (["a", "b"], [1, 1], 1, FormatError, "integers or floats"),
    ],
)
def test_bad_histograms(
    values: Any, counts: Any, k: int, error: type[RefqError], text: str
) -> None:
    for solve in (kmeans.exact, kmeans.lloyd_histogram):
        if solve is kmeans.lloyd_histogram and "span" in text:
            continue
        if solve is kmeans.lloyd_histogram and "square" in text:
            text = "2**500"
        with pytest.raises(error) as caught:
            solve(np.array(values), np.array(counts), k)
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"k": 0}, OptionError, "0 clusters"),
        ({"samples": np.ones(3)}, ShapeError, "(n, d)"),
        ({"samples": np.ones((0, 2))}, ShapeError, "(n, d)"),
        ({"samples": np.ones((3, 2), int)}, FormatError, "float32 or float64"),
        ({"samples": np.full((3, 2), np.nan)}, FormatError, "6 NaN or infinite samples"),
        ({"samples": np.full((3, 2), 1e200)}, FormatError, "2**500"),
        ({"weights": np.ones(2)}, ShapeError, "weights of shape (2,)"),
        ({"weights": np.array([1, -1, 1])}, FormatError, "negative or all zero"),
        ({"weights": np.zeros(3)}, FormatError, "negative or all zero"),
        ({"weights": np.array([1, np.nan, 1])}, FormatError, "1 NaN or infinite weights"),
        ({"start": np.ones((3, 2))}, ShapeError, "first centroids of shape (3, 2)"),
        ({"start": np.full((2, 2), np.inf)}, FormatError, "4 NaN or infinite first centroids"),
        ({"seed": -1}, OptionError, "seed -1"),
        ({"iterations": -1}, OptionError, "-1 iterations"),
        ({"tolerance": float("nan")}, OptionError, "tolerance nan"),
        ({"empty": "drop"}, OptionError, "unknown rule for empty clusters 'drop'"),
    ],
)
def test_bad_samples(changes: dict[str, Any], error: type[RefqError], text: str) -> None:
    with pytest.raises(error) as caught:
        course = {key: changes[key] for key in changes if hasattr(Course(), key)}
        given = {key: changes[key] for key in changes if key not in course}
        kmeans.lloyd(**{"samples": np.ones((3, 2)), "k": 2, **given}, course=Course(**course))
    assert text in str(caught.value)


def test_not_worse_than_kmeans1d() -> None:
    peer = pytest.importorskip("kmeans1d", reason="kmeans1d is not installed")
    codes = activations(2, 3000)
    values, counts = np.unique(codes, return_counts=True)
    for k in (2, 9, 32):
        labels, centroids = peer.cluster(codes.tolist(), k)
        cost = ((codes - np.array(centroids)[labels]) ** 2).sum()
        assert kmeans.exact(values, counts, k).inertia == pytest.approx(cost, rel=1e-12)


def test_not_worse_than_ckwrap() -> None:
    peer = pytest.importorskip("ckwrap", reason="ckwrap is not installed")
    values, counts = np.unique(activations(3, 3000), return_counts=True)
    for k in (2, 9, 32):
        found = peer.ckmeans(values.astype(np.float64), k, weights=counts.astype(np.float64))
        best = kmeans.exact(values, counts, k)
        cost = (counts * (values - np.asarray(found.centers)[found.labels]) ** 2).sum()
        assert best.inertia <= cost * (1 + 1e-12)


def test_not_worse_than_scikit_learn() -> None:
    peer = pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed")
    values, counts = np.unique(activations(4, 3000), return_counts=True)
    column = values[:, None].astype(np.float64)
    for k in (2, 9, 32):
        best = kmeans.exact(values, counts, k)
        found = peer.KMeans(k, n_init=3, random_state=0).fit(column, sample_weight=counts)
        assert best.inertia <= found.inertia_ * (1 + 1e-12)
    # from the same first centroids, the same course
    x = blobs(np.float64)
    start = kmeans.plus_plus(x, 6, seed=2)
    theirs = peer.KMeans(6, init=start, n_init=1, tol=0, algorithm="lloyd").fit(x)
    ours = kmeans.lloyd(x, 6, course=Course(start=start))
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-9)
