"""The best cut of a sorted weighted histogram into intervals, by dynamic programming.

A cost is sum w x^2 - (sum w x)^2 / sum w, the difference of two numbers that may be nearly equal.
So all sums are pairs of float64, high and low part (Dekker 1971; Knuth, TAOCP 2, 4.2.2): about 104
bits, which hold sums over integer codes exactly.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from refq.kernels.compiling import njit

# 2**27 + 1 halves a float64 into two numbers whose products are exact
HALVER = 134217729.0
# Of the total weight, values being scaled to -1..1. Costs closer than TIE are equal: 14 bits above
# what pairs of float64 lose. WORSE is what float64 alone may be wrong by, and more.
TIE = 2.0**-90
WORSE = 2.0**-46


@njit()
def _sum(a, b):
    """a + b as a pair, exactly."""
    high = a + b
    other = high - a
    return high, (a - (high - other)) + (b - other)


@njit()
def _product(a, b):
    """a * b as a pair, exactly."""
    high = a * b
    cut = HALVER * a
    a_high = cut - (cut - a)
    a_low = a - a_high
    cut = HALVER * b
    b_high = cut - (cut - b)
    b_low = b - b_high
    return high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low


@njit()
def _plus(a_high, a_low, b_high, b_low):
    high, error = _sum(a_high, b_high)
    low, more = _sum(a_low, b_low)
    high, error = _sum(high, error + low)
    return _sum(high, error + more)


@njit()
def _times(a_high, a_low, b):
    high, error = _product(a_high, b)
    return _sum(high, error + a_low * b)


class Prefixes(NamedTuple):
    """Sums of w, w x and w x^2 over all values before each place: float64 (n + 1,), and pairs
    (2, n + 1)."""

    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


@njit()
def _prefixes(high, low, weights, before):
    """Fills in the prefixes; x = high + low."""
    counts, sums, squares = before.counts, before.sums, before.squares
    for i in range(weights.size):
        w = weights[i]
        counts[i + 1] = counts[i] + w
        part, rest = _times(high[i], low[i], w)
        sums[0, i + 1], sums[1, i + 1] = _plus(sums[0, i], sums[1, i], part, rest)
        part, rest = _product(high[i], high[i])
        part, rest = _sum(part, rest + 2.0 * high[i] * low[i])
        part, rest = _times(part, rest, w)
        squares[0, i + 1], squares[1, i + 1] = _plus(squares[0, i], squares[1, i], part, rest)


@njit()
def _cost(i, j, before):
    """Values i..j-1 as one cluster."""
    counts, sums, squares = before
    w = counts[j] - counts[i]
    s_high, s_low = _plus(sums[0, j], sums[1, j], -sums[0, i], -sums[1, i])
    q_high, q_low = _plus(squares[0, j], squares[1, j], -squares[0, i], -squares[1, i])
    high, low = _product(s_high, s_high)
    high, low = _sum(high, low + 2.0 * s_high * s_low)
    # long division by w: what the first quotient leaves gives the second
    quotient = high / w
    p_high, p_low = _product(quotient, w)
    high, low = _sum(quotient, (((high - p_high) - p_low) + low) / w)
    return _plus(q_high, q_low, -high, -low)


@njit()
def _best_end(i, first, last, before, rest, rough):
    """Where the cluster that begins at i ends best, and what it costs with the rest behind it.

    Of equal costs, the first end. rough: float64, room for as many costs as there are values.
    """
    counts, sums, squares = before
    tie, slack = TIE * counts[-1], WORSE * counts[-1]
    # in float64 first: it rules nearly all ends out
    least = np.inf
    for j in range(first, last + 1):
        s = sums[0, j] - sums[0, i]
        alone = squares[0, j] - squares[0, i] - s * s / (counts[j] - counts[i])
        if alone > least + slack:
            last = j - 1  # a longer cluster costs more
            break
        rough[j] = alone + rest[0, j]
        least = min(least, rough[j])
    best_high, best_low, end = np.inf, 0.0, first
    for j in range(first, last + 1):
        if rough[j] > least + slack:
            continue
        high, low = _cost(i, j, before)
        high, low = _plus(high, low, rest[0, j], rest[1, j])
        if (high - best_high) + (low - best_low) < -tie:
            best_high, best_low, end = high, low, j
    return best_high, best_low, end


@njit()
def _cut(k, before, ends, starts):
    """Fills starts (k,); ends: int32 (k, values), of the first of c + 1 clusters from i on."""
    size = before.counts.size - 1
    rest, costs = np.zeros((2, size + 1)), np.zeros((2, size + 1))
    rough = np.empty(size)
    for i in range(k - 1, size):
        rest[0, i], rest[1, i] = _cost(i, size, before)
    for c in range(1, k):
        # the clusters before and after take one value each at least; the last line is asked
        # for its first entry alone
        low, high = k - 1 - c, size - 1 - c
        rows = high - low + 1 if c < k - 1 else 1
        step = 1
        while 2 * step <= rows:
            step *= 2
        # Ends grow with i (Monge; the first of equal ones as well), so each lies between those of
        # neighbours that are already known: rows step, 3 step, ..., then with half the step.
        while step:
            for row in range(step - 1, rows, 2 * step):
                i = low + row
                first, last = i + 1, size - c
                if row >= step:
                    first = max(first, ends[c, i - step])
                if row + step < rows:
                    last = ends[c, i + step]
                if c > 1 and i > low:
                    # with fewer clusters behind it, the first one is no shorter (Yao 1980)
                    last = min(last, ends[c - 1, i])
                last = max(first, last)  # costs closer than TIE may cross the bounds
                costs[0, i], costs[1, i], ends[c, i] = _best_end(
                    i, first, last, before, rest, rough
                )
            step //= 2
        rest, costs = costs, rest
    starts[0] = 0
    for c in range(1, k):
        starts[c] = ends[k - c, starts[c - 1]]


def partition(
    high: np.ndarray, low: np.ndarray, weights: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts B ascending values high + low, within -1..1, into k <= B intervals of least cost.

    high, low, weights: float64 (B,), weights positive integers with a total below 2**53. Returns
    (starts int64 (k,): each interval's first value, and of every interval's values the sums of w x
    and of w x^2, float64 (2, k): high and low parts).
    """
    size = weights.size
    before = Prefixes(np.zeros(size + 1), np.zeros((2, size + 1)), np.zeros((2, size + 1)))
    _prefixes(high, low, weights, before)
    starts = np.zeros(k, np.int64)
    _cut(k, before, np.zeros((k, size), np.int32), starts)
    edges = np.append(starts, size)
    return starts, _between(before.sums, edges), _between(before.squares, edges)


def _between(prefixes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    parts = [
        _plus(*prefixes[:, right], *-prefixes[:, left]) for left, right in itertools.pairwise(edges)
    ]
    return np.array(parts).T
