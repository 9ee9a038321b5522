"""Functions of one value, by definition: code by code, series summed to far more digits than
float64 has (contract section 4)."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np

from refq.errors import FormatError
from refq.formats.fixed import FixedPointFormat, Overflow, Rounding
from refq.oracle.definitions import quantize

# working digits; those that decide on which side of a step a value lies
DIGITS, SURE = 110, 40
MATH = decimal.Context(
    prec=DIGITS, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[], rounding="ROUND_HALF_EVEN"
)
NAN = Decimal("NaN")


def function(x: np.ndarray, expression: Any) -> np.ndarray:
    flat = [float(_exact(expression, Decimal(float(value)))) for value in x.reshape(-1)]
    return np.array(flat, np.float32).reshape(x.shape)


def function_integer(
    codes: np.ndarray,
    frac_bits: int,
    fmt: FixedPointFormat,
    expression: Any,
    rounding: Rounding = Rounding.TIES_EVEN,
    overflow: Overflow = Overflow.SAT,
    seed: int = 0,
    offset: int = 0,
) -> tuple[np.ndarray, int]:
    with decimal.localcontext(MATH):
        steps = Decimal(2) ** -frac_bits
        values = {
            int(code): float(_exact(expression, int(code) * steps)) for code in np.unique(codes)
        }
    for code, value in values.items():
        if math.isnan(value) or (math.isinf(value) and overflow is Overflow.WRAP):
            raise FormatError(f"{expression}, which is {value} at code {code}", "a value")
    flat = [values[int(code)] for code in codes.reshape(-1)]
    real = np.array(flat, np.float64).reshape(codes.shape)
    return quantize(real, fmt, rounding, overflow, seed, offset)


def _exact(expression: Any, x: Decimal) -> Decimal:
    with decimal.localcontext(MATH):
        return _value(expression, x)


def _value(expression: Any, x: Decimal) -> Decimal:
    if expression == "x":
        return x
    if not isinstance(expression, tuple):
        return Decimal(expression)
    name, *operands = expression
    if name == "where":
        decides = _value(operands[0], x)
        return decides if decides.is_nan() else _value(operands[1 if decides > 0 else 2], x)
    given = [_value(operand, x) for operand in operands]
    if any(each.is_nan() for each in given):
        return NAN
    result = FUNCTIONS[name](*given)
    return Decimal(0) if result == 0 else result


def _sum(a: Decimal, b: Decimal) -> Decimal:
    total = a + b
    whole = total.is_finite() and a and b and total
    if whole and max(a.adjusted(), b.adjusted()) - total.adjusted() > SURE:
        return Decimal(0)  # what rounding leaves of equal numbers
    return total


def _quotient(a: Decimal, b: Decimal) -> Decimal:
    if b != 0:
        return a / b
    return NAN if a == 0 else Decimal("Infinity").copy_sign(a)


def _exp(x: Decimal) -> Decimal:
    """The series of exp(x / 2**k), squared k times."""
    if x.is_infinite():
        return x if x > 0 else Decimal(0)
    if abs(x) > Decimal(10) ** 15:
        return Decimal("Infinity") if x > 0 else Decimal(0)
    halvings = max(0, int(abs(x)).bit_length()) + 8
    with decimal.localcontext() as context:
        context.prec = DIGITS + halvings
        small = x / 2**halvings
        total, term, n = Decimal(1), Decimal(1), 0
        while term and term.adjusted() > -context.prec - 2:
            n += 1
            term = term * small / n
            total += term
        for _ in range(halvings):
            total = total * total
    return +total


def _log(x: Decimal) -> Decimal:
    """log(m 2**e) = e log(2) + log(m), by the series of atanh."""
    if x <= 0:
        return Decimal("-Infinity") if x == 0 else NAN
    if x.is_infinite():
        return x
    with decimal.localcontext() as context:
        context.prec = DIGITS + 20
        exponent = int(x.adjusted() * 3.3219280948873623)
        mantissa = x / Decimal(2) ** exponent
        while mantissa > Decimal("1.5"):
            mantissa, exponent = mantissa / 2, exponent + 1
        while mantissa < Decimal("0.75"):
            mantissa, exponent = mantissa * 2, exponent - 1
        total = _log_of_near(mantissa) + exponent * _log_of_two()
    return +total


def _log_of_near(x: Decimal) -> Decimal:
    ratio = (x - 1) / (x + 1)
    total, power, n = Decimal(0), ratio, 1
    while power and power.adjusted() - ratio.adjusted() > -DIGITS - 25:
        total += power / n
        power, n = power * ratio * ratio, n + 2
    return 2 * total


@lru_cache(maxsize=1)
def _log_of_two() -> Decimal:
    with decimal.localcontext() as context:
        context.prec = DIGITS + 40
        return 2 * _log_of_near(Decimal(2).sqrt())


def _sigmoid(x: Decimal) -> Decimal:
    if abs(x) > 10**6:
        return Decimal(1) if x > 0 else _exp(x)
    power = _exp(x)
    return power / (1 + power)


def _tanh(x: Decimal) -> Decimal:
    """sinh / cosh; near 0 its first terms."""
    if abs(x) > 1000:
        return Decimal(1).copy_sign(x)
    if x and x.adjusted() < -20:
        square = x * x
        return x * (1 - square / 3 * (1 - square * 2 / 5 * (1 - square * 17 / 42)))
    up, down = _exp(x), _exp(-x)
    return (up - down) / (up + down)


def _softplus(x: Decimal) -> Decimal:
    if x > 10**4:
        return x
    power = _exp(x)
    if power.adjusted() < -30:
        return power * (1 - power / 2 + power * power / 3)
    return _log(1 + power)


def _erf(x: Decimal) -> Decimal:
    """The alternating series of its integral, with digits for what cancels."""
    if abs(x) > 16:
        return Decimal(1).copy_sign(x)
    with decimal.localcontext() as context:
        context.prec = DIGITS + 20 + int(x * x)
        square, power, total, n = x * x, x, x, 0
        while power and power.adjusted() > -context.prec:
            n += 1
            power = -power * square / n
            total += power / (2 * n + 1)
        total = 2 * total / _pi().sqrt()
    return +total


@lru_cache(maxsize=1)
def _pi() -> Decimal:
    """By the arithmetic-geometric mean (Gauss and Legendre)."""
    with decimal.localcontext() as context:
        context.prec = 600
        a, b, t, p = Decimal(1), 1 / Decimal(2).sqrt(), Decimal("0.25"), Decimal(1)
        for _ in range(10):
            mean = (a + b) / 2
            b, t, p = (a * b).sqrt(), t - p * (a - mean) ** 2, 2 * p
            a = mean
        return (a + b) ** 2 / (4 * t)


def _power(a: Decimal, b: Decimal) -> Decimal:
    if b == 0:
        return Decimal(1)
    if a == 0:
        return Decimal(0) if b > 0 else Decimal("Infinity")
    if a.is_infinite() or b.is_infinite():
        return Decimal(float(a) ** float(b))
    whole = b == b.to_integral_value()
    if whole and abs(b) <= 64:
        product = Decimal(1)
        for _ in range(int(abs(b))):
            product *= a
        return product if b > 0 else 1 / product
    if a < 0 and not whole:
        return NAN
    size = _exp(b * _log(abs(a)))
    return -size if a < 0 and b % 2 else size


def _whole(rounding: str) -> Callable[[Decimal], Decimal]:
    narrow = decimal.Context(prec=SURE)
    return lambda x: narrow.plus(x).to_integral_value(rounding)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": lambda x: abs(x),
    "add": _sum,
    "ceil": _whole("ROUND_CEILING"),
    "div": _quotient,
    "erf": _erf,
    "exp": _exp,
    "floor": _whole("ROUND_FLOOR"),
    "log": _log,
    "max": lambda a, b: a if a > b else b,
    "min": lambda a, b: a if a < b else b,
    "mul": lambda a, b: a * b,
    "neg": lambda x: -x,
    "pow": _power,
    "reciprocal": lambda x: _quotient(Decimal(1), x),
    "relu": lambda x: x if x > 0 else Decimal(0),
    "round": _whole("ROUND_HALF_EVEN"),
    "sigmoid": _sigmoid,
    "sign": lambda x: Decimal((x > 0) - (x < 0)),
    "softplus": _softplus,
    "sqrt": lambda x: NAN if x < 0 else x.sqrt(),
    "sub": lambda a, b: _sum(a, -b),
    "tanh": _tanh,
}
