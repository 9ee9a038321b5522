"""Lloyd's algorithm on weighted samples: which centroid is nearest, and what samples sum up to.

Samples are cut into PARTS by their number alone and each part is added up in its own order, so no
result depends on the number of threads.
"""

from __future__ import annotations

import numpy as np

from refq.kernels.compiling import njit, prange

PARTS = 16
# samples whose distances to all centroids stay in the first cache
ROWS = 16


@njit(parallel=True)
def _assign(samples, across, labels, distances, sums, masses):
    """samples: x and weights; across: centroids (d, k), so that the lanes of a vector are
    centroids."""
    x, weights = samples
    count, k = x.shape[0], across.shape[1]
    each = (count + PARTS - 1) // PARTS
    for part in prange(PARTS):
        apart = np.empty((ROWS, k))
        end = min(count, (part + 1) * each)
        for begin in range(part * each, end, ROWS):
            rows = min(ROWS, end - begin)
            apart[:] = 0.0
            for j in range(x.shape[1]):
                for row in range(rows):
                    value = np.float64(x[begin + row, j])
                    for c in range(k):
                        gap = value - across[j, c]
                        apart[row, c] += gap * gap
            for row in range(rows):
                i, best = begin + row, 0
                for c in range(1, k):
                    if apart[row, c] < apart[row, best]:
                        best = c
                labels[i], distances[i] = best, apart[row, best]
                masses[part, best] += weights[i]
                for j in range(x.shape[1]):
                    sums[part, best, j] += weights[i] * np.float64(x[i, j])


@njit(parallel=True)
def _masses(weights, distances, masses):
    each = (weights.size + PARTS - 1) // PARTS
    for part in prange(PARTS):
        mass = 0.0
        for i in range(part * each, min(weights.size, (part + 1) * each)):
            mass += weights[i] * distances[i]
        masses[part] = mass


@njit(parallel=True)
def _approach(x, centre, distances):
    for i in prange(x.shape[0]):
        apart = 0.0
        for j in range(x.shape[1]):
            gap = np.float64(x[i, j]) - centre[j]
            apart += gap * gap
        distances[i] = min(distances[i], apart)


@njit()
def _find(weights, distances, part, target):
    """The sample at which the part's running mass passes the target; it never has mass 0."""
    each = (weights.size + PARTS - 1) // PARTS
    mass, found = 0.0, -1
    for i in range(part * each, min(weights.size, (part + 1) * each)):
        more = weights[i] * distances[i]
        if more > 0.0:
            found = i
            mass += more
            if mass > target:
                break
    return found


def assign(
    x: np.ndarray, weights: np.ndarray, centroids: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The nearest of k centroids for each of n samples; of equally near ones, the lowest.

    x: float32 or float64 (n, d); weights: float64 (n,); centroids: float64 (k, d). Returns (labels
    int32 (n,), squared distances float64 (n,), weighted sums (k, d) and weights (k,) of clusters).
    """
    k, d = centroids.shape
    labels, distances = np.empty(len(x), np.int32), np.empty(len(x))
    sums, masses = np.zeros((PARTS, k, d)), np.zeros((PARTS, k))
    across = np.ascontiguousarray(centroids.T)
    _assign((x, weights), across, labels, distances, sums, masses)
    return labels, distances, sums.sum(axis=0), masses.sum(axis=0)


def inertia(weights: np.ndarray, distances: np.ndarray) -> float:
    """Sum of weights times distances, both float64 (n,)."""
    masses = np.zeros(PARTS)
    _masses(weights, distances, masses)
    return float(masses.sum())


def approach(x: np.ndarray, centre: np.ndarray, distances: np.ndarray) -> None:
    """Lowers distances to the squared distance to the centre, where that is nearer."""
    _approach(x, centre, distances)


def draw(weights: np.ndarray, distances: np.ndarray, chance: float) -> int:
    """The sample at that share, in [0, 1), of the running sum of weights times distances.

    -1 where the whole sum is zero.
    """
    masses = np.zeros(PARTS)
    _masses(weights, distances, masses)
    reached = np.cumsum(masses)
    if reached[-1] == 0:
        return -1
    target = chance * reached[-1]
    # rounding may carry the target to the very end: then the last part that has mass
    part = min(int(np.searchsorted(reached, target, "right")), int(np.flatnonzero(masses)[-1]))
    return int(_find(weights, distances, part, target - (reached[part] - masses[part])))
