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
from refq.networks.layers import NO_PADS, Conv, ConvTranspose, Dense, Layer
from refq.networks.layers.windows import conv_size, reach

SIDE = 2  # pixels at a side of a sample
DENSE: Layer = Dense(1)


def check_sums(made: Made) -> None:
    """Raises DisagreementError where the oracle sums otherwise: at two corners and in the middle
    of a few output channels."""
    node, x, steps = made.node, made.inputs[0], made.steps
    layer = steps.weights.layers[node.name]
    for o in spread(len(layer.codes), CHANNELS):
        weights = IntegerWeights({node.name: _of_output(layer, o)}, steps.plan)
        for rows, columns in _corners(made.stages["sum"].shape[2:]):
            window, cut, kept = x, DENSE, (slice(None), slice(None))
            if not node.layer.flat:
                group = o * node.layer.group // len(layer.codes)
                maps = _of_group(x, node.layer, group)
                window, cut, kept = _window(maps, node.layer, (rows, columns))
            part = Node(node.name, cut, node.inputs)
            for stage, wanted in _stages(part, window, weights).items():
                split = layer.split if stage == "base_sum" else None
                channel = int(split.labels[o]) if split else o
                got = made.stages[stage][:, channel : channel + 1, ...]
                if got.ndim == 4:
                    got, wanted = got[:, :, rows, columns], wanted[:, :, kept[0], kept[1]]
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
        corners.append(tuple(slice(at, min(at + SIDE, n)) for at, n in zip(starts, shape)))
    return [(rows, columns) for rows, columns in corners]


def _of_group(x: Tensor, layer: Layer, group: int) -> Tensor:
    """The channels that a group reads."""
    channels = x.codes.shape[1] // layer.group
    maps = slice(group * channels, (group + 1) * channels)
    stored = x.stored
    if stored is not None and stored.drops:
        stored = dataclasses.replace(stored, drops=stored.drops[maps])
    return dataclasses.replace(x, codes=x.codes[:, maps], stored=stored)


Spans = tuple[slice, slice]


def _window(x: Tensor, layer: Layer, outputs: Spans) -> tuple[Tensor, Layer, Spans]:
    """(what these outputs of one channel read, a layer that makes them of it, where in what that
    makes they are)."""
    if isinstance(layer, ConvTranspose):
        return _scattered(x, layer, outputs)
    wide, spans, before, after = reach(layer.kernel, layer.dilations), [], [], []
    for axis, sample in enumerate(outputs):
        length, stride, kernel = x.codes.shape[2 + axis], layer.strides[axis], wide[axis]
        stop = min(sample.stop, conv_size(length, kernel, stride, *layer.pads[axis::2]))
        start = sample.start * stride - layer.pads[axis]
        stop = (stop - 1) * stride - layer.pads[axis] + kernel
        spans.append(slice(max(0, start), min(length, stop)))
        before.append(max(0, -start))
        after.append(max(0, stop - length))
    window = dataclasses.replace(x, codes=x.codes[:, :, spans[0], spans[1]])
    pads = (before[0], before[1], after[0], after[1])
    cut = Conv(1, layer.kernel, layer.strides, pads, dilations=layer.dilations)
    return window, cut, (slice(None), slice(None))


def _scattered(
    x: Tensor, layer: ConvTranspose, outputs: Spans
) -> tuple[Tensor, ConvTranspose, Spans]:
    """Of a transposed convolution: input rows that reach these outputs, without its pads."""
    spans, kept, more = [], [], []
    for axis, sample in enumerate(outputs):
        length, stride, pad = x.codes.shape[2 + axis], layer.strides[axis], layer.pads[axis]
        wide = layer.dilations[axis] * (layer.kernel[axis] - 1)
        first = min(max(0, (sample.start + pad - wide) // stride), length - 1)
        last = max(first, min(length - 1, (sample.stop - 1 + pad) // stride))
        start, stop = (end + pad - stride * first for end in (sample.start, sample.stop))
        spans.append(slice(first, last + 1))
        kept.append(slice(start, stop))
        more.append(max(0, stop - (stride * (last - first) + wide + 1)))
    window = dataclasses.replace(x, codes=x.codes[:, :, spans[0], spans[1]])
    cut = dataclasses.replace(
        layer, out_channels=1, pads=NO_PADS, group=1, output_padding=(more[0], more[1])
    )
    return window, cut, (kept[0], kept[1])
