"""The calls of layers that a Keras configuration states, each behind those that it reads.

A layer that is called twice is one layer with two calls; a model within the model is a layer.
"""

from __future__ import annotations

import graphlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from refq.importers.contents import MOST, refuse
from refq.importers.keras_config import Key, checked, inner_config, operands, snake

# arguments that are numbers to compute on; others tell how
NUMBERS = {"x", "y", "x1", "x2", "a", "b"}


@dataclass(frozen=True)
class Entry:
    """One layer of a list. path: of its arrays in Keras 3's files. calls: as the file has them."""

    name: str
    kind: str
    module: str
    config: Mapping[str, Any]
    path: str
    calls: Sequence[Any]


@dataclass(frozen=True)
class Call:
    """index: which of the layer's. number: what it is called by. inputs: tensors. operands: those
    and numbers, in the order of the arguments. arguments: the others, by name."""

    entry: Entry
    index: int
    number: int
    inputs: tuple[Key, ...]
    operands: tuple[Key | float, ...]
    arguments: Mapping[str, Any]


def entries(listed: Any, place: str) -> list[Entry]:
    """The layers of a model whose arrays are below a place: Keras counts layers of a class."""
    made, seen, names = [], Counter[str](), set()
    for index, each in enumerate(checked(listed)):
        config = inner_config(each)
        kind = str(each.get("class_name"))
        name = str(config.get("name") or each.get("name") or f"layer {index + 1}")
        word = snake(kind.rpartition(">")[2])
        path = f"{place}layers/{word}{f'_{seen[word]}' if seen[word] else ''}"
        seen[word] += 1
        if name in names:
            raise refuse(f"two layers named {name}", "each name once")
        names.add(name)
        calls = each.get("inbound_nodes") or []
        if not isinstance(calls, list) or len(calls) > MOST:
            raise refuse(f"{name}: calls that are no list", "what Keras writes")
        made.append(Entry(name, kind, str(each.get("module") or ""), config, path, calls))
    return made


def ordered(layers: Sequence[Entry], ends: Sequence[Key]) -> list[Call]:
    """All calls. ends: tensors that are the model's outputs. Raises WeightsError where one waits
    for itself."""
    listed = [
        _call(entry, index, call) for entry in layers for index, call in enumerate(entry.calls)
    ]
    highest: dict[str, int] = {}
    for name, number, _ in (*ends, *(key for call in listed for key in call.inputs)):
        highest[name] = max(number, highest.get(name, 0))
    calls = {}
    for call in listed:
        # before Keras 3 the first call of a model within is the one that makes it, and not listed
        begin = int(highest.get(call.entry.name, 0) == len(call.entry.calls))
        calls[call.entry.name, begin + call.index] = replace(call, number=begin + call.index)
    reads = {
        key: [(name, number) for name, number, _ in call.inputs if (name, number) in calls]
        for key, call in calls.items()
    }
    try:
        order = list(graphlib.TopologicalSorter(reads).static_order())
    except graphlib.CycleError as error:
        raise refuse(f"layers that read each other in a circle: {error.args[1][:3]}") from None
    return [calls[key] for key in order]


def _call(entry: Entry, index: int, call: Any) -> Call:
    """Keras 3 writes {"args", "kwargs"}, before it was lists [layer, call, output, arguments]."""
    if isinstance(call, dict):
        arguments = call.get("kwargs") or {}
        given = list(operands(call.get("args")))
    else:
        row = call if isinstance(call, list) else []
        row = [row] if row and isinstance(row[0], str) else row
        given = list(operands(row))
        said = [each[3] for each in row if isinstance(each, list) and len(each) > 3 and each[3]]
        arguments = {key: value for each in said for key, value in dict(each).items()}
    for key, value in arguments.items():
        found = list(operands(value))
        if key in NUMBERS or any(isinstance(each, tuple) for each in found):
            given += found
    inputs = tuple(each for each in given if isinstance(each, tuple))
    return Call(entry, index, index, inputs, tuple(given), arguments)
