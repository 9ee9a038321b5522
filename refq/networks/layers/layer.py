"""What every layer type says of itself, and what its steps are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from refq.errors import ShapeError
from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.windows import NO_PADS, Pads, Pair

Shape = tuple[int, ...]


class FloatStep(Protocol):
    """A layer's step in float32. weight, bias: of a weighted layer."""

    @property
    def ops(self) -> ModuleType: ...
    @property
    def inputs(self) -> Sequence[np.ndarray]: ...
    @property
    def weight(self) -> np.ndarray: ...
    @property
    def bias(self) -> np.ndarray: ...


class IntegerStep(Protocol):
    """A layer's step in integers under a plan; what it makes is stored as the plan has it.

    inputs: codes, int32 or int64, value = code * 2**-frac_bits. format: of the output. modes:
    rounding, overflow, seed and offset, as operations take them that round on their own.
    """

    @property
    def ops(self) -> ModuleType: ...
    @property
    def inputs(self) -> Sequence[np.ndarray]: ...
    @property
    def frac_bits(self) -> Sequence[int]: ...
    @property
    def format(self) -> FixedPointFormat: ...
    @property
    def modes(self) -> Mapping[str, Any]: ...

    def summed(self) -> Any:
        """A weighted layer's sums."""

    def passed(self, codes: np.ndarray, frac_bits: int | None = None) -> Any:
        """The input with other codes, by default of the same fraction bits, sums where it has
        them."""

    def moved(self, codes: np.ndarray) -> Any:
        """Codes of the inputs, in the format that the plan has for all."""

    def exact(self, codes: np.ndarray, frac_bits: int) -> Any:
        """Exact numbers."""

    def rounded(self, codes: np.ndarray, outside: int) -> Any:
        """Codes of the output's format, so many of which lay outside."""


class MapStep(Protocol):
    """A layer's step on maps of the fused kernels; None for what they do not cover."""

    def summed(self) -> Any:
        """Sums, left to the ReLU or clip that reads them where there is one."""

    def bounded(self) -> Any:
        """A sum and its ReLU or clip at once."""

    def looked_up(self) -> Any:
        """A function of each value by itself, by a table."""

    def max_pooled(self) -> Any:
        """Maxima over windows."""

    def joined(self) -> Any:
        """Channels that were written side by side."""


class Layer:
    """A layer type: a frozen dataclass of its attributes.

    It has to say what it computes, and its shape where that is another than its input's. The rest
    of what is here is right for layers that do the same to reals and to codes, exactly.

    several: it reads two or more tensors. images: what it reads has rows and columns; flat: it has
    weights for all of them, as for one pixel. makes_sums: what it makes are exact sums, which a
    activation may take before they are stored; takes_sums: it is that activation; bounds: the least
    and the greatest value that it leaves, where it does no more; moves_stored: of what is stored
    already it only moves codes, as a ReLU does. moves_codes: what it makes are codes that it reads,
    or zeros of its own that need no code; keeps_maps: each of its channels comes from one that it
    reads, as of_channels tells; joins: all of them, channel after channel; subsamples: those of
    every so many rows and columns. float_maps: it reads maps in float32 as well. windows: it has
    some; kernel, strides, pads, dilations, ceil_mode: of them; map_pads: those of the zeros that a
    map has to hold. group: parts of its channels that know nothing of each other. by_rows: an
    output row comes from the same row of its inputs.
    """

    several = images = windows = weighted = flat = False
    makes_sums = takes_sums = moves_stored = moves_codes = joins = subsamples = False
    keeps_maps = True
    float_maps = ceil_mode = by_rows = False
    # no values here, as those would become a subclass's defaults
    kernel: Pair
    strides: Pair
    pads: Pads = NO_PADS
    dilations: Pair = (1, 1)
    group: int = 1

    @property
    def kind(self) -> str:
        return type(self).__name__

    @property
    def attributes(self) -> dict[str, Any]:
        """By ONNX's names, where ONNX has such a layer."""
        return dict(vars(self))

    @property
    def of_sums(self) -> bool:
        """Whether what it makes comes from exact sums."""
        return self.makes_sums or self.takes_sums

    @property
    def words(self) -> str:
        """What it computes, as errors about files of other tools call it."""
        return f"other {self.kind}"

    @property
    def bounds(self) -> tuple[float, float] | None:
        return None

    @property
    def near(self) -> int | None:
        """An output channel comes from input channels so near to its own; None for any."""
        return None

    @property
    def map_pads(self) -> Pads:
        return NO_PADS

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """Shape of the output. Raises ShapeError that says what did not fit."""
        if self.several and len(inputs) < 2:
            raise ShapeError(f"{self.kind} of {len(inputs)} input", "two or more")
        if not self.several and len(inputs) != 1:
            raise ShapeError(f"{self.kind} with {len(inputs)} inputs", "one")
        if self.images and any(len(shape) != 3 for shape in inputs):
            raise ShapeError(f"{self.kind} on shape {inputs[0]}", "(channels, rows, columns)")
        return self.shape_of(*inputs)

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        """Shape of the output for as many inputs as it should have."""
        return shape

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """What it makes of reals, float32, or of codes with the same fraction bits. ops:
        refq.kernels or refq.oracle."""
        raise NotImplementedError

    def float_step(self, step: FloatStep) -> np.ndarray:
        return self.computed(step.ops, step.inputs)

    def integer_step(self, step: IntegerStep) -> Any:
        codes = self.computed(step.ops, step.inputs)
        if self.moves_codes:
            return step.moved(codes)
        (frac_bits,) = set(step.frac_bits)  # a layer that reads several kinds aligns them itself
        return step.exact(codes, frac_bits)

    def map_step(self, step: MapStep) -> Any:
        return None

    def weight_shape(self, source: Shape) -> Shape:
        """Shape of a weighted layer's weights, for an input's."""
        raise NotImplementedError

    def operation(self, ops: ModuleType, integer: bool) -> Callable[..., Any]:
        """What computes a weighted layer's sums of an input, weights and a bias: conv or dense of
        ops, or what they are in integers."""
        raise NotImplementedError

    def reach(self, operands: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """(greatest magnitude, fraction bits) of exact sums that it makes, without weights, of
        codes with such magnitudes and fraction bits."""
        raise NotImplementedError

    def signed(self, inputs: Sequence[bool]) -> bool:
        """Whether the output can be negative, for inputs that can or cannot."""
        return any(inputs)

    def of_channels(self, numbers: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        """For a layer that moves codes: the number that each output channel takes from the input
        channel it is made of; numbers: those of each input."""
        return tuple(number for part in numbers for number in part)

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        """Fraction bits of the exact numbers that it makes of codes with such ones, to be rounded
        to fmt; None for a layer with weights, that moves codes, or that rounds on its own."""
        return None

    def numbers(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> Mapping[str, np.ndarray]:
        """Integers that it computes with beside what it reads, by name."""
        return {}

    def wide_format(self, source: FixedPointFormat, bits: int) -> FixedPointFormat | None:
        """The format of so many bits in which its output loses nothing where it is the network's;
        None where sums tell, or what it reads. source: of what it reads."""
        return None


class Weighted(Layer):
    """A layer with weights (O, I/group, ...) and a bias (O,)."""

    weighted = makes_sums = True

    def float_step(self, step: FloatStep) -> np.ndarray:
        sums: np.ndarray = self.operation(step.ops, False)(*step.inputs, step.weight, step.bias)
        return sums

    def integer_step(self, step: IntegerStep) -> Any:
        return step.summed()

    def map_step(self, step: MapStep) -> Any:
        return step.summed()

    def signed(self, inputs: Sequence[bool]) -> bool:
        return True


def aligned_reach(operands: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Layer.reach of a sum or difference, its operands brought to the largest fraction bits."""
    frac_bits = max(own for _, own in operands)
    return sum(reach << (frac_bits - own) for reach, own in operands), frac_bits


def broadcast(kind: str, shapes: Sequence[Shape]) -> Shape:
    """Shape of an elementwise result: sizes are equal, or 1 (ONNX's rule, for equal ranks)."""
    sizes = [set(each) - {1} for each in zip(*shapes)]
    if len({len(shape) for shape in shapes}) != 1 or any(len(each) > 1 for each in sizes):
        raise ShapeError(f"{kind} of shapes {list(shapes)}", "equal sizes, or 1")
    return tuple(each.pop() if each else 1 for each in sizes)


def positive(layer: Layer, outputs: int) -> int:
    """A number of outputs, once it is known to be one."""
    if outputs < 1:
        raise ShapeError(f"{layer.kind} with {outputs} outputs", "1 or more")
    return outputs


def inside(layer: Layer, axis: int, shape: Shape) -> Shape:
    """A shape, once it is known to have an axis."""
    if not 0 <= axis < len(shape):
        raise ShapeError(f"{layer.kind} along axis {axis} of shape {shape}", "one of its axes")
    return shape


def two(layer: Layer, shapes: Sequence[Shape]) -> Sequence[Shape]:
    """Shapes of inputs, once they are known to be two."""
    if len(shapes) != 2:
        raise ShapeError(f"{layer.kind} of {len(shapes)} inputs", "two")
    return shapes
