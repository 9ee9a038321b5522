"""Coefficients in integers: each weighted layer's codes, aligned for its accumulator.

Products of one output channel that differ in fraction bits meet at the largest of them by exact
left shifts, which are made once, on the codes (contract section 3).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from refq import kernels
from refq.errors import FormatError
from refq.formats.fixed import Accumulator, FixedPointFormat, FormatGrid
from refq.networks.graph import Network, Node
from refq.networks.layers import Add, Conv
from refq.networks.weights import Weights
from refq.plans.plan import Clustered, Coefficients, Plan, TensorPlan, exact_sum


@dataclass(frozen=True)
class IntegerLayer:
    """A weighted layer's codes, and how they meet in the accumulator (contract section 3).

    codes: weights in the narrowest integer that holds them, shifted left within each kernel so that
    its products have the same fraction bits. bias: int64 (O,), with the accumulator's fraction
    bits. align: int64 (O,), left shift that brings the products to those, above 0 where the bias or
    the accumulator is finer. drop: int64 (O,), fraction bits that a declared accumulator has fewer.
    raised: int64 (O,), left shift that brings the sums to frac_bits, the largest of all outputs'.
    split: base kernels and residuals where the layer is clustered. panels: what the fused steps
    make of the codes, kept as long as they are; it makes results no different.
    """

    codes: np.ndarray
    bias: np.ndarray
    frac_bits: int
    align: np.ndarray
    drop: np.ndarray
    raised: np.ndarray
    accumulator: Accumulator
    split: Split | None = None
    panels: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

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
        return np.ldexp(magnitudes(self.codes).astype(np.float64), self.align)


@dataclass(frozen=True)
class Split:
    """A clustered layer as it is summed: K temporary maps, and residuals (paper B, section 6).

    base (K, I, ...), residual (N, I, ...): codes. labels: int64 (N,). base_align, base_drop,
    align: as in IntegerLayer, of base kernels and of residuals. raise_base: int64 (N,), left shift
    from a base's sum to the sum that it is part of, before either drops any fraction bits.
    """

    base: np.ndarray
    residual: np.ndarray
    labels: np.ndarray
    base_align: np.ndarray
    base_drop: np.ndarray
    align: np.ndarray
    raise_base: np.ndarray

    @cached_property
    def reaches(self) -> tuple[np.ndarray, np.ndarray]:
        """As IntegerLayer.reach, of base kernels (K,) and of residuals (N,)."""
        base, rest = magnitudes(self.base), magnitudes(self.residual)
        return np.ldexp(base.astype(float), self.base_align), np.ldexp(
            rest.astype(float), self.align
        )


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
        if isinstance(node.layer, Add):
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
    if (one.format.frac_bits, one.drops) != (two.format.frac_bits, two.drops):
        return False
    return plan.layers[node.name] == other.layers[node.name]


def _layer(
    node: Node, network: Network, weight: np.ndarray, bias: np.ndarray, plan: Plan, ops: ModuleType
) -> IntegerLayer:
    entry = plan.layers[node.name]
    data = data_frac_bits(node, network, plan.tensors[node.inputs[0]])
    filters = weight.reshape(*filter_counts(node, network), -1)
    parts: _Parts | None = None
    if isinstance(entry.weight, Clustered):
        parts = _parts(filters, entry.weight, data, ops)
        codes, top = parts.joined(node.name)
    else:
        part = _part(filters, entry.weight, data, ops)
        codes, top = part.codes, part.top
    # products, bias and a declared accumulator meet at the largest number of fraction bits
    bias_codes, _ = ops.quantize(bias, entry.bias)
    own = np.maximum(top, entry.bias.frac_bits)
    own, drop = _declared(own, entry.accumulator)
    kept = own - drop
    made = IntegerLayer(
        _narrow(codes).reshape(weight.shape),
        shifted_left(bias_codes, own - entry.bias.frac_bits, node.name).astype(np.int64),
        int(kept.max()),
        own - top,
        drop,
        kept.max() - kept,
        entry.accumulator,
        parts.split(entry.accumulator, own, weight.shape[1:]) if parts else None,
    )
    _check_raised(made, plan.tensors[node.inputs[0]].format, node.name)
    return made


def _check_raised(own: IntegerLayer, data: FixedPointFormat, name: str) -> None:
    """Raises FormatError where sums brought to one number of fraction bits could leave 63 bits."""
    if not own.raised.any() and own.split is None:
        return
    largest = max(-data.min_code, data.max_code)
    reach = own.reach * largest + np.abs(own.bias)
    if own.split:
        base, rest = own.split.reaches
        base = np.ldexp(base[own.split.labels] * largest, own.split.raise_base)
        reach = np.maximum(reach, base + rest * largest + np.abs(own.bias))
    if own.accumulator.bits is not None:
        reach = np.minimum(reach, np.ldexp(1.0, np.array(own.accumulator.bits) - 1))
    if np.ldexp(reach, own.raised).max() >= 2.0**62:
        raise FormatError(
            f"layer {name}: sums of kernels whose fraction bits differ by {int(own.raised.max())}",
            "sums within 63 bits at one number of fraction bits",
            "choose formats of its kernels closer to each other",
        )


def _check_sum(node: Node, plan: Plan) -> None:
    """Raises FormatError where an addition of operands at one F could leave 63 bits."""
    bits, _ = exact_sum([plan.tensors[name] for name in node.inputs])
    if bits > 63:
        formats = " + ".join(f"{plan.tensors[name].format}" for name in node.inputs)
        raise FormatError(
            f"addition {node.name} of {formats}, which needs {bits} bits",
            "sums within 63 bits at one number of fraction bits",
            "choose formats of its operands closer to each other",
        )


def filter_counts(node: Node, network: Network) -> tuple[int, int]:
    """(O, I): outputs, and the input maps that each one reads."""
    source = network.shapes[node.inputs[0]]
    if isinstance(node.layer, Conv):
        return node.layer.out_channels, source[0] // node.layer.group
    return network.shapes[node.name][0], source[0]


def data_frac_bits(node: Node, network: Network, source: TensorPlan) -> np.ndarray:
    """int64 (O, I), or broadcast to it: fraction bits of the data that each filter reads."""
    own = source.format.frac_bits - np.array(source.drops or (0,), np.int64)
    group = node.layer.group if isinstance(node.layer, Conv) else 1
    if len(own) == 1 or group == 1:
        return own[None]
    return np.repeat(own.reshape(group, -1), filter_counts(node, network)[0] // group, axis=0)


def _declared(own: np.ndarray, accumulator: Accumulator) -> tuple[np.ndarray, np.ndarray]:
    """(fraction bits that sums have on the way, those that the accumulator drops)."""
    if accumulator.frac_bits is None:
        return own, np.zeros_like(own)
    kept = np.broadcast_to(np.array(accumulator.frac_bits, np.int64), own.shape)
    own = np.maximum(own, kept)
    return own, own - kept


@dataclass(frozen=True)
class _Part:
    """Coefficients with the same fraction bits of products within each kernel: codes int (O, I,
    ...), top int64 (O,)."""

    codes: np.ndarray
    top: np.ndarray


def _part(
    filters: np.ndarray, fmt: FixedPointFormat | FormatGrid, data: np.ndarray, ops: ModuleType
) -> _Part:
    """filters: float (O, I, ...); data: int64 (O, I) or broadcast to it."""
    codes, frac_bits = coded(filters, fmt, ops)
    products = frac_bits + data
    top = np.broadcast_to(products.max(axis=1), len(filters))
    return _Part(shifted_left(codes, top[:, None] - products), top)


def coded(
    filters: np.ndarray, fmt: FixedPointFormat | FormatGrid, ops: ModuleType = kernels
) -> tuple[np.ndarray, np.ndarray]:
    """(int codes (O, I, ...), their fraction bits, int64 (O, I) or broadcast to it)."""
    if isinstance(fmt, FormatGrid):
        codes, _ = ops.quantize_grid(filters, fmt)
        return codes, fmt.frac_bits.astype(np.int64).reshape(len(filters), -1)
    codes, _ = ops.quantize(filters, fmt)
    return codes, np.full((1, 1), fmt.frac_bits, np.int64)


@dataclass(frozen=True)
class _Parts:
    """A clustered layer's base kernels and residuals, float values gone."""

    base: _Part
    residual: _Part
    labels: np.ndarray

    def joined(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Codes of base and residual as one, and the fraction bits of their products: what an exact
        accumulator cannot tell from the two."""
        top = np.maximum(self.base.top[self.labels], self.residual.top)
        base = shifted_left(self.base.codes[self.labels], top - self.base.top[self.labels], name)
        rest = shifted_left(self.residual.codes, top - self.residual.top, name)
        return base.astype(np.int64) + rest, top

    def split(self, accumulator: Accumulator, own: np.ndarray, shape: tuple[int, ...]) -> Split:
        own_base, drop = _declared(self.base.top, accumulator)
        return Split(
            self.base.codes.reshape(-1, *shape),
            self.residual.codes.reshape(-1, *shape),
            self.labels,
            own_base - self.base.top,
            drop,
            own - self.residual.top,
            own - own_base[self.labels],
        )


def base_kernels(weight: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of each base's kernels, float64 (K, I, ...), for weight (N, I, ...), labels (N,)."""
    groups = [weight[labels == k] for k in range(1 + int(labels.max()))]
    return np.stack([group.mean(axis=0, dtype=np.float64) for group in groups])


def residuals(
    weight: np.ndarray,
    labels: np.ndarray,
    base: FixedPointFormat | FormatGrid,
    ops: ModuleType = kernels,
) -> np.ndarray:
    """What every kernel lacks to its base as it is quantized, float64 (N, I, ...): the residual
    makes up for the rounding of its base, too."""
    return weight - quantized_values(base_kernels(weight, labels), base, ops)[labels]


def quantized_values(
    weight: np.ndarray, fmt: Coefficients, ops: ModuleType = kernels
) -> np.ndarray:
    """The values that coefficients (O, I, ...) have in their formats: float64, same shape."""
    if isinstance(fmt, Clustered):
        labels = np.array(fmt.labels)
        bases = quantized_values(base_kernels(weight, labels), fmt.base, ops)[labels]
        rest = residuals(weight, labels, fmt.base, ops)
        return bases + quantized_values(rest, fmt.residual, ops)
    codes, frac_bits = coded(weight, fmt, ops)
    return np.ldexp(codes.astype(np.float64), -against(frac_bits, codes))


def _parts(filters: np.ndarray, fmt: Clustered, data: np.ndarray, ops: ModuleType) -> _Parts:
    labels = np.array(fmt.labels)
    # a base reads what its kernels read, which are of one group
    first = [fmt.labels.index(k) for k in range(1 + max(fmt.labels))]
    read = np.broadcast_to(data, (len(filters), data.shape[1]))[first]
    base = _part(base_kernels(filters, labels), fmt.base, read, ops)
    rest = residuals(filters, labels, fmt.base, ops)
    return _Parts(base, _part(rest, fmt.residual, data, ops), labels)


def of_channels(numbers: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Numbers (C,) to meet an array (N, C, ...)."""
    return numbers.reshape(-1, *(1,) * (like.ndim - 2))


def against(numbers: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Numbers of kernels (O,) or filters (O, I), to meet an array (O, I, ...)."""
    return numbers.reshape(*numbers.shape, *(1,) * (array.ndim - numbers.ndim))


def magnitudes(codes: np.ndarray) -> np.ndarray:
    """Sum of the magnitudes of each output's codes: int64 (O,)."""
    flat = codes.reshape(len(codes), -1)
    # one row at a time, so that no second copy of all weights is made
    return np.array([np.abs(row.astype(np.int64)).sum() for row in flat], np.int64)


def _narrow(codes: np.ndarray) -> np.ndarray:
    """The same codes in the narrowest integer that holds them."""
    low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return codes.astype(kind, copy=False)
    return codes


def shifted_left(codes: np.ndarray, shift: np.ndarray, name: str = "weights") -> np.ndarray:
    """Codes (O, ...) shifted left by int64 (O,) or (O, I) places: int32, or int64 where needed."""
    most = int(shift.max(initial=0)) if codes.any() else 0
    if most == 0:
        return codes if codes.itemsize > 4 else codes.astype(np.int32, copy=False)
    peak = int(np.abs(codes.astype(np.int64)).max()).bit_length()
    if peak + most > 62:
        raise FormatError(
            f"layer {name}: codes of {peak} bits shifted by {most}",
            "63 bits",
            "choose formats of weights, bias and activations closer to each other",
        )
    kind = np.int32 if peak + most < 31 else np.int64
    return np.left_shift(codes.astype(kind), against(shift, codes).astype(kind))
