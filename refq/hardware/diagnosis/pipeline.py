"""A layer's last steps, from its sums to what is stored, done again with one of them changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from refq.formats.fixed import Overflow, Rounding
from refq.hardware.diagnosis.case import Case
from refq.hardware.diagnosis.golden import Layer
from refq.hardware.diagnosis.rescaling import MOST_BITS, limited, rescaled

# int64 values at places of a file
Codes = Callable[[np.ndarray], np.ndarray]
Step = Callable[[np.ndarray, np.ndarray], np.ndarray]
SUM, ROUNDED, CODE, VALUE = "sum", "rounded", "code", "value"
ROLES = (SUM, ROUNDED, CODE, VALUE)


@dataclass(frozen=True)
class Requantization:
    """From a sum to value codes. left: places to the left, besides what the formats ask for."""

    rounding: Rounding
    overflow: Overflow
    left: int = 0
    relu: bool = True
    more_bits: int = 0
    signed: bool | None = None


class Pipeline:
    """What the golden set knows of the layer that a case's array belongs to.

    role: which of the steps' results the array is; where it is several, the first, as what comes
    after changes nothing. sums: the layer's own sums, or those that its ReLU reads.
    """

    def __init__(self, case: Case) -> None:
        self.case, entry = case, case.entry
        self.layer: Layer | None = case.set.layers.get(entry.layer)
        roles = {name.rpartition(".")[2] for name in entry.names if _layer(name) == entry.layer}
        self.role = next((role for role in ROLES if role in roles), None)
        self.summing = self._summing()
        self.sums = self._same_shape(f"{self.summing}.sum") if self.summing else None
        self.sum_fraction = self._fraction(f"{self.summing}.sum")

    def _summing(self) -> str | None:
        """The layer whose sum this one rounds."""
        if self.layer is None:
            return None
        if self.case.set.entry(f"{self.layer.name}.sum"):
            return self.layer.name
        if self.layer.type == "ReLU" and self.case.set.entry(f"{self.layer.inputs[0]}.sum"):
            return self.layer.inputs[0]
        return None

    def parameter(self, layer: str | None, name: str) -> np.ndarray | None:
        return self.case.sibling(f"{layer}.{name}")

    def _same_shape(self, name: str) -> np.ndarray | None:
        found = self.case.sibling(name)
        return found if found is not None and found.shape == self.case.entry.shape else None

    def _fraction(self, name: str) -> np.ndarray | None:
        entry = self.case.set.entry(name)
        return entry.frac_bits if entry else None

    def channel(self, places: np.ndarray) -> np.ndarray:
        """Of each word, its channel; 0 for what fills up tiles."""
        source = np.maximum(self.case.source(places), 0)
        return np.unravel_index(source, self.case.entry.shape)[1]

    def by_channel(self, numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
        """A number for each channel, or one for all, at places."""
        flat = numbers.reshape(-1)
        return flat[self.channel(places)] if flat.size > 1 else flat[np.zeros_like(places)]

    def own(self, name: str) -> Codes | None:
        """The golden array of the layer with that stage."""
        found = self._same_shape(f"{self.case.entry.layer}.{name}")
        return None if found is None else lambda places: self.case.aligned(found, places)

    def golden_sum(self, places: np.ndarray) -> np.ndarray:
        assert self.sums is not None
        return self.case.aligned(self.sums, places)

    @property
    def rounds(self) -> bool:
        """Whether sums and formats are there to round them again."""
        stored = self.layer.stored if self.layer else None
        entry = self.case.set.entry(f"{self.summing}.sum")
        narrow = entry is not None and entry.bits < MOST_BITS
        return narrow and self.sums is not None and self.sum_fraction is not None and bool(stored)

    def standard(self) -> Requantization:
        return Requantization(self.case.set.rounding, self.case.set.overflow)

    def rounded(self, sums: Codes, how: Requantization) -> Codes:
        """Value codes of the layer's format, those of a feature map in its own."""
        assert self.layer is not None and self.layer.stored is not None
        assert self.sum_fraction is not None
        stored, sum_fraction = self.layer.stored, self.sum_fraction
        drops = np.array(stored.get("drops") or [0], np.int64)
        signed = stored["signed"] if how.signed is None else how.signed
        relu = self.layer.type == "ReLU" and how.relu
        kept = self.case.entry.frac_bits

        def at(places: np.ndarray) -> np.ndarray:
            codes = sums(places)
            codes = np.maximum(codes, 0) if relu else codes
            drop = self.by_channel(drops, places)
            fraction = stored["frac_bits"] - drop
            left = fraction - self.by_channel(sum_fraction, places) + how.left
            bits = stored["bits"] + how.more_bits
            codes = rescaled(codes, left, bits, signed, how.rounding, how.overflow)
            if drops.size > 1 and kept is not None:
                codes = codes << np.maximum(self.by_channel(kept, places) - fraction, 0)
            return codes

        return at

    def encoded(self, codes: np.ndarray, nearest: bool | None = None, drop: int = 0) -> np.ndarray:
        """Value codes as they are stored: ENQ's index, KNQ's, or themselves (paper A,
        section III-A; contract section 2).
        nearest: another assignment than the plan's; drop: places more than the plan's."""
        code = self.layer.stored.get("code") if self.layer and self.layer.stored else None
        if not code:
            return codes
        own = code["nearest"] if nearest is None else nearest
        if code["kind"] == "shift":
            shift = max(0, code["drop"] + drop)
            half = (1 << shift) >> 1 if own else 0
            return np.minimum((codes + half) >> shift, (1 << code["bits"]) - 1)
        return np.searchsorted(self._thresholds(own), codes, side="right").astype(np.int64)

    def codebook(self) -> np.ndarray | None:
        assert self.layer is not None
        return self.parameter(self.layer.name, "codebook")

    def _thresholds(self, nearest: bool) -> np.ndarray:
        values = self.codebook()
        if values is None:
            return np.zeros(0, np.int64)
        return (values[:-1] + values[1:] + 1) // 2 if nearest else values[1:]

    def decoded(self, index: np.ndarray, drop: int = 0) -> np.ndarray:
        """Stored indices as the values that readers compute with."""
        code = self.layer.stored.get("code") if self.layer and self.layer.stored else None
        if not code:
            return index
        if code["kind"] == "shift":
            return np.left_shift(index, max(0, code["drop"] + drop))
        values = self.codebook()
        if values is None:
            return index
        return values[np.clip(index, 0, values.size - 1)]

    def end(self, rounded: np.ndarray, nearest: bool | None = None, drop: int = 0) -> np.ndarray:
        """From value codes to what the case's array holds."""
        if self.role == ROUNDED:
            return rounded
        index = self.encoded(rounded, nearest, drop)
        return index if self.role == CODE else self.decoded(index, drop)

    def whole(self, sums: Codes, how: Requantization) -> Codes:
        """From sums to what the case's array holds."""
        if self.role == SUM:
            return sums
        codes = self.rounded(sums, how)
        return lambda places: self.end(codes(places))

    def accumulated(self, halves: int, shift: int | None, places: np.ndarray) -> np.ndarray:
        """The accumulator with so many halves of the bias, as a declared one keeps it. shift: of
        the bias, instead of its own."""
        layer = self.summing
        sums = self._same_shape(f"{layer}.accumulator")
        bias, own = self.parameter(layer, "bias"), self.parameter(layer, "bias_shift")
        assert sums is not None and bias is not None
        shifts = own if own is not None and shift is None else np.array([shift or 0])
        aligned = np.left_shift(bias, np.broadcast_to(shifts, bias.shape))
        total = self.case.aligned(sums, places)
        total = total + (halves * self.by_channel(aligned, places) >> 1)
        return self.kept(total, places)

    def kept(self, total: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Exact sums as a declared accumulator keeps them."""
        declared = self.case.set.layers[str(self.summing)].accumulator
        if not declared or declared.get("bits") is None:
            return total
        drop = self.parameter(self.summing, "accumulator_drop")
        left = -self.by_channel(drop, places) if drop is not None else 0
        rounding, overflow = Rounding(declared["rounding"]), Overflow(declared["overflow"])
        total = rescaled(total, left, MOST_BITS, True, rounding, Overflow.SAT)
        bits = self.by_channel(np.array(declared["bits"]), places)
        out = np.empty_like(total)
        for each in np.unique(bits):
            here = bits == each
            out[here] = limited(total[here], int(each), True, overflow)
        return out


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
