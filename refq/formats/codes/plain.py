"""No storage code at all: value codes as they are."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq.formats.codes.storage import StorageCode


@dataclass(frozen=True)
class Plain(StorageCode):
    """What is kept is the value code itself, `bits` bits from `least` on."""

    least: int

    @property
    def levels(self) -> range:
        return range(self.least, self.least + (1 << self.bits))

    @property
    def first(self) -> int:
        return self.least

    def encode(self, codes: np.ndarray, ops: ModuleType) -> np.ndarray:
        return codes

    def decode(self, indices: np.ndarray, ops: ModuleType) -> np.ndarray:
        return indices

    @property
    def shift(self) -> int:
        return 0
