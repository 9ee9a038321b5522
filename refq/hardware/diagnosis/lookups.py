"""A function's table read in another way: a neighbour, another sign of the code, not at all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from refq.hardware.diagnosis.case import Case, Guess
from refq.hardware.diagnosis.pipeline import SUM, Pipeline


def lookups(case: Case) -> Iterator[Guess]:
    """Entries of the golden table that other codes have, or the codes themselves."""
    line = Pipeline(case)
    table = case.sibling(f"{line.layer.name}.table")
    if line.layer.type != "Function" or table is None or line.role in (None, SUM):
        return
    (source,) = line.layer.inputs
    named = [case.sibling(f"{source}.{stage}") for stage in ("value", "code")]
    read = next((codes for codes in named if codes is not None), None)
    kept = line.plan.tensors.get(source)
    if read is None or read.shape != case.array.shape or kept is None or kept.drops:
        return
    signed, half = kept.fixed.signed, len(table) // 2

    def at(shift: int, places: np.ndarray) -> np.ndarray:
        index = case.aligned(read, places) + (half if signed else 0) + shift
        wrapped = index % len(table) if abs(shift) == half else np.clip(index, 0, len(table) - 1)
        return line.end(table[wrapped], line.code)

    usual = np.arange(min(case.compared, 512), dtype=np.int64)
    usual = usual[case.source(usual) >= 0]
    if not np.array_equal(at(0, usual), case.expected[usual]):
        return
    yield Guess("table", "table: the entry of the code above is read", partial(at, 1))
    yield Guess("table", "table: the entry of the code below is read", partial(at, -1))
    other = "unsigned" if signed else "signed"
    yield Guess("table", f"table: its index takes codes as {other}", partial(at, half))
    yield Guess(
        "table",
        "function: missing, its operand went on",
        lambda places: line.end(case.aligned(read, places), line.code),
    )
