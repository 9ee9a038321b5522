"""Values of expressions to 80 digits, one after the other, by decimal arithmetic (contract 4).

Exact enough that what is left, correctly rounded to float64, is the expression's value.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from refq.networks.layers.expressions import Expression

# digits of every operator's result, and those that decide whether a difference is nothing and on
# which side of a step a value lies
DIGITS, SURE = 80, 40
# more bits than DIGITS need
BITS = 320


def _context(digits: int) -> decimal.Context:
    # nothing raises: what is undefined is NaN, what is beyond 10**(10**18) infinite
    return decimal.Context(
        prec=digits, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[], clamp=0
    )


WORK, NARROW, WIDE = _context(DIGITS), _context(SURE), _context(2 * DIGITS)
ZERO, ONE, TWO, HALF = Decimal(0), Decimal(1), Decimal(2), Decimal("0.5")
INFINITY, NAN = Decimal("Infinity"), Decimal("NaN")
# tanh of more differs from 1 by nothing
FAR = Decimal(1000)


def value(expression: Expression, x: Decimal) -> Decimal:
    """An expression at x, to DIGITS digits; NaN where it is undefined. Zero has no sign."""
    if not isinstance(expression, tuple):
        return x if expression == "x" else Decimal(expression)
    operator, *operands = expression
    if operator == "where":
        condition, above, elsewhere = operands
        chosen = _settled(value(condition, x))
        if chosen.is_nan():
            return chosen
        return value(above if chosen > 0 else elsewhere, x)
    found = [value(operand, x) for operand in operands]
    if any(each.is_nan() for each in found):
        return NAN
    made = OPERATORS[operator](*found)
    return ZERO if made == 0 else made


def _settled(x: Decimal) -> Decimal:
    """To the digits that are sure: an integer that rounding has missed is one again."""
    return NARROW.plus(x)


def _sum(a: Decimal, b: Decimal) -> Decimal:
    total = WORK.add(a, b)
    if a and b and total and total.is_finite():
        # what rounding leaves of equal numbers
        gone = max(a.adjusted(), b.adjusted()) - total.adjusted() > SURE
        return ZERO if gone else total
    return total


def _divide(a: Decimal, b: Decimal) -> Decimal:
    if b == 0:
        return NAN if a == 0 else INFINITY.copy_sign(a)
    return WORK.divide(a, b)


def _power(a: Decimal, b: Decimal) -> Decimal:
    if b == 0:
        return ONE
    if a == 0:
        return ZERO if b > 0 else INFINITY
    if a < 0 and b.is_finite() and b != b.to_integral_value(context=WORK):
        return NAN
    if a.is_infinite() or b.is_infinite():
        return Decimal(float(a) ** float(b))
    return WORK.power(a, b)


def _log(x: Decimal) -> Decimal:
    if x == 0:
        return INFINITY.copy_negate()
    return NAN if x < 0 else WORK.ln(x)


def _sigmoid(x: Decimal) -> Decimal:
    return _divide(ONE, WORK.add(ONE, WORK.exp(x.copy_negate())))


def _tanh(x: Decimal) -> Decimal:
    if x.copy_abs() > FAR:
        return ONE.copy_sign(x)
    if x.adjusted() < -DIGITS // 2:
        return x  # x (1 - x**2 / 3)
    # as many digits more as the difference loses
    work = _context(DIGITS + 2 + max(0, -x.adjusted()))
    power = work.exp(work.multiply(TWO, x))
    return WORK.plus(work.divide(work.subtract(power, ONE), work.add(power, ONE)))


def _softplus(x: Decimal) -> Decimal:
    """max(x, 0) + log(1 + exp(-|x|))."""
    rest = WORK.exp(x.copy_abs().copy_negate())
    more = rest if rest.adjusted() < -DIGITS else WIDE.ln(WIDE.add(ONE, rest))
    return WORK.add(max(x, ZERO), more)


def _erf(x: Decimal) -> Decimal:
    if x.copy_abs() > 15:
        return ONE.copy_sign(x)  # 1 - erf(15) is below 10**-99
    square = WORK.multiply(x, x)
    power = WORK.divide(WORK.exp(square.copy_negate()), _root_of_pi())
    if square < 16:
        return WORK.multiply(WORK.multiply(power, x), _series(square))
    rest = WORK.divide(power, WORK.multiply(x.copy_abs(), _fraction(square)))
    return WORK.subtract(ONE, rest).copy_sign(x)


def _series(square: Decimal) -> Decimal:
    """2 sum of (2 x**2)**n / (1 3 ... (2n+1)), all positive (Abramowitz and Stegun 7.1.6)."""
    # integers of BITS fraction bits: far quicker, and the sum is 1 or more
    double = int(WIDE.multiply(square, Decimal(1 << (BITS + 1))))
    term = total = 1 << BITS
    n = 1
    while term:
        term = (term * double >> BITS) // (2 * n + 1)
        total, n = total + term, n + 1
    return WORK.divide(Decimal(total), Decimal(1 << (BITS - 1)))


def _fraction(square: Decimal) -> Decimal:
    """exp(-x**2) / (sqrt(pi) x (1 - erf(x))): G of 1, where G of k is 1 + k / (2 x**2 G of k+1)
    (Abramowitz and Stegun 7.1.14), to as many digits as 1 - erf(x) needs."""
    needed = max(0.0, (DIGITS + 5) * math.log(10) - float(square))
    one, wide = 1 << BITS, int(WIDE.multiply(square, Decimal(1 << BITS)))
    total = one
    for k in range(10 + math.ceil(needed**2 / (6 * float(square))), 0, -1):
        total = one + (k << (2 * BITS - 1)) // (wide * total >> BITS)
    return WORK.divide(Decimal(total), Decimal(one))


@lru_cache(maxsize=1)
def _root_of_pi() -> Decimal:
    """pi = 16 arctan(1/5) - 4 arctan(1/239) (Machin)."""

    def arctan(inverse: int) -> Decimal:
        total, power, n = ZERO, WIDE.divide(ONE, Decimal(inverse)), 0
        while power.adjusted() > -DIGITS - 10:
            total = WIDE.add(
                total, WIDE.divide(power.copy_negate() if n % 2 else power, Decimal(2 * n + 1))
            )
            power, n = WIDE.divide(power, Decimal(inverse * inverse)), n + 1
        return total

    pi = WIDE.subtract(
        WIDE.multiply(Decimal(16), arctan(5)), WIDE.multiply(Decimal(4), arctan(239))
    )
    return WORK.sqrt(pi)


def _whole(rounding: str) -> Callable[[Decimal], Decimal]:
    def rounded(x: Decimal) -> Decimal:
        return _settled(x).to_integral_value(rounding, context=WORK)

    return rounded


def _sign(x: Decimal) -> Decimal:
    return ONE.copy_sign(x) if x else ZERO


OPERATORS: dict[str, Callable[..., Any]] = {
    "abs": Decimal.copy_abs,
    "add": _sum,
    "ceil": _whole(decimal.ROUND_CEILING),
    "div": _divide,
    "erf": _erf,
    "exp": WORK.exp,
    "floor": _whole(decimal.ROUND_FLOOR),
    "log": _log,
    "max": max,
    "min": min,
    "mul": WORK.multiply,
    "neg": Decimal.copy_negate,
    "pow": _power,
    "reciprocal": lambda x: _divide(ONE, x),
    "relu": lambda x: max(x, ZERO),
    "round": _whole(decimal.ROUND_HALF_EVEN),
    "sigmoid": _sigmoid,
    "sign": _sign,
    "softplus": _softplus,
    "sqrt": lambda x: NAN if x < 0 else WORK.sqrt(x),
    "sub": lambda a, b: _sum(a, b.copy_negate()),
    "tanh": _tanh,
}
