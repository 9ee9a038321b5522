"""What a golden set holds beside tensors: coefficients, shifts, codebooks, thresholds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from refq import kernels
from refq.engine.aligning import coded
from refq.engine.clustered import base_kernels, residuals
from refq.engine.coefficients import IntegerLayer, IntegerWeights, data_frac_bits, filter_counts
from refq.errors import FormatError
from refq.formats import codes as storage_codes
from refq.formats.fixed import FixedPointFormat, FormatGrid, Rounding
from refq.hardware.golden.arrays import PARAMETER, GoldenArray, compact
from refq.networks.graph import Network, Node
from refq.networks.layers import Function, Mul, PReLU
from refq.networks.points import moves_codes
from refq.networks.weights import Weights
from refq.plans.plan import Clustered, Plan

# a function's table of more is not written
MOST_TABLE_BITS = 16
UNSTORED = FixedPointFormat(32, 0)
PARAMETERS = (
    "weight",
    "weight_shift",
    "base",
    "base_shift",
    "residual",
    "residual_shift",
    "labels",
    "base_raise",
    "bias",
    "bias_shift",
    "accumulator_drop",
    "operand_shift",
    "slope",
    "bounds",
    "fill",
    "table",
    "requantize_shift",
    *(stage for kind in storage_codes.known() for stage in kind.stages),
)


@dataclass(frozen=True)
class Parameter:
    """An array of a golden set, and what makes its codes: a set is listed before it is written,
    and only then are coefficients quantized."""

    array: GoldenArray
    codes: Callable[[], np.ndarray]


def parameters(
    name: str, network: Network, weights: Weights, coded: IntegerWeights, plan: Plan
) -> Iterator[Parameter]:
    """What one layer, or the image, is computed with. coded: the weights under the plan."""
    node = network.by_name.get(name)
    if node is not None and node.layer.weighted:
        yield from _coefficients(node, network, weights, coded.layers[name], plan)
    elif node is not None and node.layer.makes_sums and not isinstance(node.layer, Mul):
        fractions = np.array([plan.tensors[each].fixed.frac_bits for each in node.inputs])
        yield _numbers(name, "operand_shift", fractions.max() - fractions)
    kept = plan.tensors.get(name)
    if kept is None or (node is not None and moves_codes(network, node)):
        return
    if node is not None:
        yield from _own(node, plan)
    summed = _summed_frac_bits(node, network, coded, plan) if node is not None else None
    if summed is not None:
        to = kept.fixed.frac_bits - np.array(kept.drops or (0,), np.int64)
        yield _numbers(name, "requantize_shift", _shared(np.broadcast_arrays(summed - to)[0]))
    yield from storage(name, plan)


def _own(node: Node, plan: Plan) -> Iterator[Parameter]:
    """What a layer without weights computes with: a PReLU's slopes, bounds of a clip, a pad's
    constant, a function's table."""
    fmt, layer = plan.tensors[node.name].fixed, node.layer
    known = [plan.tensors[each].fixed.frac_bits for each in node.inputs if each in plan.tensors]
    for stage, numbers in layer.numbers(known, fmt).items():
        if stage == "slope" and isinstance(layer, PReLU):
            own = layer.slope_format
            array = GoldenArray(
                node.name, stage, PARAMETER, numbers.shape, own.bits, True, own.frac_bits
            )
            yield Parameter(array, partial(np.array, numbers))
        else:
            yield _numbers(node.name, stage, numbers)
    if isinstance(layer, Function) and plan.rounding is not Rounding.STOCHASTIC:
        read = plan.tensors[node.inputs[0]]
        # feature maps of fewer fraction bits have codes beyond the format's at its full ones
        source = replace(read.fixed, bits=read.fixed.bits + max(read.drops, default=0))
        if source.bits > MOST_TABLE_BITS:
            return
        shape = (1 << source.bits,)
        array = GoldenArray(
            node.name, "table", PARAMETER, shape, fmt.bits, fmt.signed, fmt.frac_bits
        )
        yield Parameter(array, partial(_table, layer, source, fmt, plan))


def _table(
    layer: Function, source: FixedPointFormat, fmt: FixedPointFormat, plan: Plan
) -> np.ndarray:
    """int64: a function's code for every code that it may read, the least first; 0 where it has no
    value, which no image asked for."""
    how = fmt, layer.expression, plan.rounding, plan.overflow
    codes = np.arange(source.min_code, source.max_code + 1, dtype=np.int64)
    try:
        return kernels.function_integer(codes, source.frac_bits, *how)[0].astype(np.int64)
    except FormatError:
        out = np.zeros(len(codes), np.int64)
    for place in range(len(codes)):
        with contextlib.suppress(FormatError):
            one = codes[place : place + 1]
            out[place] = kernels.function_integer(one, source.frac_bits, *how)[0][0]
    return out


def storage(name: str, plan: Plan) -> Iterator[Parameter]:
    """The numbers of a stored tensor's code, such as ENQ's shift, KNQ's codebook and thresholds."""
    kept = plan.tensors.get(name)
    if kept is None:
        return
    for stage, numbers in kept.storage.numbers.items():
        yield _numbers(name, stage, np.array(numbers))
    fmt = kept.fixed
    for stage, values in kept.storage.tables.items():
        if values:
            shape = (len(values),)
            form = fmt.bits, fmt.signed, fmt.frac_bits
            array = GoldenArray(name, stage, PARAMETER, shape, *form)
            yield Parameter(array, partial(np.array, values, np.int64))


def _summed_frac_bits(
    node: Node, network: Network, coded: IntegerWeights, plan: Plan
) -> np.ndarray | None:
    """int64 (C,) or (1,): fraction bits of the sums that a layer rounds; None where it rounds
    something else."""
    if node.layer.weighted:
        layer = coded.layers[node.name]
        return layer.summed_frac_bits - layer.drop
    read: list[np.ndarray] = []
    for each in node.inputs:
        kept = plan.tensors.get(each)
        source = network.by_name.get(each)
        if kept is not None:
            read.append(np.array([kept.fixed.frac_bits]))
        elif source is not None:
            # a sum that is not stored
            summed = _summed_frac_bits(source, network, coded, plan)
            assert summed is not None
            read.append(summed)
    fmt = plan.tensors[node.name].fixed if node.name in plan.tensors else UNSTORED
    made = [node.layer.made_frac_bits(own, fmt) for own in zip(*map(np.ndarray.tolist, read))]
    if len(read) == 1 and None not in made:
        return np.array(made)
    return np.array(made[:1]) if None not in made else None


@dataclass(frozen=True)
class _Kernels:
    """Coefficients of one kind. values: make them, (O, I, ...). read: fraction bits of the data
    that each filter reads, (O, I) or broadcast to it. summed: of each kernel's sums, (O,)."""

    stage: str
    values: Callable[[], np.ndarray]
    format: FixedPointFormat | FormatGrid
    read: np.ndarray
    summed: np.ndarray

    def codes(self, shape: tuple[int, ...]) -> np.ndarray:
        return coded(self.values(), self.format)[0].reshape(shape)

    @property
    def frac_bits(self) -> np.ndarray:
        """int64 (O, I), or broadcast to it."""
        if isinstance(self.format, FormatGrid):
            return self.format.frac_bits.astype(np.int64).reshape(len(self.summed), -1)
        return np.full((1, 1), self.format.frac_bits, np.int64)


def _coefficients(
    node: Node, network: Network, weights: Weights, layer: IntegerLayer, plan: Plan
) -> Iterator[Parameter]:
    (formats, bias_format), name = plan.layers[node.name].fixed, node.name
    weight, bias = weights.weight[name], weights.bias[name]
    # a dense layer's weights take the shape of its input
    of_kernel = weight.shape[1:] if weight.ndim > 2 else network.shapes[node.inputs[0]]
    filters = weight.reshape(*filter_counts(node, network), -1)
    data = data_frac_bits(node, network, plan.tensors[node.inputs[0]])
    summed = layer.summed_frac_bits
    if isinstance(formats, Clustered):
        assert layer.split is not None
        labels, base = np.array(formats.labels), formats.base
        first = [int(np.argmax(labels == k)) for k in range(1 + int(labels.max()))]
        read = np.broadcast_to(data, (len(filters), data.shape[1]))[first]
        of_bases = summed[first] - layer.split.raise_base[first]
        rest = partial(residuals, filters, labels, base)
        kinds = [
            _Kernels("base", partial(base_kernels, filters, labels), base, read, of_bases),
            _Kernels("residual", rest, formats.residual, data, summed),
        ]
    else:
        kinds = [_Kernels("weight", lambda: filters, formats, data, summed)]
    for kind in kinds:
        shape, frac_bits = (len(kind.summed), *of_kernel), kind.frac_bits
        bits = int(np.max(kind.format.bits))
        array = GoldenArray(name, kind.stage, PARAMETER, shape, bits, True, compact(frac_bits))
        yield Parameter(array, partial(kind.codes, shape))
        shift = kind.summed[:, None] - frac_bits - kind.read
        yield _numbers(name, f"{kind.stage}_shift", _shared(shift))
    if layer.split is not None:
        yield _numbers(name, "labels", layer.split.labels)
        yield _numbers(name, "base_raise", _shared(layer.split.raise_base))
    bits, fraction = bias_format.bits, bias_format.frac_bits
    array = GoldenArray(name, "bias", PARAMETER, bias.shape, bits, True, fraction)
    yield Parameter(array, lambda: kernels.quantize(bias, bias_format)[0])
    yield _numbers(name, "bias_shift", _shared(summed - fraction))
    if layer.drop.any():
        yield _numbers(name, "accumulator_drop", _shared(layer.drop))


def _shared(numbers: np.ndarray) -> np.ndarray:
    """(1,) where all are the same; (O,) where those of a row (O, I) are."""
    shared = compact(numbers)
    return np.array([shared] if isinstance(shared, int) else shared, np.int64)


def _numbers(name: str, stage: str, numbers: np.ndarray) -> Parameter:
    """Plain whole numbers, in as many bits as they need."""
    low, high = int(numbers.min()), int(numbers.max())
    signed = low < 0
    bits = max(1, high.bit_length(), (-low - 1).bit_length() if signed else 0) + int(signed)
    array = GoldenArray(name, stage, PARAMETER, numbers.shape, bits, signed)
    return Parameter(array, lambda: numbers)
