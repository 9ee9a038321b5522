"""Sums of a layer's sampled outputs, computed again by the oracle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from refq import oracle
from refq.engine.clustered import Split
from refq.engine.coefficients import IntegerLayer, IntegerWeights
from refq.engine.integer import IntegerSteps, Tensor
from refq.hardware.golden.agreement import CHANNELS, Made, spread
from refq.networks.graph import Node
from refq.networks.layers import Conv, Dense, Layer
from refq.networks.layers.windows import conv_size, reach

SIDE = 2  # pixels at a side of a sample


def check_sums(made: Made) -> None:
    """Raises DisagreementError where the oracle sums otherwise: at two corners and in the middle
    of a few output channels."""
    node, x, steps = made.node, made.inputs[0], made.steps
    layer = steps.weights.layers[node.name]
    for o in spread(len(layer.codes), CHANNELS):
        weights = IntegerWeights({node.name: _of_output(layer, o)}, steps.plan)
        for rows, columns in _corners(made.stages["sum"].shape[2:]):
            window, part = x, Node(node.name, Dense(1), node.inputs)
            if not node.layer.flat:
                group = o * node.layer.group // len(layer.codes)
                window, cut = _window(x, node.layer, group, rows, columns)
                part = Node(node.name, cut, node.inputs)
            for stage, wanted in _stages(part, window, weights).items():
                split = layer.split if stage == "base_sum" else None
                channel = int(split.labels[o]) if split else o
                got = made.stages[stage][:, channel : channel + 1, ...]
                got = got[:, :, rows, columns] if got.ndim == 4 else got
                made.agree(f".{stage} of output {o}", got, wanted)


def _stages(node: Node, x: Tensor, weights: IntegerWeights) -> dict[str, np.ndarray]:
    """What the oracle makes of a weighted layer, by stage."""
    noted: dict[str, np.ndarray] = {}

    def note(layer: str, stage: str, codes: np.ndarray) -> None:
        noted[stage] = codes

    IntegerSteps(weights, weights.plan, oracle, 0, note).sums(node, x)
    return noted


def _of_output(layer: IntegerLayer, o: int) -> IntegerLayer:
    """One output of a layer, by itself."""
    only = slice(o, o + 1)
    bits, frac_bits = (
        each[o] if isinstance(each, tuple) else each
        for each in (layer.accumulator.bits, layer.accumulator.frac_bits)
    )
    split = layer.split
    if split is not None:
        base = slice(split.labels[o], split.labels[o] + 1)
        split = Split(
            split.base[base],
            split.residual[only],
            np.zeros(1, np.int64),
            split.base_align[base],
            split.base_drop[base],
            split.align[only],
            split.raise_base[only],
        )
    return dataclasses.replace(
        layer,
        codes=layer.codes[only],
        bias=layer.bias[only],
        align=layer.align[only],
        drop=layer.drop[only],
        raised=layer.raised[only],
        split=split,
        panels={},
        accumulator=dataclasses.replace(layer.accumulator, bits=bits, frac_bits=frac_bits),
    )


def _corners(shape: Sequence[int]) -> list[tuple[slice, slice]]:
    """Rows and columns of samples: first, last, and in the middle; one for a dense layer's."""
    if not shape:
        return [(slice(None), slice(None))]
    corners = []
    for part in (0.0, 0.5, 1.0):
        starts = [int(part * max(0, length - SIDE)) for length in shape]
        corners.append(tuple(slice(at, at + SIDE) for at in starts))
    return [(rows, columns) for rows, columns in corners]


def _window(
    x: Tensor, layer: Layer, group: int, rows: slice, columns: slice
) -> tuple[Tensor, Conv]:
    """(what these outputs of one channel in a group read, a convolution that makes them of it)."""
    channels = x.codes.shape[1] // layer.group
    maps = slice(group * channels, (group + 1) * channels)
    wide, spans, before, after = reach(layer.kernel, layer.dilations), [], [], []
    for axis, outputs in enumerate((rows, columns)):
        length, stride, kernel = x.codes.shape[2 + axis], layer.strides[axis], wide[axis]
        outputs_stop = min(outputs.stop, conv_size(length, kernel, stride, *layer.pads[axis::2]))
        start = outputs.start * stride - layer.pads[axis]
        stop = (outputs_stop - 1) * stride - layer.pads[axis] + kernel
        spans.append(slice(max(0, start), min(length, stop)))
        before.append(max(0, -start))
        after.append(max(0, stop - length))
    stored = x.stored
    if stored is not None and stored.drops:
        stored = dataclasses.replace(stored, drops=stored.drops[maps])
    window = dataclasses.replace(x, codes=x.codes[:, maps, spans[0], spans[1]], stored=stored)
    pads = (before[0], before[1], after[0], after[1])
    return window, Conv(1, layer.kernel, layer.strides, pads, dilations=layer.dilations)
