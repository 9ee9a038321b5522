"""The tensors of a golden set, stage by stage as they are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from refq.engine.aligning import magnitudes
from refq.engine.coefficients import IntegerLayer, IntegerWeights
from refq.formats.fixed import spelled
from refq.networks.graph import Network
from refq.networks.points import moves_codes
from refq.plans.plan import Plan, TensorPlan, exact_sum

TENSOR, PARAMETER = "tensor", "parameter"
# `operand`, a weighted layer's input as it is multiplied, is another name of that input's `value`
STAGES = ("accumulator", "base_sum", "residual_sum", "sum", "rounded", "code", "value", "operand")
# a number, one for each channel, one for each filter; None for what is no fixed-point value
FracBits = int | list[int] | list[list[int]] | None


@dataclass(frozen=True)
class GoldenArray:
    """One array of a golden set.

    shape: axes N, C, H, W (or N, C) of a tensor; O, I, rows, columns of weights. bits, signed: of
    its words. frac_bits: one number, or one for each channel of a tensor; of coefficients, one for
    each kernel or filter. also: further names of the same numbers.
    """

    layer: str
    stage: str
    kind: str
    shape: tuple[int, ...]
    bits: int
    signed: bool
    frac_bits: FracBits = None
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.layer}.{self.stage}"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)

    @property
    def format(self) -> str:
        """Both common spellings; a range of fraction bits where they differ."""
        if self.frac_bits is None:
            sign, kind = ("s", "int") if self.signed else ("u", "uint")
            return f"{sign}{self.bits} = ap_{kind}<{self.bits}>"
        if isinstance(self.frac_bits, int):
            return spelled(self.bits, self.frac_bits, self.signed)
        every = np.concatenate([np.ravel(part) for part in self.frac_bits])
        return f"fxp-{'s' if self.signed else 'u'}{self.bits}/{every.min()}..{every.max()}"

    @property
    def fractions(self) -> np.ndarray | None:
        """Fraction bits as an integer array that broadcasts along the shape's axes, or None for
        plain numbers. Raises ValueError where they do not fit the shape."""
        if self.frac_bits is None:
            return None
        numbers = np.array(self.frac_bits)
        # lists run along the channels of tensors, along outputs (and inputs) of parameters
        before = int(self.kind == TENSOR and numbers.ndim > 0)
        after = len(self.shape) - before - numbers.ndim if numbers.ndim else 0
        numbers = numbers.reshape((1,) * before + numbers.shape + (1,) * after)
        np.broadcast_to(numbers, self.shape)
        return numbers

    @property
    def axes(self) -> tuple[str, ...]:
        """A letter for each axis, as indices are told."""
        if len(self.shape) > 4:
            return tuple(f"i{axis}" for axis in range(len(self.shape)))
        letters = ("n", "c", "y", "x") if self.kind == TENSOR else ("o", "i", "ky", "kx")
        return letters[: len(self.shape)]

    def fraction(self, index: Sequence[int]) -> int | None:
        """Fraction bits of the word there."""
        fractions = self.fractions
        if fractions is None:
            return None
        return int(np.broadcast_to(fractions, self.shape)[tuple(index)])


def tensors(
    name: str, network: Network, plan: Plan, weights: IntegerWeights, images: int
) -> Iterator[GoldenArray]:
    """Arrays of what one layer makes, or of the image, in order of computation."""
    node = network.by_name.get(name)
    shape = (images, *network.shapes[name])
    if node is not None and node.layer.weighted:
        data = plan.tensors[node.inputs[0]].fixed
        largest = max(-data.min_code, data.max_code)
        for sums in _sums(weights.layers[name], largest):
            maps = (images, len(sums.reach), *shape[2:])
            frac_bits = compact(sums.frac_bits)
            yield GoldenArray(name, sums.stage, TENSOR, maps, sums.bits, True, frac_bits)
    elif node is not None and node.layer.makes_sums:
        wide, place = exact_sum(node.layer, [plan.tensors[each] for each in node.inputs])
        yield GoldenArray(name, "sum", TENSOR, shape, wide, True, place)
    if name in plan.tensors:
        readers = [each for each in network.consumers[name] if each.layer.weighted]
        read = tuple(f"{each.name}.operand" for each in readers)
        rounds = node is None or not moves_codes(network, node)
        yield from _stored(name, plan.tensors[name], rounds, shape, read)


@dataclass(frozen=True)
class _Sums:
    """Sums of one stage. reach, frac_bits: the largest magnitude of each output's, and their
    fraction bits. declared: their bits; None for exact ones, which have the bits that no data
    exceeds."""

    stage: str
    reach: list[int]
    frac_bits: np.ndarray
    declared: int | None = None

    @property
    def bits(self) -> int:
        return self.declared or max(1, *self.reach).bit_length() + 1


def _sums(layer: IntegerLayer, largest: int) -> Iterator[_Sums]:
    """All that are made in a weighted layer. largest: magnitude of its data."""
    summed, declared = layer.summed_frac_bits, layer.accumulator.bits
    limit = None if declared is None else int(np.max(declared))
    every_mac = layer.accumulator.every_mac and limit is not None
    reach = _reach(layer.codes, layer.align, largest)
    start = [abs(int(code)) for code in layer.bias]
    if not every_mac:
        yield _Sums("accumulator", reach, summed)
    if layer.split is not None:
        split = layer.split
        first = [int(np.argmax(split.labels == k)) for k in range(len(split.base))]
        base, rest = summed[first] - split.raise_base[first], summed
        if every_mac:
            base, rest = base - split.base_drop, rest - layer.drop
        narrow = limit if every_mac else None
        of_bases = _reach(split.base, split.base_align, largest)
        yield _Sums("base_sum", of_bases, base, narrow)
        residuals = _reach(split.residual, split.align, largest)
        yield _Sums("residual_sum", _plus(residuals, start), rest, narrow)
    yield _Sums("sum", _plus(reach, start), summed - layer.drop, limit)


def _reach(codes: np.ndarray, align: np.ndarray, largest: int) -> list[int]:
    """The largest magnitude that each output's sum of products can have."""
    return [(int(m) << int(left)) * largest for m, left in zip(magnitudes(codes), align)]


def _plus(reach: Sequence[int], start: Sequence[int]) -> list[int]:
    return [one + other for one, other in zip(reach, start)]


def _stored(
    name: str, entry: TensorPlan, rounds: bool, shape: tuple[int, ...], read: tuple[str, ...]
) -> Iterator[GoldenArray]:
    """Value codes and what is kept of them; one array where all are the same."""
    fmt, code = entry.fixed, entry.code
    values = (fmt.bits, fmt.signed, compact(fmt.frac_bits - np.array(entry.drops or (0,))))
    if code is None:
        also = (*([f"{name}.rounded"] if rounds else []), f"{name}.value", *read)
        yield GoldenArray(name, "code", TENSOR, shape, *values, also)
        return
    if rounds:
        yield GoldenArray(name, "rounded", TENSOR, shape, *values)
    # ENQ's index is a value of its own; KNQ's chooses one
    frac_bits = None if code.shift is None else fmt.frac_bits - code.shift
    yield GoldenArray(name, "code", TENSOR, shape, code.bits, code.first < 0, frac_bits)
    yield GoldenArray(name, "value", TENSOR, shape, *values, read)


def compact(numbers: np.ndarray) -> FracBits:
    """One number where all are the same, otherwise a list of them, or of lists."""
    if numbers.min() == numbers.max():
        return int(numbers.flat[0])
    if numbers.ndim == 2 and (numbers == numbers[:, :1]).all():
        numbers = numbers[:, 0]
    listed: list[int] = numbers.tolist()
    return listed
