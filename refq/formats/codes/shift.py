"""ENQ's storage: the upper bits of a value code."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq.errors import FormatError
from refq.formats.codes.storage import StorageCode
from refq.formats.fixed import FixedPointFormat


@dataclass(frozen=True)
class ShiftCode(StorageCode):
    """ENQ storage: `bits` kept of a value code, `drop` low bits shifted away (paper A, III-A)."""

    drop: int
    nearest: bool

    kind = "shift"
    stages = ("shift",)

    def __post_init__(self) -> None:
        if self.bits < 1 or self.drop < 0:
            raise FormatError(
                f"{self.bits} bits kept after {self.drop}", "1 or more after 0 or more"
            )

    @property
    def levels(self) -> range:
        return range(0, 1 << (self.bits + self.drop), 1 << self.drop)

    def encode(self, codes: np.ndarray, ops: ModuleType) -> np.ndarray:
        indices: np.ndarray = ops.shift_encode(codes, self.bits, self.drop, self.nearest)
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

    @property
    def shift(self) -> int:
        return self.drop

    @property
    def shifted(self) -> tuple[int, int, bool]:
        return self.bits, self.drop, self.nearest

    @property
    def numbers(self) -> dict[str, tuple[int, ...]]:
        return {"shift": (self.drop,)}
