"""Networks in integers: the steps of their layers on plain arrays."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.engine.aligning import of_channels, shifted_left
from refq.engine.clustered import Split
from refq.engine.coefficients import IntegerLayer, IntegerWeights
from refq.errors import OptionError
from refq.formats.codes import Codebook, ShiftCode
from refq.formats.fixed import Accumulator
from refq.networks.graph import INPUT, Node
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
    output_shape,
)
from refq.plans.plan import Plan, TensorPlan


@dataclass(frozen=True)
class Tensor:
    """Integer codes between layers: value = codes * 2**-frac_bits.

    codes: int32, or int64 for exact sums, (N, ...); where feature maps have formats of their own,
    int64, brought to the same fraction bits. stored: how the plan keeps this tensor, None for an
    accumulator. outside: values that saturated or wrapped when it was quantized.
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


# told of (layer, stage, codes) on the way, for stages that no Tensor shows
Note = Callable[[str, str, np.ndarray], object]


def window_attributes(layer: MaxPool | AvgPool) -> dict[str, Any]:
    """A pooling layer's attributes under ONNX's names."""
    attributes = dataclasses.asdict(layer)
    attributes["kernel_shape"] = attributes.pop("kernel")
    return attributes


def conv_attributes(layer: Conv) -> dict[str, Any]:
    return {"strides": layer.strides, "pads": layer.pads, "group": layer.group}


def index(codes: np.ndarray, entry: TensorPlan, ops: ModuleType) -> np.ndarray:
    """What is stored of value codes: ENQ's or KNQ's index, or themselves."""
    match entry.code:
        case ShiftCode(bits, drop, nearest):
            return ops.shift_encode(codes, bits, drop, nearest)
        case Codebook():
            return ops.codebook_encode(codes, np.array(entry.code.thresholds, np.int64))
    return codes


def encoded(codes: np.ndarray, entry: TensorPlan, ops: ModuleType) -> np.ndarray:
    """Value codes after storage: encoded into the stored index and decoded again."""
    match entry.code:
        case ShiftCode(_, drop, _):
            return ops.shift_decode(index(codes, entry, ops), drop)
        case Codebook():
            values = np.array(entry.code.values, np.int32)
            return ops.codebook_decode(index(codes, entry, ops), values)
    return codes


@dataclass(frozen=True)
class IntegerSteps:
    """One layer in integers, on plain arrays: with `ops`, the definition of what refq computes.

    Formats come from the plan alone. note is told of what is between two tensors: `products`, the
    exact sums with bias before any fraction bits are dropped; `base_sum` and `residual_sum` of a
    clustered layer; `sum`, as the accumulator leaves it; `rounded`, before a storage code.
    """

    weights: IntegerWeights
    plan: Plan
    ops: ModuleType
    first_image: int
    note: Note | None = None

    def image(self, images: np.ndarray) -> Tensor:
        """The preprocessed image as signed codes."""
        entry = self.plan.tensors[INPUT]
        codes, outside = self.ops.quantize(images, entry.fixed, *self.modes(INPUT, images))
        self._note(INPUT, "rounded", codes)
        return Tensor(codes, entry.fixed.frac_bits, entry, outside)

    def _note(self, layer: str, stage: str, codes: np.ndarray) -> None:
        if self.note:
            self.note(layer, stage, codes)

    def restored(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of a cut, as these steps take it."""
        return tensor

    def __call__(self, node: Node, inputs: Sequence[Tensor]) -> Tensor:
        ops, layer, x = self.ops, node.layer, inputs[0]
        match layer:
            case Conv() | Dense():
                return self._stored(node, self.sums(node, x))
            case ReLU():
                codes = ops.relu(x.codes)
                return self._stored(node, dataclasses.replace(x, codes=codes))
            case MaxPool():
                codes = ops.max_pool(x.codes, **window_attributes(layer))
                return self._stored(node, Tensor(codes, x.frac_bits, x.stored))
            case Concat():
                # the plan keeps all operands in one format
                codes = ops.concat([each.codes for each in inputs])
                entry = self.plan.tensors[node.name]
                return self._stored(node, Tensor(codes, x.frac_bits, entry))
            case Subsample():
                codes = ops.subsample(x.codes, layer.strides, layer.channels)
                return Tensor(codes, x.frac_bits, self.plan.tensors[node.name])
            case Add():
                total = self._sum(inputs)
                self._note(node.name, "sum", total.codes)
                return self._stored(node, total)
            case AvgPool() | GlobalAvgPool() | LRN():
                return self._decoded(node, layer, x)
            case Softmax():
                entry = self.plan.tensors[node.name]
                codes = ops.softmax_integer(x.codes, x.frac_bits, entry.fixed)
                self._note(node.name, "rounded", codes)
                return Tensor(codes, entry.fixed.frac_bits, entry)
        raise OptionError(f"layer {node.name} of type {type(layer).__name__}", "a known layer")

    def sums(self, node: Node, x: Tensor) -> Tensor:
        """A convolution's or dense layer's sums, as its accumulators leave them."""
        own, layer, ops = self.weights.layers[node.name], node.layer, self.ops
        attributes = conv_attributes(layer) if isinstance(layer, Conv) else {}
        operation = ops.conv_integer if isinstance(layer, Conv) else ops.dense_integer
        # each feature map as its own format has it; the coefficients' codes make up for the rest
        codes = np.right_shift(x.codes, _of_maps(x))
        weight, accumulator = own.weight(node.name), own.accumulator
        if own.split:
            sums, overflows = self._clustered(operation, codes, own, own.split, node, attributes)
        else:
            sums, overflows = operation(
                codes, weight, own.bias, accumulator=accumulator, drop=own.drop, **attributes
            )
        exact = sums
        if accumulator.bits is not None:
            # what the sums need is told by sums that nothing has limited
            exact, _ = operation(codes, weight, own.bias, **attributes)
        self._note(node.name, "products", exact)
        self._note(node.name, "sum", sums)
        if accumulator.bits is not None:
            exact = np.right_shift(exact, of_channels(own.drop, exact))
        seen = (int(exact.min()), int(exact.max()))
        sums = np.left_shift(sums, of_channels(own.raised, sums))
        return Tensor(sums, own.frac_bits, sums=seen, overflows=overflows)

    def _clustered(
        self,
        operation: Any,
        codes: np.ndarray,
        own: IntegerLayer,
        split: Split,
        node: Node,
        attributes: dict[str, Any],
    ) -> tuple[np.ndarray, int]:
        """As paper B computes it: K temporary maps of base kernels, to which residuals' are added
        (section 6). What is limited at the end is the sum; MAC by MAC, each of the two, too."""
        every = own.accumulator.every_mac and own.accumulator.bits is not None
        limited = own.accumulator if every else Accumulator()
        base = shifted_left(split.base, split.base_align, node.name)
        maps, lost = operation(
            codes, base, None, accumulator=limited, drop=split.base_drop, **attributes
        )
        residual = shifted_left(split.residual, split.align, node.name)
        sums, more = operation(
            codes, residual, own.bias, accumulator=limited, drop=own.drop, **attributes
        )
        self._note(node.name, "base_sum", maps)
        self._note(node.name, "residual_sum", sums)
        raised, drop = split.raise_base, own.drop
        if every:
            raised, drop = raised - drop + split.base_drop[split.labels], np.zeros_like(drop)
        maps = np.left_shift(maps[:, split.labels], of_channels(raised, sums))
        sums, last = self.ops.add_limited(sums, maps, own.accumulator, drop)
        return sums, lost + more + last

    def modes(self, name: str, like: np.ndarray) -> tuple[Any, ...]:
        """Rounding, overflow, and the place in the stochastic sequence of a tensor's elements."""
        per_image = like.size // max(1, like.shape[0])
        seed = zlib.crc32(name.encode()) ^ (self.plan.seed << 32)
        return (self.plan.rounding, self.plan.overflow, seed % 2**64, self.first_image * per_image)

    def _stored(self, node: Node, tensor: Tensor) -> Tensor:
        """A tensor as the plan keeps it: requantized and encoded, unless it is so already."""
        entry = self.plan.tensors.get(node.name)
        if entry is None or entry == tensor.stored:
            return tensor
        modes = self.modes(node.name, tensor.codes)
        if entry.drops:
            codes, outside = self.ops.requantize_maps(
                tensor.codes, tensor.frac_bits, entry.fixed, np.array(entry.drops), *modes
            )
        else:
            codes, outside = self.ops.requantize(
                tensor.codes, tensor.frac_bits, entry.fixed, *modes
            )
        self._note(node.name, "rounded", codes)
        return dataclasses.replace(
            tensor,
            codes=encoded(codes, entry, self.ops),
            frac_bits=entry.fixed.frac_bits,
            stored=entry,
            outside=outside,
        )

    def _sum(self, inputs: Sequence[Tensor]) -> Tensor:
        """Operands brought to the largest F by exact left shifts, then added (contract 4)."""
        frac_bits = max(each.frac_bits for each in inputs)
        shifts = [frac_bits - each.frac_bits for each in inputs]
        return Tensor(self.ops.add([each.codes for each in inputs], shifts), frac_bits)

    def _decoded(self, node: Node, layer: AvgPool | GlobalAvgPool | LRN, x: Tensor) -> Tensor:
        """Layers that round on their own: computed on values, then quantized (contract 4)."""
        entry = self.plan.tensors[node.name]
        arguments: dict[str, Any] = {"frac_bits": x.frac_bits, "fmt": entry.fixed}
        if isinstance(layer, LRN):
            operation, attributes = self.ops.lrn_integer, dataclasses.asdict(layer)
        elif isinstance(layer, AvgPool):
            operation, attributes = self.ops.avg_pool_integer, window_attributes(layer)
        else:
            operation, attributes = self.ops.global_avg_pool_integer, {}
        rounding, overflow, seed, _ = self.modes(node.name, x.codes)
        outputs = math.prod(output_shape(layer, (x.codes.shape[1:],)))
        codes, outside = operation(
            x.codes,
            **arguments,
            **attributes,
            rounding=rounding,
            overflow=overflow,
            seed=seed,
            offset=self.first_image * outputs,
        )
        self._note(node.name, "rounded", codes)
        return Tensor(encoded(codes, entry, self.ops), entry.fixed.frac_bits, entry, outside)


def _of_maps(x: Tensor) -> np.ndarray:
    """How many low bits each feature map's codes have that its format has not."""
    drops = x.stored.drops if x.stored else ()
    return of_channels(np.array(drops or (0,), x.codes.dtype), x.codes)
