"""What a file states of its layers, in one form for all formats, and the graph that comes of it.

Readers of Caffe, Keras and MatConvNet say of each layer what it computes, in the words of
importers.graphs. Here normalisations, biases and paddings become a part of the layers that they
belong to, as in a file of ONNX; matching.py then compares graphs, whatever file they come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from refq.importers.contents import Step, Unit, Window, refuse
from refq.networks.graph import INPUT
from refq.networks.layers import NO_PADS, Pads

SOFTMAX, NORMALISATION, PADDING = "softmax", "normalisation", "padding"
NOTHING = ""  # what changes no value when a network is run


@dataclass(frozen=True)
class Stated:
    """A layer as its file states it.

    name: of the layer and of the tensor that it makes. kind: one of importers.graphs, one of those
    above, or any other words, for what no network of refq computes. inputs: names of layers.
    unit: its arrays. pads: of a PADDING by zeros. after: what the layer computes behind that, as an
    activation of Keras.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    window: Window | None = None
    unit: Unit | None = None
    pads: Pads = NO_PADS
    after: str = NOTHING


def joined(
    layers: Sequence[Stated], outputs: Sequence[str] = ()
) -> tuple[dict[str, Unit], tuple[Step, ...]]:
    """(layers with weights, steps) of a graph. outputs: without them, whatever nothing reads.

    layers: each after those that it reads.
    """
    readers = Counter(name for layer in layers for name in layer.inputs)
    ends = list(outputs) or [layer.name for layer in layers if not readers[layer.name]]
    readers.update(ends)
    going_on = _read_on(layers)
    units: dict[str, Unit] = {}
    steps: list[Step] = []
    open_units: dict[str, str] = {}  # the unit that makes a tensor, while it can be folded into
    padded: dict[str, tuple[str, Pads]] = {}
    positive: set[str] = set()
    made = {INPUT}
    for layer in layers:
        for name in layer.inputs:
            if name not in made:
                steps.append(Step(name, "what no layer makes", (INPUT,)))
        made |= {layer.name, *layer.inputs}
        kind, inputs, window, unit = layer.kind, layer.inputs, layer.window, layer.unit
        if window and min(*window.kernel, *window.strides, *window.dilations) < 1:
            raise refuse(
                f"{layer.name}: kernel {window.kernel}, strides {window.strides}, "
                f"dilations {window.dilations}",
                "1 or more",
            )
        source = inputs[0] if inputs else ""
        alone = source in open_units and readers[source] == 1
        if kind == PADDING and source not in padded:
            padded[layer.name] = source, layer.pads
            if source in positive:
                positive.add(layer.name)
            continue
        if source in padded and window is not None and (kind != "max" or source in positive):
            inner, pads = padded[source]
            if not window.auto and not (kind == "mean" and any(window.pads)):
                window = replace(window, pads=_sum(pads, window.pads))
                kind = "mean with padding" if kind == "mean" else kind
                inputs = (inner,)
        if padded.keys() & set(inputs):
            kind = f"{kind.partition('=')[0]} of a padded image"
        elif kind == NORMALISATION and alone and unit and _folds(units[open_units[source]], unit):
            name = open_units[layer.name] = open_units[source]
            units[name] = _folded(units[name], unit)
            kind = NOTHING
        elif kind == SOFTMAX and layer.name not in going_on:
            kind = NOTHING
        elif unit is not None and "weight" in unit.arrays and kind != NORMALISATION:
            if unit.name in units:
                raise refuse(f"two layers with weights named {unit.name}", "a name for each")
            units[unit.name] = unit
            kind = f"{kind}={unit.name}"
            if not layer.after:
                open_units[layer.name] = unit.name
        elif kind == NOTHING and source in positive:
            positive.add(layer.name)
        # a softmax may be a layer's activation
        after = layer.after
        if after == SOFTMAX and layer.name not in going_on:
            after = NOTHING
        within = f"{layer.name} before {after}" if after else layer.name
        steps.append(Step(within, kind, inputs, window))
        if after:
            steps.append(Step(layer.name, after, (within,)))
        if "ReLU" in (kind, after):
            positive.add(layer.name)
    return units, (*steps, *(Step("", "output", (name,)) for name in ends))


def _read_on(layers: Sequence[Stated]) -> set[str]:
    """Tensors from which more is computed than ends a network."""
    found: set[str] = set()
    for layer in reversed(layers):
        ending = layer.kind in (NOTHING, SOFTMAX) and layer.after in (NOTHING, SOFTMAX)
        if not ending or layer.name in found:
            found.update(layer.inputs)
    return found


def _sum(one: Pads, other: Pads) -> Pads:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def _folds(unit: Unit, norm: Unit) -> bool:
    """Whether a normalisation behind the layer is a part of it: moments once, then factors once."""
    return not unit.arrays.keys() & norm.arrays.keys() and not (
        "mean" in norm.arrays and "gamma" in unit.arrays
    )


def _folded(unit: Unit, norm: Unit) -> Unit:
    return replace(
        unit,
        arrays={**unit.arrays, **norm.arrays},
        eps=norm.eps if norm.eps is not None else unit.eps,
        folded=(*unit.folded, norm.name),
    )


@dataclass(frozen=True)
class Facts:
    """The fields of one layer of a file. `value` marks them as read; `finish` refuses those that
    nobody read, so that nothing that a file states is skipped."""

    layer: str
    form: str
    fields: Mapping[str, Any]
    read: set[str]

    @staticmethod
    def of(layer: str, form: str, fields: Mapping[str, Any]) -> Facts:
        return Facts(layer, form, fields, set())

    def value(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        found = self.fields.get(name)
        return default if found is None else found

    def finish(self, without_effect: Set[str]) -> None:
        """without_effect: fields that change nothing when a network is run. One that is null or
        false asks for nothing."""
        for name, value in self.fields.items():
            asks = value is not None and value is not False
            if asks and name not in self.read and name not in without_effect:
                raise refuse(
                    f"{self.layer}: {name} of a {self.form} layer, which refq does not know",
                    "a layer of fields that docs/convert.md lists",
                )
