"""Sums of a network that a datapath does again: operands, weights, bias, and what follows."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refq.engine.aligning import shifted_left
from refq.engine.coefficients import IntegerLayer, IntegerWeights
from refq.engine.forward import Run, forward
from refq.engine.integer import Tensor
from refq.errors import FormatError
from refq.formats.fixed import Accumulator, FixedPointFormat
from refq.networks.graph import INPUT, Network, Node
from refq.networks.layers import ConvTranspose
from refq.networks.layers.windows import reach
from refq.networks.points import is_wide
from refq.plans.plan import Plan

PLACES = 16  # outputs of a layer
MOST_STEPS = 2048  # multiply-accumulates of a layer, but at least two outputs


@dataclass(frozen=True)
class Stored:
    """How a sum becomes a code. relu: first. frac_bits: of the sum. format: of the code."""

    relu: bool
    frac_bits: int
    format: FixedPointFormat


@dataclass(frozen=True)
class Dot:
    """One output of a weighted layer.

    place: (channel, row, column). operands, weights: int64 (K,), in the order of contract section
    3, zeros of the padding included. accumulator: of this output alone; drop: fraction bits that it
    has fewer than products. stored: None where the sum itself goes on.
    """

    layer: str
    place: tuple[int, int, int]
    operands: np.ndarray
    weights: np.ndarray
    bias: int
    accumulator: Accumulator
    drop: int
    stored: Stored | None


def sampled(
    network: Network,
    weights: IntegerWeights,
    plan: Plan,
    images: np.ndarray,
    chosen: Collection[str],
) -> list[Dot]:
    """Outputs of every chosen weighted layer for the first image, in order of computation: corners,
    and others that a seed of the layer's name chooses.

    images: float32 (N, C, H, W), preprocessed. Raises FormatError for clustered layers that
    limit after every MAC, which take more than one accumulator.
    """
    for name, layer in weights.layers.items():
        if (
            name in chosen
            and layer.split
            and layer.accumulator.every_mac
            and layer.accumulator.bits is not None
        ):
            raise FormatError(
                f"layer {name}: base kernels and residuals with limits after every MAC",
                "limits at the end, or exact accumulators: refq_mac has one accumulator",
            )
    dots: dict[str, list[Dot]] = {}

    def observe(node: Node | None, tensor: Any) -> None:
        for reader in network.consumers[node.name if node else INPUT]:
            if reader.name in weights.layers and reader.name in chosen:
                dots[reader.name] = _dots(network, reader, weights, plan, tensor)

    forward(network, weights, plan, images[:1], run=Run(observe, fused=False))
    return [dot for node in network.weighted for dot in dots.get(node.name, ())]


def _dots(
    network: Network, node: Node, weights: IntegerWeights, plan: Plan, tensor: Tensor
) -> list[Dot]:
    layer = weights.layers[node.name]
    # each feature map as its own format has it
    drops = np.array(tensor.stored.drops if tensor.stored and tensor.stored.drops else (0,))
    image = tensor.codes[0] >> drops.reshape(-1, *(1,) * (tensor.codes.ndim - 2))
    made = []
    for place in _places(node.name, network.shapes[node.name], layer.codes[0].size):
        channel = place[0]
        row = slice(channel, channel + 1)
        codes = shifted_left(layer.codes[row], layer.align[row], node.name)[0]
        made.append(
            Dot(
                node.name,
                place,
                _operands(node, image, place, len(layer.codes)),
                codes.reshape(-1).astype(np.int64),
                int(layer.bias[channel]),
                _of_channel(layer, channel),
                int(layer.drop[channel]),
                _stored(network, node, layer, plan, channel),
            )
        )
    return made


def _places(name: str, shape: tuple[int, ...], steps: int) -> list[tuple[int, int, int]]:
    """(channel, row, column) of outputs: a corner, one anywhere, the other corners, more."""
    channels, rows, columns = shape if len(shape) == 3 else (shape[0], 1, 1)
    random = np.random.default_rng(zlib.crc32(name.encode()))
    anywhere = [(int(random.integers(rows)), int(random.integers(columns))) for _ in range(PLACES)]
    corners = [(0, 0), (rows - 1, columns - 1), (0, columns - 1), (rows - 1, 0)]
    pixels = [corners[0], anywhere[0], *corners[1:], *anywhere[1:]]
    count = max(2, min(PLACES, MOST_STEPS // steps))
    return [(int(random.integers(channels)), *pixel) for pixel in pixels[:count]]


def _operands(
    node: Node, image: np.ndarray, place: tuple[int, int, int], outputs: int
) -> np.ndarray:
    """What one output reads, int64 (K,): input channel, kernel row, kernel column."""
    layer = node.layer
    if layer.flat:
        return image.reshape(-1).astype(np.int64)
    channel, row, column = place
    top, left, bottom, right = layer.pads
    inputs = len(image) // layer.group
    first = channel // (outputs // layer.group) * inputs
    if isinstance(layer, ConvTranspose):
        # a row and a column of zeros for taps between the image's, and beyond
        padded = np.pad(image[first : first + inputs], ((0, 0), (0, 1), (0, 1)))
        rows, columns = (_spread(layer, image.shape, axis, place[1 + axis]) for axis in (0, 1))
        return padded[:, rows][:, :, columns].reshape(-1).astype(np.int64)
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right)))
    window = padded[first : first + inputs, row * layer.strides[0] :, column * layer.strides[1] :]
    tall, wide = reach(layer.kernel, layer.dilations)
    patch = window[:, : tall : layer.dilations[0], : wide : layer.dilations[1]]
    return patch.reshape(-1).astype(np.int64)


def _spread(layer: ConvTranspose, shape: tuple[int, ...], axis: int, place: int) -> list[int]:
    """The input row (axis 0) or column that each tap multiplies for an output at a place; the one
    behind the last where there is none."""
    size, stride = shape[1 + axis], layer.strides[axis]
    found = [
        place + layer.pads[axis] - layer.dilations[axis] * tap for tap in range(layer.kernel[axis])
    ]
    fits = [each % stride == 0 and 0 <= each < size * stride for each in found]
    return [each // stride if there else size for each, there in zip(found, fits, strict=True)]


def _of_channel(layer: IntegerLayer, channel: int) -> Accumulator:
    """The accumulator of one output; an exact one has no modes."""
    if layer.accumulator.bits is None:
        return Accumulator()
    bits = np.broadcast_to(np.array(layer.accumulator.bits), len(layer.bias))
    return replace(layer.accumulator, bits=int(bits[channel]), frac_bits=None)


def _stored(
    network: Network, node: Node, layer: IntegerLayer, plan: Plan, channel: int
) -> Stored | None:
    """How the sum is kept: by the layer itself, or by the ReLU that alone reads it."""
    relu = False
    if is_wide(network, node):
        readers = network.consumers[node.name]
        if not readers:
            return None
        node, relu = readers[0], True
    entry = plan.tensors[node.name]
    drop = entry.drops[channel] if entry.drops else 0
    fmt = FixedPointFormat(entry.fixed.bits, entry.fixed.frac_bits - drop, entry.fixed.signed)
    return Stored(relu, layer.frac_bits - int(layer.raised[channel]), fmt)


def sizes(weights: IntegerWeights, plan: Plan, network: Network) -> Mapping[str, int]:
    """OPERAND_BITS, WEIGHT_BITS and SUM_BITS of one refq_mac that serves every layer."""
    operand, weight, total = 2, 2, 2
    for node in network.weighted:
        layer, data = weights.layers[node.name], plan.tensors[node.inputs[0]].fixed
        operand = max(operand, data.bits + int(not data.signed))
        flat = layer.codes.reshape(len(layer.codes), -1)
        peaks = np.maximum(flat.max(axis=1).astype(np.int64), -flat.min(axis=1).astype(np.int64))
        shifted = max(int(peak) << int(by) for peak, by in zip(peaks, layer.align, strict=True))
        weight = max(weight, shifted.bit_length() + 1)
        largest = max(-data.min_code, data.max_code)
        reach = max(
            int(row) * largest + abs(int(bias))
            for row, bias in zip(layer.reach, layer.bias, strict=True)
        )
        exact = reach.bit_length() + 1
        if layer.accumulator.bits is not None:
            # a limited sum and the next product, before they are limited
            exact = max(exact, int(np.max(layer.accumulator.bits))) + 1
        total = max(total, exact)
    return {"OPERAND_BITS": operand, "WEIGHT_BITS": weight, "SUM_BITS": total}
