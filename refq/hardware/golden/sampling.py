"""Samples of every layer, computed again by the oracle: what a golden set rests on.

Of sums, outputs at two corners and in the middle; of rounding and storage codes, single elements,
each from the same numbers as the kernels had; of pools and means, whole feature maps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from refq import kernels, oracle
from refq.engine.aligning import coded, of_channels
from refq.engine.clustered import Split
from refq.engine.coefficients import IntegerLayer, IntegerWeights, filter_counts
from refq.engine.integer import IntegerSteps, Tensor, encoded, window_attributes
from refq.errors import RefqError
from refq.formats.fixed import FixedPointFormat, FormatGrid
from refq.networks.graph import Network, Node
from refq.networks.layers import (
    LRN,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    MaxPool,
    ReLU,
    Softmax,
    Subsample,
    conv_size,
)
from refq.networks.weights import Weights
from refq.plans.plan import Clustered, Plan

# sampled outputs (or feature maps) of a layer, pixels at a side of a sample, single elements
CHANNELS, SIDE, ELEMENTS = 3, 2, 48


class DisagreementError(RefqError):
    """Kernels and oracle differ: nothing that rests on them may be written."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            "the same integers by all of refq's ways",
            "nothing was written; report this as a defect",
        )


def check_coefficients(
    network: Network, weights: Weights, plan: Plan, chosen: Sequence[str]
) -> None:
    """Raises DisagreementError where the oracle makes other codes of sampled kernels and biases."""
    for node in network.weighted:
        if node.name not in chosen:
            continue
        weight, bias_format = plan.layers[node.name].fixed
        filters = weights.weight[node.name].reshape(*filter_counts(node, network), -1)
        kept = _spread(len(filters), CHANNELS)
        if not isinstance(weight, Clustered):
            # base kernels are means of whole clusters, which their sums' samples rest on
            for o in kept:
                # of a large kernel, its first filters
                part, fmt = filters[o : o + 1, :64], _of_kernel(weight, o)
                _compare(
                    f"{node.name}.weight of kernel {o}",
                    coded(part, fmt, kernels)[0],
                    coded(part, fmt, oracle)[0],
                )
        bias = weights.bias[node.name][kept]
        found = [ops.quantize(bias, bias_format)[0] for ops in (kernels, oracle)]
        _compare(f"{node.name}.bias", *found)


def _of_kernel(fmt: FixedPointFormat | FormatGrid, o: int) -> FixedPointFormat | FormatGrid:
    if isinstance(fmt, FixedPointFormat):
        return fmt
    if fmt.bits.ndim == 1:
        return FormatGrid(fmt.bits[o : o + 1], fmt.frac_bits[o : o + 1])
    return FormatGrid(fmt.bits[o : o + 1, :64], fmt.frac_bits[o : o + 1, :64])


def check_layer(
    node: Node,
    inputs: Sequence[Tensor],
    stages: Mapping[str, np.ndarray],
    result: Tensor,
    steps: IntegerSteps,
) -> None:
    """Raises DisagreementError where the oracle makes other integers of samples of one image.

    inputs: what the layer read. stages: what it was noted to make (IntegerSteps), (1, ...) each.
    result: the Tensor it made. steps: the kernels' own.
    """
    match node.layer:
        case Conv() | Dense():
            _check_sums(node, inputs[0], stages, steps)
        case Add():
            _compare(f"{node.name}.sum", stages["sum"], _added(inputs))
        case MaxPool() | AvgPool() | GlobalAvgPool():
            _check_maps(node, inputs[0], stages, result, steps)
        case LRN():
            _check_normalised(node, node.layer, inputs[0], stages, steps)
        case Softmax():
            wanted = oracle.softmax_integer(inputs[0].codes, inputs[0].frac_bits, _format(result))
            _compare(f"{node.name}.rounded", stages["rounded"], wanted)
        case Subsample(strides, channels):
            wanted = oracle.subsample(inputs[0].codes, strides, channels)
            _compare(f"{node.name}.value", result.codes, wanted)
        case Concat():
            wanted = oracle.concat([each.codes for each in inputs])
            _compare(f"{node.name}.value", result.codes, wanted)
    if result.stored is not None and "rounded" in stages:
        _check_stored(node, inputs[0], stages, result, steps)


def _check_sums(
    node: Node, x: Tensor, stages: Mapping[str, np.ndarray], steps: IntegerSteps
) -> None:
    own, layer = steps.weights.layers[node.name], node.layer
    for o in _spread(len(own.codes), CHANNELS):
        one = _of_output(own, o)
        for rows, columns in _corners(stages["sum"].shape[2:]):
            window, part = x, Node(node.name, Dense(1), node.inputs)
            if isinstance(layer, Conv):
                window, cut = _window(x, layer, o, rows, columns)
                part = Node(node.name, cut, node.inputs)
            noted: dict[str, np.ndarray] = {}
            weights = IntegerWeights({node.name: one}, steps.plan)
            again = IntegerSteps(
                weights,
                steps.plan,
                oracle,
                0,
                lambda layer, stage, codes: noted.update({stage: codes}),  # noqa: B023
            )
            again.sums(part, window)
            for stage, wanted in noted.items():
                channel = int(own.split.labels[o]) if own.split and stage == "base_sum" else o
                got = stages[stage][:, channel : channel + 1, ...]
                got = got[:, :, rows, columns] if got.ndim == 4 else got
                _compare(f"{node.name}.{stage} of output {o}", got, wanted)


def _of_output(own: IntegerLayer, o: int) -> IntegerLayer:
    """One output of a layer, by itself."""
    only = slice(o, o + 1)
    bits, frac_bits = (
        each[o] if isinstance(each, tuple) else each
        for each in (own.accumulator.bits, own.accumulator.frac_bits)
    )
    split = own.split
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
        own,
        codes=own.codes[only],
        bias=own.bias[only],
        align=own.align[only],
        drop=own.drop[only],
        raised=own.raised[only],
        split=split,
        panels={},
        accumulator=dataclasses.replace(own.accumulator, bits=bits, frac_bits=frac_bits),
    )


def _corners(shape: Sequence[int]) -> list[tuple[slice, slice]]:
    """Rows and columns of samples: first, last, and in the middle; one for a dense layer's."""
    if not shape:
        return [(slice(None), slice(None))]
    found = []
    for part in (0.0, 0.5, 1.0):
        starts = [int(part * max(0, length - SIDE)) for length in shape]
        found.append(tuple(slice(at, at + SIDE) for at in starts))
    return [(rows, columns) for rows, columns in found]


def _window(x: Tensor, layer: Conv, o: int, rows: slice, columns: slice) -> tuple[Tensor, Conv]:
    """(what these outputs of one channel read, a convolution that makes them of it)."""
    channels = x.codes.shape[1] // layer.group
    first = o * layer.group // layer.out_channels * channels
    maps = slice(first, first + channels)
    spans, before, after = [], [], []
    for axis, outputs in enumerate((rows, columns)):
        length, stride, kernel = x.codes.shape[2 + axis], layer.strides[axis], layer.kernel[axis]
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
    return window, Conv(1, layer.kernel, layer.strides, pads)


def _check_stored(
    node: Node, x: Tensor, stages: Mapping[str, np.ndarray], result: Tensor, steps: IntegerSteps
) -> None:
    """Rounding, overflow and storage of single elements."""
    entry, rounded = result.stored, stages["rounded"]
    assert entry is not None
    places = _spread(rounded.size, ELEMENTS)
    source = _rounded_from(node, x, stages, steps)
    rounding, overflow, seed, first = steps.modes(node.name, rounded)
    per_map = math.prod(rounded.shape[2:])
    for place in places if source else ():
        assert source is not None
        codes, frac_bits = source
        element = codes.reshape(-1)[place : place + 1]
        if isinstance(node.layer, ReLU):
            element = oracle.relu(element)
        drop = entry.drops[place // per_map % rounded.shape[1]] if entry.drops else 0
        fmt = dataclasses.replace(entry.fixed, frac_bits=entry.fixed.frac_bits - drop)
        modes = (rounding, overflow, seed, first + place)
        wanted, _ = oracle.requantize(element, frac_bits, fmt, *modes)
        got = rounded.reshape(-1)[place : place + 1]
        _compare(f"{node.name}.rounded of element {place}", got >> drop, wanted)
    kept = encoded(rounded.reshape(-1)[places], entry, oracle)
    _compare(f"{node.name}.value", result.codes.reshape(-1)[places], kept)


def _rounded_from(
    node: Node, x: Tensor, stages: Mapping[str, np.ndarray], steps: IntegerSteps
) -> tuple[np.ndarray, int] | None:
    """(codes, fraction bits) that a layer rounds; None where it computes with rounding."""
    match node.layer:
        case ReLU():
            return x.codes, x.frac_bits
        case Conv() | Dense():
            own = steps.weights.layers[node.name]
            sums = stages["sum"]
            return np.left_shift(sums, of_channels(own.raised, sums)), own.frac_bits
        case Add():
            return stages["sum"], max(
                steps.plan.tensors[each].fixed.frac_bits for each in node.inputs
            )
    return None


def _check_maps(
    node: Node, x: Tensor, stages: Mapping[str, np.ndarray], result: Tensor, steps: IntegerSteps
) -> None:
    """Pools of whole feature maps."""
    layer = node.layer
    got = stages.get("rounded", result.codes)
    per_map = got.size // got.shape[1]
    for c in _spread(got.shape[1], 1 if per_map > 4096 else CHANNELS):
        one = x.codes[:, c : c + 1]
        if isinstance(layer, MaxPool):
            wanted = oracle.max_pool(one, **window_attributes(layer))
        else:
            rounding, overflow, seed, first = steps.modes(node.name, got)
            modes = {
                "rounding": rounding,
                "overflow": overflow,
                "seed": seed,
                "offset": first + c * per_map,
            }
            if isinstance(layer, AvgPool):
                attributes = window_attributes(layer)
                wanted, _ = oracle.avg_pool_integer(
                    one, x.frac_bits, _format(result), **attributes, **modes
                )
            else:
                wanted, _ = oracle.global_avg_pool_integer(
                    one, x.frac_bits, _format(result), **modes
                )
        _compare(f"{node.name} of map {c}", got[:, c : c + 1], wanted)


def _check_normalised(
    node: Node, layer: LRN, x: Tensor, stages: Mapping[str, np.ndarray], steps: IntegerSteps
) -> None:
    """One row of a feature map, from the rows of its neighbours."""
    got, entry = stages["rounded"], steps.plan.tensors[node.name]
    rounding, overflow, seed, first = steps.modes(node.name, got)
    _, channels, height, width = got.shape
    for c in _spread(channels, CHANNELS):
        low, high = max(0, c - layer.size), min(channels, c + layer.size + 1)
        row = c % height
        # the row's own place in the stochastic sequence, seen from the first of its neighbours
        offset = first + (c * height + row) * width - (c - low) * width
        wanted, _ = oracle.lrn_integer(
            x.codes[:, low:high, row : row + 1],
            x.frac_bits,
            entry.fixed,
            **dataclasses.asdict(layer),
            rounding=rounding,
            overflow=overflow,
            seed=seed,
            offset=offset,
        )
        wanted = wanted[:, c - low : c - low + 1]
        _compare(f"{node.name} of map {c}", got[:, c : c + 1, row : row + 1], wanted)


def _added(inputs: Sequence[Tensor]) -> np.ndarray:
    """The sum of operands at the largest F, in Python's integers."""
    top = max(each.frac_bits for each in inputs)
    total = sum(each.codes.astype(object) * 2 ** (top - each.frac_bits) for each in inputs)
    return np.asarray(total)


def _format(result: Tensor) -> FixedPointFormat:
    assert result.stored is not None
    return result.stored.fixed


def _spread(count: int, chosen: int) -> list[int]:
    """So many places of 0..count-1 or fewer, from the first to the last."""
    return sorted({int(at) for at in np.linspace(0, count - 1, min(chosen, count))})


def _compare(what: str, got: np.ndarray, wanted: np.ndarray) -> None:
    different = np.flatnonzero(np.asarray(got != wanted).reshape(-1))
    if len(different):
        first = int(different[0])
        ours, its = int(got.reshape(-1)[first]), int(wanted.reshape(-1)[first])
        raise DisagreementError(f"{what} is {ours} by kernels and {its} by the oracle")
