"""Bounds of expressions in float64, many values at once: between which two floats each lies.

Interval arithmetic (Moore 1966): every operator is computed at the ends of its operands' intervals
and what rounding may have changed is added. Where an operator is not monotone over an interval, or
not defined, both bounds are NaN, which says that nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Union

import numpy as np
from scipy import special

from refq.networks.layers.expressions import Expression

Values = Union[float, np.ndarray]
# what a library's functions may be wrong by, with a lot of room: 256 units in the last place
SLACK = 2.0**-44
# and below this size they may be wrong by anything
TINY = 2.0**-900


class Between(NamedTuple):
    low: Values
    high: Values


def bounds(expression: Expression, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), float64: of an expression at each exact float64 x."""
    with np.errstate(all="ignore"):
        low, high = _between(expression, x)
        unknown = np.isnan(low) | np.isnan(high)
        known = [np.where(unknown, np.nan, end) for end in (low, high)]
        return np.broadcast_to(known[0], x.shape), np.broadcast_to(known[1], x.shape)


def _between(expression: Expression, x: np.ndarray) -> Between:
    if not isinstance(expression, tuple):
        exact = x if expression == "x" else float(expression)
        return Between(exact, exact)
    operator, *operands = expression
    return OPERATORS[operator](*(_between(operand, x) for operand in operands))


def _next(low: Values, high: Values) -> Between:
    """One float further on both sides: of what is correctly rounded."""
    return Between(np.nextafter(low, -np.inf), np.nextafter(high, np.inf))


def _rising(function: Callable[[Values], Values]) -> Callable[[Between], Between]:
    """Of a function that grows with its operand, within SLACK."""

    def between(x: Between) -> Between:
        low, high = function(x.low), function(x.high)
        return Between(low - np.abs(low) * SLACK - TINY, high + np.abs(high) * SLACK + TINY)

    return between


def _stepping(function: Callable[[Values], Values]) -> Callable[[Between], Between]:
    """Of one that grows and is exact."""
    return lambda x: Between(function(x.low), function(x.high))


def _add(a: Between, b: Between) -> Between:
    return _next(a.low + b.low, a.high + b.high)


def _subtract(a: Between, b: Between) -> Between:
    return _next(a.low - b.high, a.high - b.low)


def _among(corners: list[Values]) -> Between:
    stacked = np.stack(np.broadcast_arrays(*corners))
    # NaN in one corner is NaN
    return _next(stacked.min(axis=0), stacked.max(axis=0))


def _multiply(a: Between, b: Between) -> Between:
    return _among([one * two for one in a for two in b])


def _divide(a: Between, b: Between) -> Between:
    around = (b.low <= 0) & (b.high >= 0)
    low, high = _among([one / two for one in a for two in b])
    return Between(np.where(around, np.nan, low), np.where(around, np.nan, high))


def _negate(x: Between) -> Between:
    return Between(-x.high, -x.low)


def _absolute(x: Between) -> Between:
    low, high = np.maximum(0.0, np.maximum(x.low, -x.high)), np.maximum(-x.low, x.high)
    return Between(low, high)


def _power(a: Between, b: Between) -> Between:
    """Of positive bases; of any that are squared."""
    if np.ndim(b.low) == 0 and b.low == b.high == 2:
        size = _absolute(a)
        return _multiply(size, size)
    low, high = _among([np.power(one, two) for one in a for two in b])
    wide = Between(low - np.abs(low) * SLACK - TINY, high + np.abs(high) * SLACK + TINY)
    unknown = ~(a.low > 0)
    return Between(np.where(unknown, np.nan, wide.low), np.where(unknown, np.nan, wide.high))


def _where(x: Between, above: Between, elsewhere: Between) -> Between:
    yes, no = x.low > 0, x.high <= 0
    ends = [np.where(yes, one, np.where(no, other, np.nan)) for one, other in zip(above, elsewhere)]
    return Between(*ends)


def _log(x: Between) -> Between:
    # log(x) near 1 is as wrong as x is, not as log(x)
    low, high = np.log(x.low), np.log(x.high)
    unknown = ~(x.low > 0)
    ends = low - np.abs(low) * SLACK - 2.0**-1000, high + np.abs(high) * SLACK + 2.0**-1000
    return Between(*(np.where(unknown, np.nan, end) for end in ends))


OPERATORS: dict[str, Callable[..., Between]] = {
    "abs": _absolute,
    "add": _add,
    "ceil": _stepping(np.ceil),
    "div": _divide,
    "erf": _rising(special.erf),
    "exp": _rising(np.exp),
    "floor": _stepping(np.floor),
    "log": _log,
    "max": lambda a, b: Between(np.maximum(a.low, b.low), np.maximum(a.high, b.high)),
    "min": lambda a, b: Between(np.minimum(a.low, b.low), np.minimum(a.high, b.high)),
    "mul": _multiply,
    "neg": _negate,
    "pow": _power,
    "reciprocal": lambda x: _divide(Between(1.0, 1.0), x),
    "relu": _stepping(lambda x: np.maximum(x, 0.0)),
    "round": _stepping(np.rint),
    "sigmoid": _rising(special.expit),
    "sign": _stepping(np.sign),
    "softplus": _rising(lambda x: np.logaddexp(x, 0.0)),
    "sqrt": lambda x: _next(np.sqrt(x.low), np.sqrt(x.high)),
    "sub": _subtract,
    "tanh": _rising(np.tanh),
    "where": _where,
}
