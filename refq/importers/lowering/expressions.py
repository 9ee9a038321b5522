"""Elementwise operators as expressions of one value (refq.networks.layers.expressions)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from refq.networks.layers.expressions import OPERATORS, Expression

Made = Callable[[Mapping[str, Any], Expression], Expression]
SQRT_HALF, CUBIC = math.sqrt(0.5), 0.044715
SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def clip(x: Expression, low: float | None, high: float | None) -> Expression:
    lower: Expression = x if low is None or low == -math.inf else ("max", x, low)
    return lower if high is None or high == math.inf else ("min", lower, high)


def leaky(x: Expression, slope: float) -> Expression:
    return ("where", x, x, ("mul", x, slope))


def hard_sigmoid(x: Expression, alpha: float, beta: float) -> Expression:
    return clip(("add", ("mul", x, alpha), beta), 0.0, 1.0)


def elu(x: Expression, alpha: float) -> Expression:
    return ("where", x, x, ("mul", ("sub", ("exp", x), 1.0), alpha))


def gelu(attributes: Mapping[str, Any], x: Expression) -> Expression:
    if attributes.get("approximate", "none") == "tanh":
        cubed = ("mul", x, ("mul", x, x))
        inner = ("mul", ("add", x, ("mul", cubed, CUBIC)), math.sqrt(2 / math.pi))
        return ("mul", ("mul", x, 0.5), ("add", ("tanh", inner), 1.0))
    return ("mul", ("mul", x, 0.5), ("add", ("erf", ("mul", x, SQRT_HALF)), 1.0))


def celu(attributes: Mapping[str, Any], x: Expression) -> Expression:
    alpha = attributes.get("alpha", 1.0)
    return ("where", x, x, ("mul", ("sub", ("exp", ("div", x, alpha)), 1.0), alpha))


def selu(attributes: Mapping[str, Any], x: Expression) -> Expression:
    alpha, gamma = attributes.get("alpha", SELU_ALPHA), attributes.get("gamma", SELU_GAMMA)
    return ("mul", elu(x, alpha), gamma)


def shrink(attributes: Mapping[str, Any], x: Expression) -> Expression:
    bias, limit = attributes.get("bias", 0.0), attributes.get("lambd", 0.5)
    above = ("where", ("sub", x, limit), ("sub", x, bias), 0.0)
    return ("where", ("sub", -limit, x), ("add", x, bias), above)


# what ONNX's operators of one tensor compute, by their attributes
UNARY: dict[str, Made] = {
    **{
        name.capitalize(): lambda attributes, x, name=name: (name, x)  # type: ignore[misc]
        for name, (count, _) in OPERATORS.items()
        if count == 1
    },
    "Celu": celu,
    "Elu": lambda a, x: elu(x, a.get("alpha", 1.0)),
    "Gelu": gelu,
    "HardSigmoid": lambda a, x: hard_sigmoid(x, a.get("alpha", 0.2), a.get("beta", 0.5)),
    "HardSwish": lambda a, x: ("mul", x, hard_sigmoid(x, 1 / 6, 0.5)),
    "LeakyRelu": lambda a, x: leaky(x, a.get("alpha", 0.01)),
    "Mish": lambda a, x: ("mul", x, ("tanh", ("softplus", x))),
    "Selu": selu,
    "Shrink": shrink,
    "Softsign": lambda a, x: ("div", x, ("add", ("abs", x), 1.0)),
    "Swish": lambda a, x: ("mul", x, ("sigmoid", ("mul", x, a.get("alpha", 1.0)))),
    "ThresholdedRelu": lambda a, x: ("where", ("sub", x, a.get("alpha", 1.0)), x, 0.0),
}
# of two or more, each a function of the same tensor or a number
SEVERAL = {
    "Add": "add",
    "Div": "div",
    "Max": "max",
    "Min": "min",
    "Mul": "mul",
    "Pow": "pow",
    "Sub": "sub",
    "Sum": "add",
}


def count(expression: Expression, part: Expression = "x") -> int:
    """How often a part occurs."""
    if expression == part:
        return 1
    if isinstance(expression, tuple):
        return sum(count(operand, part) for operand in expression[1:])
    return 0


def put(expression: Expression, part: Expression, instead: Expression) -> Expression:
    """An expression with something else in the place of a part."""
    if expression == part:
        return instead
    if isinstance(expression, tuple):
        operands = (put(operand, part, instead) for operand in expression[1:])
        return (expression[0], *operands)
    return expression


def parts(expression: Expression) -> list[Expression]:
    """Every part that is made of x, small ones first."""
    if not isinstance(expression, tuple):
        return []
    below = [part for operand in expression[1:] for part in parts(operand)]
    return [*below, expression] if count(expression) else below


def size(expression: Expression) -> tuple[int, int]:
    """(operators, how deep they are nested)."""
    if not isinstance(expression, tuple):
        return 0, 0
    sizes = [size(operand) for operand in expression[1:]]
    return 1 + sum(n for n, _ in sizes), 1 + max(depth for _, depth in sizes)


def affine(expression: Expression) -> tuple[float, float] | None:
    """(a, b) of a x + b; None for anything else."""
    if expression == "x":
        return 1.0, 0.0
    if not isinstance(expression, tuple):
        return (0.0, float(expression)) if not isinstance(expression, str) else None
    operator, *operands = expression
    found = [affine(operand) for operand in operands]
    if None in found:
        return None
    match operator, found:
        case "neg", [(a, b)]:
            return -a, -b
        case "add", [(a, b), (c, d)]:
            return a + c, b + d
        case "sub", [(a, b), (c, d)]:
            return a - c, b - d
        case "mul", [(a, b), (0.0, d)]:
            return a * d, b * d
        case "mul", [(0.0, b), (c, d)]:
            return b * c, b * d
        case "div", [(a, b), (0.0, d)] if d:
            return a / d, b / d
    return None
