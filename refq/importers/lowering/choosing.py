"""Handlers of what chooses: comparisons and Where as functions of one tensor, and an If whose
condition is known. True is 1, false is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from refq.importers.foreign import Branch
from refq.importers.lowering.values import Held, Value
from refq.importers.lowering.walking import Step, Unheld, handles
from refq.networks.layers.expressions import Expression


def greater(x: Expression, y: Expression) -> Expression:
    return ("where", ("sub", x, y), 1.0, 0.0)


def less(x: Expression, y: Expression) -> Expression:
    return greater(y, x)


def opposite(x: Expression) -> Expression:
    return ("sub", 1.0, x)


CHOICES: dict[str, Callable[..., Expression]] = {
    "And": lambda x, y: ("mul", x, y),
    "Equal": lambda x, y: opposite(("abs", ("sign", ("sub", x, y)))),
    "Greater": greater,
    "GreaterOrEqual": lambda x, y: opposite(less(x, y)),
    "Less": less,
    "LessOrEqual": lambda x, y: opposite(greater(x, y)),
    "Not": opposite,
    "Or": lambda x, y: ("max", x, y),
    "Where": lambda chosen, x, y: ("where", chosen, x, y),
    "Xor": lambda x, y: ("abs", ("sub", x, y)),
}


@handles(*CHOICES)
def chosen(step: Step) -> Value:
    """A function of one tensor, which each input is a function of, or a number."""
    held = [value for value in step.inputs if isinstance(value, Held)]
    places = {(value.tensor, value.dims) for value in held}
    if len(places) > 1:
        raise Unheld(f"it has {len(places)} tensors")
    operands = [_operand(value, held[0]) for value in step.inputs]
    made = replace(held[0], expression=CHOICES[step.operator.kind](*operands))
    return step.walker.function(made, step.operator)


def _operand(value: Value | None, held: Held) -> Expression:
    if isinstance(value, Held):
        return value.expression
    if not isinstance(value, np.ndarray) or not value.size:
        raise Unheld("an input is missing")
    number = float(value.flat[0])
    dims = np.broadcast_shapes(value.shape, held.dims)
    if (value != value.flat[0]).any() or dims != held.dims or not math.isfinite(number):
        raise Unheld(f"a constant of shape {value.shape} that is not one number")
    return number


@handles("If")
def branch(step: Step) -> Sequence[Value]:
    """The operators of the branch that a known condition leads to."""
    known = step.constant(0)
    taken = step.attributes.get(
        "then_branch" if known is not None and known.any() else "else_branch"
    )
    if known is None or known.size != 1 or not isinstance(taken, Branch):
        raise Unheld("its condition is computed")
    step.walker.through(taken.operators)
    missing = [name for name in taken.outputs if name not in step.walker.values]
    if missing:
        raise Unheld(f"{missing[0]}, which nothing makes")
    return [step.walker.values[name] for name in taken.outputs]
