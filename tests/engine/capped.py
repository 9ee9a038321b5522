"""A storage code that refq does not have: all that there is to one."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq.formats.codes import StorageCode


@dataclass(frozen=True)
class Capped(StorageCode):
    """The lowest `bits` bits of a value code, and their greatest number for all above."""

    kind = "capped"

    @property
    def levels(self) -> range:
        return range(1 << self.bits)

    def encode(self, codes: np.ndarray, ops: ModuleType) -> np.ndarray:
        return np.minimum(codes, self.levels[-1]).astype(np.int32)

    def decode(self, indices: np.ndarray, ops: ModuleType) -> np.ndarray:
        return indices
