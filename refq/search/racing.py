"""Races: a candidate that cannot reach the floor stops before it has seen all images.

Images come in one random order, so the first n are a sample without replacement: if a candidate
has K of N right, its hits among them are hypergeometric. Were K the least that passes, would so few
hits be likely? Where they would not, it stops.
"""

from __future__ import annotations

import math
from fractions import Fraction


def least_hits(reference: int, images: int, delta: float) -> int:
    """Least hits of `images` whose share is at most delta percentage points below the reference's,
    in exact arithmetic."""
    floor = reference - Fraction(str(delta)) * images / 100
    return max(0, math.ceil(floor))


def tail(images: int, hits: int, seen: int, found: int) -> float:
    """P(X <= found) of X, the hits among `seen` of `images` drawn without replacement, `hits` of
    which are hits in all. Exact, but for the rounding of the sum."""
    misses = images - hits
    fewest, most = max(0, seen - misses), min(hits, seen)
    if found < fewest:
        return 0.0
    if found >= most:
        return 1.0
    term = math.exp(
        _log_choose(hits, found) + _log_choose(misses, seen - found) - _log_choose(images, seen)
    )
    total = term
    for x in range(found, fewest, -1):
        # P(X = x - 1) from P(X = x)
        term *= x * (misses - seen + x) / ((hits - x + 1) * (seen - x + 1))
        total += term
    return min(1.0, total)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def hopeless(images: int, least: int, seen: int, found: int, confidence: float, looks: int) -> bool:
    """True where a candidate with `found` hits in `seen` images cannot have `least` in all: for
    certain, or in that one with `least` would look so poor at any of its `looks` with a probability
    of 1 - confidence at most (each look gets an equal share; Bonferroni). Confidence 1 leaves
    certainty alone."""
    if seen - found > images - least:
        return True
    return tail(images, least, seen, found) < (1 - confidence) / looks
