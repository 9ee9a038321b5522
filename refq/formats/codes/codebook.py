"""KNQ's storage: an index into a table of values."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from refq.errors import FormatError
from refq.formats.codes.storage import StorageCode

# the widest index of a codebook: more would be no saving
CODEBOOK_BITS = 16


@dataclass(frozen=True)
class Codebook(StorageCode):
    """KNQ storage: `bits` bits that choose one of the values (paper A, section III-A).

    values: ascending value codes, at most 2**bits, equal ones allowed. nearest: the nearest value
    is chosen, of two the larger one; otherwise the largest that is not above (the paper's rule).
    """

    values: tuple[int, ...]
    nearest: bool

    kind = "codebook"
    stages = ("codebook", "thresholds")

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= CODEBOOK_BITS or not 1 <= len(self.values) <= 1 << self.bits:
            raise FormatError(
                f"{self.bits} bits for a codebook of {len(self.values)} values",
                f"1 to {CODEBOOK_BITS} bits, and 1 to 2**bits values",
            )
        if list(self.values) != sorted(self.values):
            raise FormatError(f"a codebook {list(self.values)}", "ascending values")

    @property
    def thresholds(self) -> tuple[int, ...]:
        """From thresholds[k - 1] on, a code is stored as k or more: the values themselves, or the
        midpoints, which belong to the value above."""
        pairs = zip(self.values, self.values[1:])
        return tuple((low + high + 1) // 2 if self.nearest else high for low, high in pairs)

    @property
    def levels(self) -> tuple[int, ...]:
        return self.values

    lookup = levels

    def encode(self, codes: np.ndarray, ops: ModuleType) -> np.ndarray:
        indices: np.ndarray = ops.codebook_encode(codes, np.array(self.thresholds, np.int64))
        return indices

    def decode(self, indices: np.ndarray, ops: ModuleType) -> np.ndarray:
        codes: np.ndarray = ops.codebook_decode(indices, np.array(self.values, np.int32))
        return codes

    @property
    def tables(self) -> dict[str, tuple[int, ...]]:
        return {"codebook": self.values, "thresholds": self.thresholds}
