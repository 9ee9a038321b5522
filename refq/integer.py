"""Networks in integers: layers' codes, and their steps on plain arrays."""

from __future__ import annotations

import dataclasses
import math
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from refq import kernels
from refq.errors import FormatError, OptionError
from refq.formats import Accumulator, FixedPointFormat
from refq.layers import (
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
    output_shape,
)
from refq.networks.graph import INPUT, Network, Node
from refq.plan import Codebook, Plan, ShiftCode, TensorPlan
from refq.weights import Weights


@dataclass(frozen=True)
class Tensor:
    """Integer codes between layers: value = codes * 2**-frac_bits.

    codes: int32, or int64 for exact sums, (N, ...). stored: how the plan keeps this tensor,
    None for an accumulator. outside: values that saturated or wrapped when it was quantized.
    sums: least and greatest sum of the weighted layer it comes from, None for others;
    overflows: accumulator overflows while it was summed.
    """

    codes: np.ndarray
    frac_bits: int
    stored: TensorPlan | None = None
    outside: int = 0
    sums: tuple[int, int] | None = None
    overflows: int = 0

    def values(self) -> np.ndarray:
        """Real values, float64."""
        return np.ldexp(self.codes.astype(np.float64), -self.frac_bits)


@dataclass(frozen=True)
class IntegerLayer:
    """A weighted layer's codes, and how they meet in the accumulator (contract section 3).

    codes: weights in the narrowest integer that their format allows. bias: int64 (O,), with the
    accumulator's frac_bits. align: left shift that brings the products to them, above 0 where the
    bias is finer than the products. panels: what the fused steps make of the codes, kept as long
    as they are; it makes results no different.
    """

    codes: np.ndarray
    bias: np.ndarray
    frac_bits: int
    align: int
    accumulator: Accumulator
    panels: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def weight(self) -> np.ndarray:
        """The codes as the plain operations take them: int32, or int64 for 32 unsigned bits."""
        return self.codes if self.codes.itemsize > 4 else self.codes.astype(np.int32, copy=False)


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
    for node in network.weighted:
        entry = plan.layers[node.name]
        if like and _same_codes(node, plan, like.plan):
            layers[node.name] = like.layers[node.name]
            continue
        weight, _ = ops.quantize(weights.weight[node.name], entry.weight)
        bias, _ = ops.quantize(weights.bias[node.name], entry.bias)
        # products and bias meet at the larger number of fraction bits, by exact left shifts
        product = plan.tensors[node.inputs[0]].format.frac_bits + entry.weight.frac_bits
        frac_bits = max(product, entry.bias.frac_bits)
        layers[node.name] = IntegerLayer(
            weight.astype(_narrowest(entry.weight)),
            _shifted_left(bias, frac_bits - entry.bias.frac_bits, node.name).astype(np.int64),
            frac_bits,
            frac_bits - product,
            entry.accumulator,
        )
    if like:
        return IntegerWeights(layers, plan, like.lock, like.workspace)
    return IntegerWeights(layers, plan)


def _same_codes(node: Node, plan: Plan, other: Plan) -> bool:
    """True where two plans make the same IntegerLayer of a node."""
    one, two = (each.tensors[node.inputs[0]].format.frac_bits for each in (plan, other))
    return one == two and plan.layers[node.name] == other.layers[node.name]


def _narrowest(fmt: FixedPointFormat) -> np.dtype:
    """The smallest integer that holds every code of a format."""
    fits = [kind for kind in (np.int8, np.int16) if fmt.max_code <= np.iinfo(kind).max]
    return np.dtype(fits[0]) if fits else fmt.dtype


def _shifted_left(codes: np.ndarray, shift: int, name: str) -> np.ndarray:
    if shift == 0:
        return codes
    if not codes.any():
        return codes
    peak = int(np.abs(codes.astype(np.int64)).max()).bit_length()
    if peak + shift > 62:
        raise FormatError(
            f"layer {name}: codes of {peak} bits shifted by {shift}",
            "63 bits",
            "choose formats of weights, bias and activations closer to each other",
        )
    kind = np.int32 if peak + shift < 31 else np.int64
    return np.left_shift(codes.astype(kind), kind(shift))


def window_attributes(layer: MaxPool | AvgPool) -> dict[str, Any]:
    """A pooling layer's attributes under ONNX's names."""
    attributes = dataclasses.asdict(layer)
    attributes["kernel_shape"] = attributes.pop("kernel")
    return attributes


def conv_attributes(layer: Conv) -> dict[str, Any]:
    return {"strides": layer.strides, "pads": layer.pads, "group": layer.group}


def encoded(codes: np.ndarray, entry: TensorPlan, ops: ModuleType) -> np.ndarray:
    """Value codes after storage: encoded into the stored index and decoded again."""
    match entry.code:
        case ShiftCode(bits, drop, nearest):
            return ops.shift_decode(ops.shift_encode(codes, bits, drop, nearest), drop)
        case Codebook():
            index = ops.codebook_encode(codes, np.array(entry.code.thresholds, np.int64))
            return ops.codebook_decode(index, np.array(entry.code.values, np.int32))
    return codes


@dataclass(frozen=True)
class IntegerSteps:
    """One layer in integers, on plain arrays: with `ops`, the definition of what refq computes.

    Formats come from the plan alone.
    """

    weights: IntegerWeights
    plan: Plan
    ops: ModuleType
    first_image: int

    def image(self, images: np.ndarray) -> Tensor:
        """The preprocessed image as signed codes."""
        entry = self.plan.tensors[INPUT]
        codes, outside = self.ops.quantize(images, entry.format, *self._modes(INPUT, images))
        return Tensor(codes, entry.format.frac_bits, entry, outside)

    def restored(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of a cut, as these steps take it."""
        return tensor

    def __call__(self, node: Node, inputs: Sequence[Tensor]) -> Tensor:
        ops, layer, x = self.ops, node.layer, inputs[0]
        match layer:
            case Conv() | Dense():
                own = self.weights.layers[node.name]
                attributes = conv_attributes(layer) if isinstance(layer, Conv) else {}
                operation = ops.conv_integer if isinstance(layer, Conv) else ops.dense_integer
                weight = _shifted_left(own.weight, own.align, node.name)
                sums, overflows = operation(
                    x.codes, weight, own.bias, accumulator=own.accumulator, **attributes
                )
                exact = sums
                if own.accumulator.bits is not None:
                    # what the sums need is told by sums that nothing has limited
                    exact, _ = operation(x.codes, weight, own.bias, **attributes)
                seen = (int(exact.min()), int(exact.max()))
                return self._stored(
                    node, Tensor(sums, own.frac_bits, sums=seen, overflows=overflows)
                )
            case ReLU():
                codes = ops.relu(x.codes)
                return self._stored(node, dataclasses.replace(x, codes=codes))
            case MaxPool():
                codes = ops.max_pool(x.codes, **window_attributes(layer))
                return self._stored(node, Tensor(codes, x.frac_bits, x.stored))
            case Concat():
                # the plan keeps all operands in one format
                codes = ops.concat([each.codes for each in inputs])
                return self._stored(node, Tensor(codes, x.frac_bits, x.stored))
            case Add():
                return self._stored(node, self._sum(inputs))
            case AvgPool() | GlobalAvgPool() | LRN():
                return self._decoded(node, layer, x)
            case Softmax():
                entry = self.plan.tensors[node.name]
                codes = ops.softmax_integer(x.codes, x.frac_bits, entry.format)
                return Tensor(codes, entry.format.frac_bits, entry)
        raise OptionError(f"layer {node.name} of type {type(layer).__name__}", "a known layer")

    def _modes(self, name: str, like: np.ndarray) -> tuple[Any, ...]:
        """Rounding, overflow, and the place in the stochastic sequence of a tensor's elements."""
        per_image = like.size // max(1, like.shape[0])
        seed = zlib.crc32(name.encode()) ^ (self.plan.seed << 32)
        return (
            self.plan.rounding, self.plan.overflow, seed % 2**64, self.first_image * per_image,
        )  # fmt: skip

    def _stored(self, node: Node, tensor: Tensor) -> Tensor:
        """A tensor as the plan keeps it: requantized and encoded, unless it is so already."""
        entry = self.plan.tensors.get(node.name)
        if entry is None or entry == tensor.stored:
            return tensor
        codes, outside = self.ops.requantize(
            tensor.codes, tensor.frac_bits, entry.format, *self._modes(node.name, tensor.codes)
        )
        return dataclasses.replace(
            tensor, codes=encoded(codes, entry, self.ops), frac_bits=entry.format.frac_bits,
            stored=entry, outside=outside,
        )  # fmt: skip

    def _sum(self, inputs: Sequence[Tensor]) -> Tensor:
        """Operands brought to the largest F by exact left shifts, then added (contract 4)."""
        frac_bits = max(each.frac_bits for each in inputs)
        aligned = [
            np.left_shift(each.codes.astype(np.int64), frac_bits - each.frac_bits)
            for each in inputs
        ]
        return Tensor(self.ops.add(aligned), frac_bits)

    def _decoded(self, node: Node, layer: AvgPool | GlobalAvgPool | LRN, x: Tensor) -> Tensor:
        """Layers that round on their own: computed on values, then quantized (contract 4)."""
        entry = self.plan.tensors[node.name]
        arguments: dict[str, Any] = {"frac_bits": x.frac_bits, "fmt": entry.format}
        if isinstance(layer, LRN):
            operation, attributes = self.ops.lrn_integer, dataclasses.asdict(layer)
        elif isinstance(layer, AvgPool):
            operation, attributes = self.ops.avg_pool_integer, window_attributes(layer)
        else:
            operation, attributes = self.ops.global_avg_pool_integer, {}
        rounding, overflow, seed, _ = self._modes(node.name, x.codes)
        outputs = math.prod(output_shape(layer, (x.codes.shape[1:],)))
        codes, outside = operation(
            x.codes, **arguments, **attributes, rounding=rounding, overflow=overflow, seed=seed,
            offset=self.first_image * outputs,
        )  # fmt: skip
        return Tensor(encoded(codes, entry, self.ops), entry.format.frac_bits, entry, outside)
