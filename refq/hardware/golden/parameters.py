"""What a golden set holds beside tensors: coefficients, shifts, codebooks, thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from refq import kernels
from refq.engine.aligning import coded
from refq.engine.clustered import base_kernels, residuals
from refq.engine.coefficients import IntegerLayer, IntegerWeights, data_frac_bits, filter_counts
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import FixedPointFormat, FormatGrid
from refq.hardware.golden.arrays import PARAMETER, GoldenArray, compact
from refq.networks.graph import Network, Node
from refq.networks.layers import WEIGHTED, Add, ReLU
from refq.networks.points import is_wide, moves_codes
from refq.networks.weights import Weights
from refq.plans.plan import Clustered, Plan

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
    "requantize_shift",
    "shift",
    "codebook",
    "thresholds",
)
Filled = tuple[GoldenArray, np.ndarray]


def parameters(
    name: str, network: Network, weights: Weights, own: IntegerWeights, plan: Plan
) -> Iterator[Filled]:
    """(array, its codes) of one layer, or of the image."""
    node = network.by_name.get(name)
    if node is not None and isinstance(node.layer, WEIGHTED):
        yield from _coefficients(node, network, weights, own.layers[name], plan)
    if node is not None and isinstance(node.layer, Add):
        fractions = np.array([plan.tensors[each].fixed.frac_bits for each in node.inputs])
        yield _numbers(name, "operand_shift", fractions.max() - fractions)
    entry = plan.tensors.get(name)
    if entry is None or (node is not None and moves_codes(network, node)):
        return
    summed = _summed_frac_bits(node, network, own, plan) if node is not None else None
    if summed is not None:
        to = entry.fixed.frac_bits - np.array(entry.drops or (0,), np.int64)
        yield _numbers(name, "requantize_shift", _shared(np.broadcast_arrays(summed - to)[0]))
    yield from storage(name, plan)


def storage(name: str, plan: Plan) -> Iterator[Filled]:
    """The numbers of a stored tensor's code: ENQ's shift, KNQ's codebook and thresholds."""
    entry = plan.tensors.get(name)
    match entry.code if entry else None:
        case ShiftCode() as code:
            yield _numbers(name, "shift", np.array([code.drop]))
        case Codebook() as code:
            assert entry is not None
            fmt = entry.fixed
            for stage, codes in (("codebook", code.values), ("thresholds", code.thresholds)):
                if codes:
                    yield (
                        GoldenArray(
                            name, stage, PARAMETER, (len(codes),), fmt.bits, False, fmt.frac_bits
                        ),
                        np.array(codes, np.int64),
                    )


def _summed_frac_bits(
    node: Node, network: Network, own: IntegerWeights, plan: Plan
) -> np.ndarray | None:
    """int64 (C,) or (1,): fraction bits of the sums that a layer rounds; None where it rounds
    something else."""
    source = network.by_name.get(node.inputs[0])
    if isinstance(node.layer, ReLU) and source is not None and is_wide(network, source):
        node = source
    if isinstance(node.layer, WEIGHTED):
        layer = own.layers[node.name]
        return layer.summed_frac_bits - layer.drop
    if isinstance(node.layer, Add):
        return np.array([max(plan.tensors[each].fixed.frac_bits for each in node.inputs)])
    return None


def _coefficients(
    node: Node, network: Network, weights: Weights, own: IntegerLayer, plan: Plan
) -> Iterator[Filled]:
    (formats, bias_format), name = plan.layers[node.name].fixed, node.name
    weight, bias = weights.weight[name], weights.bias[name]
    source = network.shapes[node.inputs[0]]
    data = data_frac_bits(node, network, plan.tensors[node.inputs[0]])
    filters = weight.reshape(*filter_counts(node, network), -1)
    summed = own.summed_frac_bits
    # a dense layer's weights take the shape of its input
    shape = weight.shape[1:] if weight.ndim > 2 else source
    parts: Sequence[tuple[str, np.ndarray, FixedPointFormat | FormatGrid, np.ndarray, np.ndarray]]
    if isinstance(formats, Clustered):
        assert own.split is not None
        labels = np.array(formats.labels)
        first = [int(np.argmax(labels == k)) for k in range(1 + int(labels.max()))]
        base = formats.base
        read = np.broadcast_to(data, (len(filters), data.shape[1]))
        parts = (
            (
                "base",
                base_kernels(filters, labels),
                base,
                read[first],
                summed[first] - own.split.raise_base[first],
            ),
            ("residual", residuals(filters, labels, base), formats.residual, data, summed),
        )
    else:
        parts = (("weight", filters, formats, data, summed),)
    for stage, values, fmt, read, to in parts:
        codes, frac_bits = coded(values, fmt)
        bits = int(fmt.bits.max()) if isinstance(fmt, FormatGrid) else fmt.bits
        array = GoldenArray(
            name, stage, PARAMETER, (len(codes), *shape), bits, True, compact(frac_bits)
        )
        yield array, codes.reshape(array.shape)
        prefix = "" if stage == "weight" else f"{stage}_"
        shift = to[:, None] - frac_bits - read
        yield _numbers(name, f"{prefix or 'weight_'}shift", _shared(shift))
    if own.split is not None:
        yield _numbers(name, "labels", own.split.labels)
        yield _numbers(name, "base_raise", _shared(own.split.raise_base))
    codes, _ = kernels.quantize(bias, bias_format)
    array = GoldenArray(
        name, "bias", PARAMETER, codes.shape, bias_format.bits, True, bias_format.frac_bits
    )
    yield array, codes
    yield _numbers(name, "bias_shift", _shared(summed - bias_format.frac_bits))
    if own.drop.any():
        yield _numbers(name, "accumulator_drop", _shared(own.drop))


def _shared(numbers: np.ndarray) -> np.ndarray:
    """(1,) where all are the same; (O,) where those of a row (O, I) are."""
    found = compact(numbers)
    return np.array([found] if isinstance(found, int) else found, np.int64)


def _numbers(name: str, stage: str, numbers: np.ndarray) -> Filled:
    """Plain whole numbers, in as many bits as they need."""
    low, high = int(numbers.min()), int(numbers.max())
    signed = low < 0
    bits = max(1, high.bit_length(), (-low - 1).bit_length() if signed else 0) + int(signed)
    array = GoldenArray(name, stage, PARAMETER, numbers.shape, bits, signed)
    return array, numbers
