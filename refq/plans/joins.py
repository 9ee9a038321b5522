"""Additions and concatenations under a plan: the formats in which operands meet (contract 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from refq.networks.graph import Network
from refq.networks.points import is_wide
from refq.plans.plan import FLOAT, Plan, exact_sum


@dataclass(frozen=True)
class Join:
    """An addition, or a concatenation.

    formats: of each operand's codes, as reports spell them. shifts: how far left each operand's
    codes are shifted, to the largest F; empty in float32. result: the format in which what it makes
    is stored, by its ReLU where that reads the exact sums.
    """

    name: str
    kind: str
    operands: tuple[str, ...]
    formats: tuple[str, ...]
    shifts: tuple[int, ...]
    result: str

    def to_json(self) -> dict[str, Any]:
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}

    def __str__(self) -> str:
        """As one line of a report; operands of one format are counted."""
        short = [fmt.partition(" = ")[0] for fmt in self.formats]
        if self.kind == "concat":
            # one format, but for simulations of systems that do without
            return f"{self.name}: {len(short)} operands in {', '.join(dict.fromkeys(short))}"
        parts = [
            f"{operand} {fmt}" + (f" << {shift}" if shift else "")
            for operand, fmt, shift in zip(self.operands, short, self.shifts or (0,) * len(short))
        ]
        return f"{self.name}: {' + '.join(parts)}, stored as {self.result.partition(' = ')[0]}"


def joins(network: Network, plan: Plan, missing: str) -> Iterator[Join]:
    """The joins of a network in order; `missing` stands for the format of what is not quantized."""

    def spelled(name: str) -> str:
        entry = plan.tensors.get(name)
        return str(entry.format) if entry else missing

    for node in network.nodes:
        if not node.layer.several:
            continue
        shifts: tuple[int, ...] = ()
        if plan.arithmetic != FLOAT:
            places = [plan.tensors[name].fixed.frac_bits for name in node.inputs]
            shifts = tuple(max(places) - place for place in places)
        readers = network.consumers[node.name]
        stored = readers[0].name if readers and is_wide(network, node) else node.name
        formats = tuple(spelled(name) for name in node.inputs)
        result = spelled(stored)
        if stored not in plan.tensors and plan.arithmetic != FLOAT:
            operands = [plan.tensors[name] for name in node.inputs]
            result = f"{exact_sum(node.layer, operands)[0]} exact bits"
        yield Join(
            name=node.name,
            kind=node.layer.kind.lower(),
            operands=node.inputs,
            formats=formats,
            shifts=shifts,
            result=result,
        )
