"""A layer's last steps, from its sums to what is stored, done again with one of them changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from refq import kernels
from refq.formats.codes import StorageCode
from refq.formats.fixed import Overflow, Rounding
from refq.hardware.diagnosis.case import Case
from refq.hardware.diagnosis.rescaling import MOST_BITS, rescaled
from refq.plans.plan import TensorPlan

# int64 values at places of a file
Codes = Callable[[np.ndarray], np.ndarray]
SUM, ROUNDED, CODE, VALUE = "sum", "rounded", "code", "value"
ROLES = (SUM, ROUNDED, CODE, VALUE)


@dataclass(frozen=True)
class Requantization:
    """From a sum to value codes. left: places to the left, besides what the formats ask for. low,
    high: whether a ReLU's or a clip's bounds hold."""

    rounding: Rounding
    overflow: Overflow
    left: int = 0
    low: bool = True
    high: bool = True
    more_bits: int = 0
    signed: bool | None = None


class Pipeline:
    """What the golden set knows of the layer that a case's array belongs to.

    stored: how the plan keeps the layer's output, None where it does not. role: which of the steps'
    results the array is; where it is several, the first, as what comes after changes nothing.
    sums: the layer's own sums, or those that it limits as a ReLU or clip.
    """

    def __init__(self, case: Case) -> None:
        self.case, array, manifest = case, case.array, case.set.manifest
        self.layer, self.plan = manifest.layers[array.layer], manifest.plan
        self.stored: TensorPlan | None = self.plan.tensors.get(array.layer)
        roles = {name.rpartition(".")[2] for name in array.names if _layer(name) == array.layer}
        self.role = next((role for role in ROLES if role in roles), None)
        self.summing = self._summing()
        self.sums = self._same_shape(f"{self.summing}.sum")
        summed = case.set.array(f"{self.summing}.sum")
        self.sum_fraction = summed.fractions if summed else None
        self.rounds = (
            self.stored is not None
            and self.sums is not None
            and self.sum_fraction is not None
            and summed is not None
            and summed.bits < MOST_BITS
        )

    def _summing(self) -> str | None:
        """The layer whose sum this one rounds."""
        layer, inputs = self.layer, self.layer.inputs[:1] if self.is_bounded else ()
        sums = (name for name in (layer.name, *inputs) if self.case.set.array(f"{name}.sum"))
        return next(sums, None)

    @property
    def is_bounded(self) -> bool:
        return self.layer.type in ("ReLU", "Clip")

    def bounds(self) -> tuple[int | None, int | None]:
        """Codes of the layer's format between which it leaves sums; None where nothing does."""
        if self.layer.type == "ReLU":
            return 0, None
        codes = self.case.sibling(f"{self.layer.name}.bounds")
        if self.stored is None or self.layer.type != "Clip" or codes is None:
            return None, None
        low, high, fmt = int(codes[0]), int(codes[1]), self.stored.fixed
        return (low if low > fmt.min_code else None), (high if high < fmt.max_code else None)

    @property
    def code(self) -> StorageCode | None:
        return self.stored.code if self.stored else None

    def parameter(self, name: str) -> np.ndarray | None:
        """A parameter of the layer whose sum this one rounds."""
        return self.case.sibling(f"{self.summing}.{name}")

    def _same_shape(self, name: str) -> np.ndarray | None:
        codes = self.case.sibling(name)
        return codes if codes is not None and codes.shape == self.case.array.shape else None

    def by_channel(self, numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
        """A number for each channel, or one for all, at places; 0's for what fills up tiles."""
        flat = numbers.reshape(-1)
        if flat.size == 1:
            return np.broadcast_to(flat, places.shape)
        source = np.maximum(self.case.source(places), 0)
        return flat[np.unravel_index(source, self.case.array.shape)[1]]

    def stage(self, name: str) -> Codes | None:
        """The golden array of the layer with that stage."""
        codes = self._same_shape(f"{self.layer.name}.{name}")
        return None if codes is None else lambda places: self.case.aligned(codes, places)

    def golden_sum(self, places: np.ndarray) -> np.ndarray:
        assert self.sums is not None
        return self.case.aligned(self.sums, places)

    def standard(self) -> Requantization:
        return Requantization(self.plan.rounding, self.plan.overflow)

    def rounded(self, sums: Codes, how: Requantization) -> Codes:
        """Value codes of the layer's format, those of a feature map in its own."""
        assert self.stored is not None and self.sum_fraction is not None
        fmt, sum_fraction = self.stored.fixed, self.sum_fraction
        drops = np.array(self.stored.drops or (0,), np.int64)
        signed = fmt.signed if how.signed is None else how.signed
        kept, (low, high) = self.case.array.fractions, self.bounds()

        def at(places: np.ndarray) -> np.ndarray:
            codes = sums(places)
            own = self.by_channel(sum_fraction, places)
            if self.layer.type == "Clip":  # at no fewer fraction bits than its bounds have
                codes = codes << np.maximum(fmt.frac_bits - own, 0)
                own = np.maximum(own, fmt.frac_bits)
            if low is not None and how.low:
                codes = np.maximum(codes, low << np.maximum(own - fmt.frac_bits, 0))
            if high is not None and how.high:
                codes = np.minimum(codes, high << np.maximum(own - fmt.frac_bits, 0))
            fraction = fmt.frac_bits - self.by_channel(drops, places)
            left = fraction - own + how.left
            bits = fmt.bits + how.more_bits
            codes = rescaled(codes, left, bits, signed, how.rounding, how.overflow)
            if drops.size > 1 and kept is not None:
                codes = codes << np.maximum(self.by_channel(kept, places) - fraction, 0)
            return codes

        return at

    def end(self, rounded: np.ndarray, code: StorageCode | None) -> np.ndarray:
        """From value codes to what the case's array holds, stored by that code."""
        if self.role == ROUNDED or code is None:
            return rounded
        index = code.encode(rounded, kernels)
        return index if self.role == CODE else decoded(index, code)

    def whole(self, sums: Codes, how: Requantization) -> Codes:
        """From sums to what the case's array holds."""
        if self.role == SUM:
            return sums
        codes = self.rounded(sums, how)
        return lambda places: self.end(codes(places), self.code)

    def accumulated(self, halves: int, shift: int | None, places: np.ndarray) -> np.ndarray:
        """The accumulator with so many halves of the bias, as a declared one keeps it. shift: of
        the bias, instead of its own."""
        sums = self._same_shape(f"{self.summing}.accumulator")
        bias, shifts = self.parameter("bias"), self.parameter("bias_shift")
        assert sums is not None and bias is not None
        shifts = shifts if shifts is not None and shift is None else np.array([shift or 0])
        aligned = np.left_shift(bias, np.broadcast_to(shifts, bias.shape))
        total = self.case.aligned(sums, places)
        return self.kept(total + (halves * self.by_channel(aligned, places) >> 1), places)

    def kept(self, total: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Exact sums as a declared accumulator keeps them."""
        planned = self.plan.layers.get(str(self.summing))
        if planned is None or planned.accumulator.bits is None:
            return total
        declared, drop = planned.accumulator, self.parameter("accumulator_drop")
        left = -self.by_channel(np.zeros(1, np.int64) if drop is None else drop, places)
        bits = self.by_channel(np.array(declared.bits), places)
        return rescaled(total, left, bits, True, declared.rounding, declared.overflow)


def decoded(index: np.ndarray, code: StorageCode) -> np.ndarray:
    """Stored indices as the values that readers compute with; the nearest that a table has."""
    if code.lookup:
        index = np.clip(index, 0, len(code.lookup) - 1)
    return code.decode(index, kernels)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
