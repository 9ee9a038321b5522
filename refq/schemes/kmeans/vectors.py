"""Lloyd's algorithm on weighted samples of any dimension, and k-means++ to start it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from refq.errors import OptionError, ShapeError, unknown
from refq.kernels import nearest
from refq.schemes.kmeans.inputs import (
    check_clusters,
    check_finite,
    weighted_samples,
    weighted_values,
)

EMPTY_RULES = ("farthest", "keep")


@dataclass(frozen=True)
class Course:
    """How Lloyd's algorithm begins and ends.

    start: centroids (k, d), or None for k-means++ (`plus_plus`) with the seed, which gives fewer
    than k where fewer samples are distinct. It ends after so many iterations, or when one lowers
    the inertia by no more than tolerance * inertia.

    empty = "farthest": an empty cluster takes the sample that costs most (of equal ones the first)
    from a cluster that has others; where none costs anything, it stays. empty = "keep": its
    centroid stays where it is.

    Raises OptionError for iterations, tolerance and empty.
    """

    seed: int = 0
    start: np.ndarray | None = None
    iterations: int = 300
    tolerance: float = 0.0
    empty: str = "farthest"

    def __post_init__(self) -> None:
        if self.iterations < 0 or not self.tolerance >= 0:
            raise OptionError(
                f"{self.iterations} iterations, tolerance {self.tolerance}", "0 or more of each"
            )
        if self.empty not in EMPTY_RULES:
            raise unknown("rule for empty clusters", self.empty, EMPTY_RULES)


@dataclass(frozen=True)
class Clustering:
    """What Lloyd's algorithm ended with.

    centroids: float64 (m, d), m <= k. labels: int32 (n,). inertia: sum of weight * squared
    distance. history: inertia after the start and after every iteration; it never rises.
    converged: whether it stopped by itself.
    """

    centroids: np.ndarray
    labels: np.ndarray
    inertia: float
    iterations: int
    converged: bool
    history: tuple[float, ...] = field(default=(), repr=False)


def lloyd(
    samples: np.ndarray, k: int, weights: np.ndarray | None = None, course: Course = Course()
) -> Clustering:
    """Lloyd's algorithm (1982) in d dimensions, the same at any number of threads.

    samples: float32 or float64 (n, d). weights: (n,), 0 or more, or None for ones; a sample of
    weight 0 gets a label and moves nothing. Of equally near centroids the lowest takes the sample.

    Distances and sums are float64. Raises ShapeError for arrays that do not fit, FormatError for
    samples, weights or centroids that are not finite, negative weights or all zero, and
    OptionError for k and the seed.
    """
    samples, masses = weighted_samples(samples, weights)
    check_clusters(k)
    if course.start is None:
        centroids = plus_plus(samples, k, masses, course.seed)
    else:
        centroids = np.array(course.start, np.float64)
        if centroids.shape != (k, samples.shape[1]):
            raise ShapeError(
                f"first centroids of shape {centroids.shape}", f"{(k, samples.shape[1])}"
            )
        check_finite(centroids, "first centroids")
    labels, distances, sums, sizes = nearest.assign(samples, masses, centroids)
    history, converged = [nearest.inertia(masses, distances)], False
    while not converged and len(history) <= course.iterations:
        if course.empty == "farthest" and not sizes.all():
            sums, sizes = _filled(samples, masses, labels, distances, sums, sizes)
        filled = sizes > 0
        moved = centroids.copy()
        moved[filled] = sums[filled] / sizes[filled, None]
        found = nearest.assign(samples, masses, moved)
        now = nearest.inertia(masses, found[1])
        fallen = history[-1] - now
        if fallen > 0:
            centroids, (labels, distances, sums, sizes) = moved, found
            history.append(now)
        converged = not fallen > course.tolerance * history[-1]
    return Clustering(
        centroids=centroids,
        labels=labels,
        inertia=history[-1],
        iterations=len(history) - 1,
        converged=converged,
        history=tuple(history),
    )


def lloyd_histogram(
    values: np.ndarray, counts: np.ndarray, k: int, course: Course = Course()
) -> Clustering:
    """`lloyd` on a histogram as `exact` takes it; centroids (m, 1) ascending, labels (B,).

    course.start: centroids (k,), for instance np.linspace(low, high, k).
    """
    values, counts = weighted_values(values, counts)
    if course.start is not None:
        course = replace(course, start=np.asarray(course.start, np.float64).reshape(-1, 1))
    made = lloyd(values.astype(np.float64)[:, None], k, counts, course)
    order = np.argsort(made.centroids[:, 0], kind="stable")
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order))
    return replace(made, centroids=made.centroids[order], labels=places[made.labels])


def plus_plus(
    samples: np.ndarray, k: int, weights: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """First centroids by k-means++ (Arthur and Vassilvitskii 2007, section 2.2): float64 (m, d).

    The first is drawn by weight, each next one by weight times squared distance to the nearest so
    far. m is less than k where fewer samples of positive weight are distinct. The same seed gives
    the same centroids on every machine and at any number of threads. Arguments and errors as
    `lloyd`.
    """
    samples, masses = weighted_samples(samples, weights)
    check_clusters(k)
    if seed < 0:
        raise OptionError(f"seed {seed}", "0 or more")
    bits = np.random.PCG64(seed)  # NumPy promises that raw bits never change between versions
    distances = np.ones(len(samples))
    chosen: list[int] = []
    while len(chosen) < k:
        drawn = nearest.draw(masses, distances, (bits.random_raw() >> 11) * 2.0**-53)
        if drawn < 0:
            break  # every sample is a centroid already
        if not chosen:
            distances[:] = np.inf
        chosen.append(drawn)
        nearest.approach(samples, samples[drawn].astype(np.float64), distances)
    return samples[chosen].astype(np.float64)


def _filled(
    samples: np.ndarray,
    weights: np.ndarray,
    labels: np.ndarray,
    distances: np.ndarray,
    sums: np.ndarray,
    sizes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Sums and sizes of clusters after samples have moved into the empty ones."""
    sums, sizes = sums.copy(), sizes.copy()
    members = np.bincount(labels[weights > 0], minlength=len(sizes))
    costs = weights * distances
    for cluster in np.flatnonzero(sizes == 0):
        sample = int(np.argmax(np.where(members[labels] > 1, costs, 0.0)))
        old, weight = labels[sample], weights[sample]
        if members[old] < 2 or costs[sample] == 0:
            break
        share = weight * samples[sample].astype(np.float64)
        sums[old] -= share
        sums[cluster] = share
        sizes[old] -= weight
        sizes[cluster] = weight
        members[old] -= 1
        members[cluster] = 1
        costs[sample] = 0.0  # it has moved
    return sums, sizes
