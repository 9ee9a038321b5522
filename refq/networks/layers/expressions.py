"""Expressions of one variable, as data: what a Function computes of each value.

An expression is "x", a number, or nested tuples of an operator of OPERANDS and its operands, such
as ("mul", "x", ("sigmoid", "x")).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Union

import numpy as np
from scipy import special

from refq.errors import ShapeError

Expression = Union[str, float, tuple[Any, ...]]
DEEPEST, LARGEST = 32, 256


def _where(x: Any, above: Any, elsewhere: Any) -> Any:
    return np.where(x > 0, above, elsewhere)


# what NumPy has for each operator. where: its second operand where the first is above 0, its third
# elsewhere
OPERATORS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "abs": (1, np.abs),
    "add": (2, np.add),
    "ceil": (1, np.ceil),
    "div": (2, np.divide),
    "erf": (1, special.erf),
    "exp": (1, np.exp),
    "floor": (1, np.floor),
    "log": (1, np.log),
    "max": (2, np.maximum),
    "min": (2, np.minimum),
    "mul": (2, np.multiply),
    "neg": (1, np.negative),
    "pow": (2, np.power),
    "reciprocal": (1, np.reciprocal),
    "relu": (1, lambda x: np.maximum(x, 0)),
    "round": (1, np.rint),
    "sigmoid": (1, special.expit),
    "sign": (1, np.sign),
    "softplus": (1, lambda x: np.logaddexp(x, 0)),
    "sqrt": (1, np.sqrt),
    "sub": (2, np.subtract),
    "tanh": (1, np.tanh),
    "where": (3, _where),
}
# below this a value is negative, above it is what rounding leaves of 0
NEGATIVE = -(2.0**-40)


def check(expression: Expression, depth: int = 0) -> int:
    """How many operators an expression has. Raises ShapeError for what is none."""
    if depth > DEEPEST:
        raise ShapeError(f"an expression nested {depth} deep", f"at most {DEEPEST}")
    if isinstance(expression, tuple) and expression:
        operator, *operands = expression
        if not isinstance(operator, str) or OPERATORS.get(operator, (0,))[0] != len(operands):
            found = f"operator {str(operator)[:40]!r} of {len(operands)} operands"
            raise ShapeError(found, ", ".join(OPERATORS))
        count = 1 + sum(check(operand, depth + 1) for operand in operands)
        if count > LARGEST:
            raise ShapeError(f"an expression of {count} operators", f"at most {LARGEST}")
        return count
    number = isinstance(expression, (int, float)) and not isinstance(expression, bool)
    if expression != "x" and not (number and np.isfinite(expression)):
        raise ShapeError(f"operand {str(expression)[:40]!r}", "'x' or a finite number")
    return 0


def spelled(expression: Expression) -> str:
    """For people: mul(x, sigmoid(x))."""
    if isinstance(expression, tuple):
        return f"{expression[0]}({', '.join(spelled(operand) for operand in expression[1:])})"
    return expression if isinstance(expression, str) else f"{expression:g}"


def values(expression: Expression, x: np.ndarray) -> np.ndarray:
    """An expression's values in x's type, float32 or float64, of any shape; not exact."""
    with np.errstate(all="ignore"):
        return np.broadcast_to(_values(expression, x), x.shape).astype(x.dtype, copy=False)


def _values(expression: Expression, x: np.ndarray) -> Any:
    if not isinstance(expression, tuple):
        return x if expression == "x" else x.dtype.type(expression)
    operator, *operands = expression
    return OPERATORS[operator][1](*(_values(operand, x) for operand in operands))


@lru_cache(maxsize=1024)
def negative(expression: Expression, signed: bool) -> bool:
    """Whether an expression is below 0 for some x, of 0 or more unless x is signed."""
    steps = np.arange(1.0, 2.0, 1 / 64)
    some = np.concatenate([[0.0], *(steps * 2.0**k for k in range(-24, 17))])
    found = values(expression, np.concatenate([some, -some]) if signed else some)
    return bool((found < NEGATIVE).any())
