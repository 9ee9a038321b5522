"""Coefficients in integers: each weighted layer's codes, aligned for its accumulator."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from refq import kernels
from refq.engine.aligning import aligned, declared, narrow, shifted_left, shifted_magnitudes
from refq.engine.clustered import Parts, Split, parts_of, stored_coefficients
from refq.engine.losses import Losses, losses
from refq.errors import FormatError
from refq.formats.fixed import Accumulator, FixedPointFormat
from refq.networks.graph import Network, Node
from refq.networks.weights import Weights
from refq.plans.plan import Clustered, Plan, TensorPlan, exact_sum

# how far sums of 63 bits may be shifted to the right
MOST_DROP = 61


@dataclass(frozen=True)
class IntegerLayer:
    """A weighted layer's codes, and how they meet in the accumulator (contract section 3).

    codes: weights in the narrowest integer that holds them, shifted left within each kernel so that
    its products have the same fraction bits. bias: int64 (O,), with the accumulator's fraction
    bits. align: int64 (O,), left shift that brings the products to those, above 0 where the bias or
    the accumulator is finer. drop: int64 (O,), fraction bits that a declared accumulator has fewer.
    raised: int64 (O,), left shift that brings the sums to frac_bits, the largest of all outputs'.
    losses: what became of the weights and biases. split: base kernels and residuals where the layer
    is clustered. panels, endings: what the fused steps make of the codes and of their sums, kept as
    long as they are; it makes results no different.
    """

    codes: np.ndarray
    bias: np.ndarray
    frac_bits: int
    align: np.ndarray
    drop: np.ndarray
    raised: np.ndarray
    accumulator: Accumulator
    losses: Losses
    split: Split | None = None
    panels: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    endings: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def weight(self, name: str) -> np.ndarray:
        """The codes as the plain operations take them, int32 or int64, with the accumulator's
        fraction bits."""
        return shifted_left(self.codes, self.align, name)

    @property
    def summed_frac_bits(self) -> np.ndarray:
        """int64 (O,): fraction bits of the exact sums, before a declared accumulator drops any."""
        return self.frac_bits - self.raised + self.drop

    @cached_property
    def reach(self) -> np.ndarray:
        """float64 (O,): the sum of the magnitudes of an output's codes, as the accumulator has
        them."""
        return shifted_magnitudes(self.codes, self.align)


@dataclass(frozen=True)
class IntegerWeights:
    """Integer layers of a network under a plan, and what steps keep between batches.

    workspace: buffers that the fused steps reuse, one batch at a time under the lock; it makes
    results no different.
    """

    layers: Mapping[str, IntegerLayer]
    plan: Plan
    lock: Any = field(default_factory=threading.RLock, compare=False, repr=False)
    workspace: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


def quantize_weights(
    network: Network,
    weights: Weights,
    plan: Plan,
    ops: ModuleType = kernels,
    like: IntegerWeights | None = None,
) -> IntegerWeights:
    """Codes of all weighted layers under a plan, ready for the engine.

    like: of the same weights under another plan; layers whose codes come out the same are shared
    with it, panels included, and so is its workspace.
    """
    layers = {}
    for node in network.nodes:
        if node.layer.makes_sums and not node.layer.weighted:
            _check_sum(node, plan)
    for node in network.weighted:
        if like and _same_codes(node, plan, like.plan):
            layers[node.name] = like.layers[node.name]
            continue
        layers[node.name] = _layer(
            node, network, weights.weight[node.name], weights.bias[node.name], plan, ops
        )
    if like:
        return IntegerWeights(layers, plan, like.lock, like.workspace)
    return IntegerWeights(layers, plan)


def _same_codes(node: Node, plan: Plan, other: Plan) -> bool:
    """True where two plans make the same IntegerLayer of a node."""
    one, two = (each.tensors[node.inputs[0]] for each in (plan, other))
    if (one.fixed.frac_bits, one.drops) != (two.fixed.frac_bits, two.drops):
        return False
    return plan.layers[node.name] == other.layers[node.name]


def _layer(
    node: Node, network: Network, weight: np.ndarray, bias: np.ndarray, plan: Plan, ops: ModuleType
) -> IntegerLayer:
    fmt, bias_format = plan.layers[node.name].fixed
    accumulator, source = plan.layers[node.name].accumulator, plan.tensors[node.inputs[0]]
    data = data_frac_bits(node, network, source)
    filters = weight.reshape(*filter_counts(node, network), -1)
    parts: Parts | None = None
    if isinstance(fmt, Clustered):
        parts = parts_of(filters, fmt, data, ops)
        coefficients = parts.joined(node.name)
    else:
        coefficients = aligned(filters, fmt, data, ops)
    # products, bias and a declared accumulator meet at the largest number of fraction bits
    bias_codes, saturated = ops.quantize(bias, bias_format)
    frac_bits, drop = declared(np.maximum(coefficients.top, bias_format.frac_bits), accumulator)
    if drop.max() > MOST_DROP:
        raise FormatError(
            f"layer {node.name}: an accumulator with {int(drop.max())} fraction bits fewer than "
            "its products",
            f"{MOST_DROP} fewer at most",
            "choose formats of weights and activations closer to the accumulator's",
        )
    kept = frac_bits - drop
    bias_shift = frac_bits - bias_format.frac_bits
    codes = narrow(coefficients.codes).reshape(weight.shape)
    aligned_bias = shifted_left(bias_codes, bias_shift, f"{node.name}, bias").astype(np.int64)
    made = IntegerLayer(
        codes=codes,
        bias=aligned_bias,
        frac_bits=int(kept.max()),
        align=frac_bits - coefficients.top,
        drop=drop,
        raised=kept.max() - kept,
        accumulator=accumulator,
        losses=losses(
            (weight, codes),
            (bias, bias_codes),
            (coefficients.outside, saturated),
            stored_coefficients(filters, fmt),
            _beyond(aligned_bias, drop, accumulator),
        ),
        split=parts.split(accumulator, frac_bits, weight.shape[1:]) if parts else None,
    )
    _check_raised(made, source.fixed, node.name)
    return made


def _beyond(bias: np.ndarray, drop: np.ndarray, accumulator: Accumulator) -> int:
    """How many biases a declared accumulator does not hold."""
    if accumulator.bits is None:
        return 0
    low, high = accumulator.limits()
    held = np.right_shift(bias, np.minimum(drop, 63))
    return int(((held < low) | (held > high)).sum())


def _check_raised(layer: IntegerLayer, data: FixedPointFormat, name: str) -> None:
    """Raises FormatError where sums brought to one number of fraction bits could leave 63 bits."""
    if not layer.raised.any() and layer.split is None:
        return
    largest = max(-data.min_code, data.max_code)
    sums = layer.reach * largest + np.abs(layer.bias)
    if layer.split:
        base, rest = layer.split.reaches
        base = np.ldexp(base[layer.split.labels] * largest, layer.split.raise_base)
        sums = np.maximum(sums, base + rest * largest + np.abs(layer.bias))
    if layer.accumulator.bits is not None:
        sums = np.minimum(sums, np.ldexp(1.0, np.array(layer.accumulator.bits) - 1))
    if np.ldexp(sums, layer.raised).max() >= 2.0**62:
        most = int(layer.raised.max())
        raise FormatError(
            f"layer {name}: sums of kernels whose fraction bits differ by {most}",
            "sums within 63 bits at one number of fraction bits",
            "choose formats of its kernels closer to each other",
        )


def _check_sum(node: Node, plan: Plan) -> None:
    """Raises FormatError where a sum or product of operands could leave 63 bits."""
    bits, _ = exact_sum(node.layer, [plan.tensors[name] for name in node.inputs])
    if bits > 63:
        formats = " and ".join(f"{plan.tensors[name].format}" for name in node.inputs)
        raise FormatError(
            f"{node.layer.kind} {node.name} of {formats}, which needs {bits} bits",
            "results within 63 bits",
            "choose formats of its operands closer to each other",
        )


def filter_counts(node: Node, network: Network) -> tuple[int, int]:
    """(O, I): outputs, and the input maps that each one reads."""
    return network.shapes[node.name][0], network.shapes[node.inputs[0]][0] // node.layer.group


def data_frac_bits(node: Node, network: Network, source: TensorPlan) -> np.ndarray:
    """int64 (O, I), or broadcast to it: fraction bits of the data that each filter reads."""
    maps = source.fixed.frac_bits - np.array(source.drops or (0,), np.int64)
    group = node.layer.group
    if len(maps) == 1 or group == 1:
        return maps[None]
    return np.repeat(maps.reshape(group, -1), filter_counts(node, network)[0] // group, axis=0)
