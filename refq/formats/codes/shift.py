"""ENQ's storage: the upper bits of a value code."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from refq.errors import FormatError
from refq.formats.codes.storage import StorageCode
from refq.formats.fixed import FixedPointFormat


@dataclass(frozen=True)
class ShiftCode(StorageCode):
    """ENQ storage: `bits` kept of a value code, `drop` low bits shifted away (paper A, III-A).

    signed: value codes and indices are two's complement; refq's extension (contract section 2).
    """

    drop: int
    nearest: bool
    signed: bool = False

    kind = "shift"
    stages = ("shift",)

    def __post_init__(self) -> None:
        if self.bits < 1 or self.drop < 0:
            raise FormatError(
                f"{self.bits} bits kept after {self.drop}", "1 or more after 0 or more"
            )
        if self.signed and self.bits < 2:
            raise FormatError("1 bit kept of signed codes", "2 or more: nothing above 0 is left")

    @property
    def levels(self) -> range:
        first = self.first << self.drop
        return range(first, first + (1 << (self.bits + self.drop)), 1 << self.drop)

    @property
    def first(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    def encode(self, codes: np.ndarray, ops: ModuleType) -> np.ndarray:
        indices: np.ndarray = ops.shift_encode(codes, *self.shifted)
        return indices

    def decode(self, indices: np.ndarray, ops: ModuleType) -> np.ndarray:
        codes: np.ndarray = ops.shift_decode(indices, self.drop)
        return codes

    def check(self, fmt: FixedPointFormat) -> None:
        if self.bits + self.drop > fmt.bits:
            raise FormatError(
                f"{self.bits} bits kept after {self.drop} of {fmt}",
                "a format with at least so many bits",
            )
        if self.signed is not fmt.signed:
            signs = "signed" if self.signed else "unsigned"
            raise FormatError(f"a shift of {signs} codes on {fmt}", f"a format that is {signs}")

    @property
    def shift(self) -> int:
        return self.drop

    @property
    def shifted(self) -> tuple[int, int, bool, bool]:
        return self.bits, self.drop, self.nearest, self.signed

    def described(self) -> dict[str, Any]:
        # the format that it is described beside has the same sign
        return {key: value for key, value in super().described().items() if key != "signed"}

    @property
    def numbers(self) -> dict[str, tuple[int, ...]]:
        return {"shift": (self.drop,)}
