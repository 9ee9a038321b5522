"""K-means in one dimension, solved to the global optimum on a weighted histogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from refq.errors import FormatError
from refq.kernels import partition
from refq.schemes.kmeans.inputs import MOST_REAL, MOST_WEIGHT, check_clusters, weighted_values


@dataclass(frozen=True)
class Partition:
    """A histogram cut into m clusters; m is less than asked for where there are fewer values.

    centroids: float64 (m,), ascending. boundaries: int64 (m,), where in the histogram each cluster
    has its first counted value. lower: that value, as the histogram's. counts: int64 (m,).
    inertia: sum of count * (value - centroid)**2.
    """

    centroids: np.ndarray
    boundaries: np.ndarray
    lower: np.ndarray
    counts: np.ndarray
    inertia: float

    @property
    def midpoints(self) -> np.ndarray:
        """Float64 (m - 1,): the nearest centroid of x is the number of midpoints below x."""
        return self.centroids[:-1] + (self.centroids[1:] - self.centroids[:-1]) / 2

    def assign(self, values: np.ndarray) -> np.ndarray:
        """The cluster of each value, int64 of any shape.

        Values that the histogram did not count belong to the cluster on their left, or to the
        first.
        """
        found = np.searchsorted(self.lower, values, "right") - 1
        return np.maximum(found, 0)


def exact(values: np.ndarray, counts: np.ndarray, k: int) -> Partition:
    """The clusters of least inertia that a weighted histogram can be cut into.

    values: float64 (float32, or any integers), (B,), ascending, equal neighbours allowed. counts:
    integers (B,), zeros allowed, at least one positive, their sum below 2**53. k: 1 or more.

    Dynamic programming over suffixes, each line by divide and conquer because the best cuts are
    monotone: O(k B log B) time, 4 k B bytes (Wu 1991; Wang and Song 2011, Ckmeans.1d.dp; Gronlund
    et al. 2017, section 2). With k or fewer distinct counted values, these are the centroids and
    nothing is made up for the rest.

    Integers spanning less than 2**24 are summed exactly, so centroids and each cluster's inertia
    are the exact fractions rounded to float64; other sums carry 100 bits. Costs count as equal
    when they differ by less than 2**-90 * (sum of counts) * (span rounded up to a power of two)**2;
    of equal cuts the one with the smallest first boundary is taken, then the smallest second one,
    and so on. Where unequal costs come that close, the inertia is within k log2(B) times that.

    Raises ShapeError for arrays that do not fit, FormatError for values that are not finite, not
    ascending or spread too far, for counts that are negative, no integers, all zero or too many,
    and OptionError for k.
    """
    values, counts = weighted_values(values, counts)
    check_clusters(k)
    # what was counted, once each
    places = np.flatnonzero(counts)
    fresh = np.append(True, np.diff(values[places]) != 0)
    weights = np.add.reduceat(counts[places], np.flatnonzero(fresh))
    places = places[fresh]
    distinct = values[places]
    if len(distinct) <= k:
        return Partition(distinct.astype(np.float64), places, distinct, weights, 0.0)
    high, low, middle, exponent = _scaled(distinct)
    starts, sums, squares = partition.partition(high, low, weights.astype(np.float64), k)
    masses = np.add.reduceat(weights, starts)
    centroids, costs = np.empty(k), []
    for c, (mass, s, q) in enumerate(zip(masses.tolist(), sums.T, squares.T)):
        # fractions round once
        total, energy = (Fraction(float(pair[0])) + Fraction(float(pair[1])) for pair in (s, q))
        scale = Fraction(2) ** exponent
        centroids[c] = float(middle + total * scale / mass)
        costs.append(max(0.0, float((energy - total * total / mass) * scale * scale)))
    # a value alone has no cost, whatever rounding says
    alone = np.diff(np.append(starts, len(distinct))) == 1
    centroids[alone] = distinct[starts[alone]]
    inertia = math.fsum(cost for cost, single in zip(costs, alone) if not single)
    return Partition(centroids, places[starts], distinct[starts], masses, inertia)


def _scaled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, Fraction, int]:
    """(high, low, middle, exponent): values = middle + (high + low) * 2**exponent, within -1..1.

    In the middle of the range sums stay small; scaling by powers of two changes no digit.
    """
    least, most = values[0].item(), values[-1].item()
    if values.dtype == np.int64:
        middle = least + (most - least) // 2
        if most - least >= MOST_WEIGHT:
            raise FormatError(
                f"integers from {least} to {most}", "a span below 2**53", "pass them as float64"
            )
        high = (values - middle).astype(np.float64)
        low = np.zeros(len(values))
    else:
        middle = least / 2 + most / 2
        if most - middle >= MOST_REAL:
            raise FormatError(f"values from {least} to {most}", "a span whose square is finite")
        # the rounding error of the difference, exactly
        high = values - middle
        other = high - values
        low = (values - (high - other)) - (middle + other)
    exponent = int(np.frexp(np.abs(high).max())[1])
    return np.ldexp(high, -exponent), np.ldexp(low, -exponent), Fraction(middle), exponent
