"""A layer's function of one stored value as a table over the codes that a map holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refq.engine.integer import IntegerSteps
from refq.engine.map_codes import scale, span
from refq.engine.steps import Tensor
from refq.errors import FormatError
from refq.formats.fixed import FixedPointFormat
from refq.networks.graph import Node
from refq.plans.plan import TensorPlan

# more than any map holds
WIDE = 32


def tabled(
    steps: IntegerSteps, node: Node, source: TensorPlan
) -> tuple[np.ndarray, np.ndarray] | None:
    """(int32 what the output's map holds, bool whether it saturated) for every number that the
    source's holds; None where the layer has no value at one of its codes, which may not occur.
    """
    least, most = span(source)
    codes = np.left_shift(np.arange(least, most + 1, dtype=np.int32), scale(source))
    codes = codes[None, None, None]
    entry, plan = steps.plan.tensors[node.name], steps.plan
    every = Tensor(codes, source.fixed.frac_bits, source)
    wide = TensorPlan(FixedPointFormat(WIDE, entry.fixed.frac_bits))
    beside = replace(steps, plan=replace(plan, tensors={**plan.tensors, node.name: wide}))
    plain = replace(entry, code=None)
    alone = replace(steps, plan=replace(plan, tensors={**plan.tensors, node.name: plain}))
    try:
        stored, rounded, unlimited = (each(node, [every]).codes for each in (steps, alone, beside))
    except FormatError:
        return None
    table = (stored.reshape(-1) >> scale(entry)) - span(entry)[0]
    return table.astype(np.int32), (rounded != unlimited).reshape(-1)
