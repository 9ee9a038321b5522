"""Least and greatest value of a network's inputs, which their fixed-point format is chosen by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from refq.data.batches import Batch
from refq.data.preprocessing import Rule


@dataclass(frozen=True)
class Range:
    """bounds: least and greatest value; integral: whether all are whole numbers. inputs: how many
    were looked at; none where their type says it."""

    bounds: tuple[float, float]
    integral: bool
    inputs: int = 0


def range_of(rule: Rule, stream: Iterable[Batch]) -> Range:
    """What a rule's inputs can be, or what those of a stream are where it does not know."""
    if rule.bounds is not None:
        return Range(rule.bounds, rule.integral)
    low, high, inputs = float("inf"), float("-inf"), 0
    for values, _ in stream:
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        inputs += len(values)
    return Range((low, high), rule.integral, inputs)
