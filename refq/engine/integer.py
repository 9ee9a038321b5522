"""Networks in integers: the steps of their layers on plain arrays."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from refq.engine.aligning import of_channels, shifted_left
from refq.engine.clustered import Split
from refq.engine.coefficients import IntegerLayer, IntegerWeights
from refq.engine.steps import Tensor
from refq.formats.fixed import Accumulator, FixedPointFormat
from refq.networks.graph import INPUT, Node
from refq.plans.plan import Plan

# told of (layer, stage, codes) on the way, for stages that no Tensor shows
Note = Callable[[str, str, np.ndarray], object]


@dataclass(frozen=True)
class IntegerStep:
    """What a layer's step in integers is given (refq.networks.layers)."""

    steps: IntegerSteps
    node: Node
    tensors: Sequence[Tensor]

    @property
    def ops(self) -> ModuleType:
        return self.steps.ops

    @property
    def inputs(self) -> list[np.ndarray]:
        return [tensor.codes for tensor in self.tensors]

    @property
    def frac_bits(self) -> list[int]:
        return [tensor.frac_bits for tensor in self.tensors]

    @property
    def format(self) -> FixedPointFormat:
        return self.steps.plan.tensors[self.node.name].fixed

    @property
    def modes(self) -> dict[str, Any]:
        shapes = [codes.shape[1:] for codes in self.inputs]
        return self.steps.modes(self.node.name, math.prod(self.node.layer.output_shape(shapes)))

    def summed(self) -> Tensor:
        return self.steps.stored(self.node.name, self.steps.sums(self.node, *self.tensors))

    def passed(self, codes: np.ndarray, frac_bits: int | None = None) -> Tensor:
        (tensor,) = self.tensors
        if tensor.stored is not None and not self.node.layer.moves_stored:
            tensor = Tensor(codes, tensor.frac_bits)  # made anew of what is stored
        own = tensor.frac_bits if frac_bits is None else frac_bits
        return self.steps.stored(self.node.name, replace(tensor, codes=codes, frac_bits=own))

    def moved(self, codes: np.ndarray) -> Tensor:
        return Tensor(codes, self.frac_bits[0], self.steps.plan.tensors[self.node.name])

    def exact(self, codes: np.ndarray, frac_bits: int) -> Tensor:
        if self.node.layer.makes_sums:
            self.steps.noted(self.node.name, "sum", codes)
        return self.steps.stored(self.node.name, Tensor(codes, frac_bits))

    def rounded(self, codes: np.ndarray, outside: int) -> Tensor:
        self.steps.noted(self.node.name, "rounded", codes)
        entry = self.steps.plan.tensors[self.node.name]
        kept = entry.storage.kept(codes, self.ops)
        return Tensor(kept, entry.fixed.frac_bits, entry, outside)


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
        entry, modes = self.plan.tensors[INPUT], self.modes(INPUT, math.prod(images.shape[1:]))
        codes, outside = self.ops.quantize(images, entry.fixed, **modes)
        self.noted(INPUT, "rounded", codes)
        return Tensor(codes, entry.fixed.frac_bits, entry, outside)

    def restored(self, name: str, tensor: Tensor) -> Tensor:
        return tensor

    def __call__(self, node: Node, inputs: Sequence[Tensor]) -> Tensor:
        made: Tensor = node.layer.integer_step(IntegerStep(self, node, inputs))
        return made

    def release(self, tensor: Tensor) -> None:
        """Arrays go by themselves."""

    def shown(self, tensor: Tensor) -> Tensor:
        return tensor

    def output(self, tensor: Tensor) -> np.ndarray:
        return tensor.values()

    def noted(self, layer: str, stage: str, codes: np.ndarray) -> None:
        if self.note:
            self.note(layer, stage, codes)

    def sums(self, node: Node, x: Tensor) -> Tensor:
        """A convolution's or dense layer's sums, as its accumulators leave them."""
        coded, operation = self.weights.layers[node.name], node.layer.operation(self.ops, True)
        # each feature map as its own format has it; the coefficients' codes make up for the rest
        codes = np.right_shift(x.codes, _of_maps(x))
        weight, accumulator = coded.weight(node.name), coded.accumulator
        if coded.split:
            sums, overflows = self._clustered(operation, codes, coded, coded.split, node)
        else:
            sums, overflows = operation(
                codes, weight, coded.bias, accumulator=accumulator, drop=coded.drop
            )
        exact = sums
        if accumulator.bits is not None:
            # what the sums need is told by sums that nothing has limited
            exact, _ = operation(codes, weight, coded.bias)
        self.noted(node.name, "products", exact)
        self.noted(node.name, "sum", sums)
        if accumulator.bits is not None:
            exact = np.right_shift(exact, of_channels(coded.drop, exact))
        seen = (int(exact.min()), int(exact.max()))
        sums = np.left_shift(sums, of_channels(coded.raised, sums))
        return Tensor(sums, coded.frac_bits, sums=seen, overflows=overflows)

    def _clustered(
        self, operation: Any, codes: np.ndarray, coded: IntegerLayer, split: Split, node: Node
    ) -> tuple[np.ndarray, int]:
        """As paper B computes it: K temporary maps of base kernels, to which residuals' are added
        (section 6). What is limited at the end is the sum; MAC by MAC, each of the two, too."""
        every = coded.accumulator.every_mac and coded.accumulator.bits is not None
        limited = coded.accumulator if every else Accumulator()
        base = shifted_left(split.base, split.base_align, node.name)
        maps, lost = operation(codes, base, None, accumulator=limited, drop=split.base_drop)
        residual = shifted_left(split.residual, split.align, node.name)
        sums, more = operation(codes, residual, coded.bias, accumulator=limited, drop=coded.drop)
        self.noted(node.name, "base_sum", maps)
        self.noted(node.name, "residual_sum", sums)
        raised, drop = split.raise_base, coded.drop
        if every:
            raised, drop = raised - drop + split.base_drop[split.labels], np.zeros_like(drop)
        maps = np.left_shift(maps[:, split.labels], of_channels(raised, sums))
        sums, last = self.ops.add_limited(sums, maps, coded.accumulator, drop)
        return sums, lost + more + last

    def modes(self, name: str, per_image: int, place: int = 0) -> dict[str, Any]:
        """Rounding, overflow, and where a tensor's elements are in its stochastic sequence: so many
        an image, from that place on in the first."""
        seed = (zlib.crc32(name.encode()) ^ (self.plan.seed << 32)) % 2**64
        return {
            "rounding": self.plan.rounding,
            "overflow": self.plan.overflow,
            "seed": seed,
            "offset": self.first_image * per_image + place,
        }

    def stored(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor as the plan keeps it: requantized and encoded, unless it is so already."""
        entry = self.plan.tensors.get(name)
        if entry is None or entry == tensor.stored:
            return tensor
        requantize = self.ops.requantize
        if entry.drops:
            requantize = partial(self.ops.requantize_maps, drops=np.array(entry.drops))
        modes = self.modes(name, math.prod(tensor.codes.shape[1:]))
        codes, outside = requantize(tensor.codes, tensor.frac_bits, fmt=entry.fixed, **modes)
        self.noted(name, "rounded", codes)
        return replace(
            tensor,
            codes=entry.storage.kept(codes, self.ops),
            frac_bits=entry.fixed.frac_bits,
            stored=entry,
            outside=outside,
        )


def _of_maps(x: Tensor) -> np.ndarray:
    """How many low bits each feature map's codes have that its format has not."""
    drops = x.stored.drops if x.stored else ()
    return of_channels(np.array(drops or (0,), x.codes.dtype), x.codes)
