"""Facts of Caffe's layers, as its messages state them: the last value counts."""

from __future__ import annotations

from typing import Any

from refq.importers.contents import refuse
from refq.importers.stating import Facts
from refq.networks.layers import Pair


def one(facts: Facts, name: str, default: Any) -> Any:
    return facts.value(name, [default])[-1]


def pair(facts: Facts, name: str, default: int, prefix: str = "") -> Pair:
    """A field that is stated once, for rows and columns, or as name_h and name_w."""
    listed = facts.value(name, [])
    rows, columns = (facts.value(f"{prefix or name}_{side}", []) for side in "hw")
    if len(listed) > 2 or (listed and (rows or columns)):
        raise refuse(f"{facts.layer}: {name} {[*listed, *rows, *columns]}", "rows and columns")
    first, last = (listed[0], listed[-1]) if listed else (default, default)
    return (rows or [first])[-1], (columns or [last])[-1]


def same(layer: str, fact: str, stated: object, stored: object) -> None:
    if stated != stored:
        raise refuse(f"{layer}: states {fact} {stated}", f"{stored}, as its arrays are")


def check_outputs(facts: Facts, outputs: int, bias: bool) -> None:
    """Raises WeightsError where a layer states others than its arrays have."""
    same(facts.layer, "num_output", one(facts, "num_output", outputs), outputs)
    same(facts.layer, "bias_term", bool(one(facts, "bias_term", 1)), bias)
