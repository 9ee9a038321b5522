"""Any function of one stored value: sigmoid, SiLU, GELU, hard swish..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from refq.networks.layers.expressions import Expression, check, negative, spelled
from refq.networks.layers.layer import IntegerStep, Layer, MapStep, Shape


@dataclass(frozen=True)
class Function(Layer):
    """A function of each value by itself, written as an expression (expressions.py).

    In integers it is a table over the codes that it reads: the function's value in float64, then
    the rounding rule (contract section 4).
    """

    expression: Expression

    near = 0

    @property
    def words(self) -> str:
        return f"function {spelled(self.expression)}"

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        check(self.expression)
        return shape

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        values: np.ndarray = ops.function(*inputs, self.expression)
        return values

    def integer_step(self, step: IntegerStep) -> Any:
        function = partial(step.ops.function_integer, expression=self.expression, **step.modes)
        return step.rounded(*function(*step.inputs, *step.frac_bits, step.format))

    def map_step(self, step: MapStep) -> Any:
        return step.looked_up()

    def signed(self, inputs: Sequence[bool]) -> bool:
        return negative(self.expression, any(inputs))
