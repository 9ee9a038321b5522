"""Padding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.errors import ShapeError
from refq.formats.fixed import FixedPointFormat
from refq.networks.layers.layer import IntegerStep, Layer, Shape

MODES = ("constant", "reflect", "edge")


@dataclass(frozen=True)
class Pad(Layer):
    """More values before and after those of each axis, without the batch: a constant, the values
    within mirrored without the edge (reflect), or the edge again (ONNX Pad)."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: str = "constant"
    value: float = 0.0

    keeps_maps = True

    @property
    def moves_codes(self) -> bool:  # type: ignore[override]
        """A constant other than 0 is a code of its own."""
        return self.mode != "constant" or self.value == 0.0

    def shape_of(self, shape: Shape, *more: Shape) -> Shape:
        known = self.mode in MODES and math.isfinite(self.value)
        if {len(self.before), len(self.after)} != {len(shape)} or not known:
            raise ShapeError(
                f"Pad {self.mode!r} with {self.value:g} by {self.before} and {self.after} of "
                f"shape {shape}",
                f"one of {', '.join(MODES)}, and two numbers an axis",
            )
        most = [size - 1 if self.mode == "reflect" else math.inf for size in shape]
        pads = (*zip(self.before, most), *zip(self.after, most))
        if any(not 0 <= pad <= limit for pad, limit in pads):
            found = f"Pad {self.mode} by {self.before} and {self.after} of shape {shape}"
            raise ShapeError(found, "0 or more, and to reflect less than the size")
        return tuple(sum(each) for each in zip(self.before, shape, self.after))

    def computed(self, ops: ModuleType, inputs: Sequence[np.ndarray]) -> np.ndarray:
        padded: np.ndarray = ops.pad(*inputs, self.before, self.after, self.mode, self.value)
        return padded

    def integer_step(self, step: IntegerStep) -> Any:
        if self.moves_codes:
            return super().integer_step(step)
        (codes,), (frac_bits,) = step.inputs, step.frac_bits
        # the nearest code, ties to even (contract section 4)
        value = round(math.ldexp(self.value, frac_bits))
        return step.exact(step.ops.pad(codes, self.before, self.after, self.mode, value), frac_bits)

    def signed(self, inputs: Sequence[bool]) -> bool:
        return any(inputs) or self.value < 0

    def of_channels(self, numbers: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        (own,) = numbers
        places = np.pad(np.arange(len(own)), (self.before[0], self.after[0]), self.mode)  # type: ignore[call-overload]
        padded = [own[place] for place in places]
        if self.mode == "constant":
            padded[: self.before[0]] = [0] * self.before[0]
            padded[len(padded) - self.after[0] :] = [0] * self.after[0]
        return tuple(padded)

    def made_frac_bits(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> int | None:
        return None if self.moves_codes else frac_bits[0]

    def numbers(self, frac_bits: Sequence[int], fmt: FixedPointFormat) -> Mapping[str, np.ndarray]:
        if self.moves_codes:
            return {}
        return {"fill": np.array([round(math.ldexp(self.value, frac_bits[0]))])}
