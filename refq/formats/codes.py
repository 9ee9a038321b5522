"""Storage codes: how a value code is kept in fewer bits (paper A, section III-A)."""

from __future__ import annotations

from dataclasses import dataclass

from refq.errors import FormatError

# the widest index of a codebook: more would be no saving
CODEBOOK_BITS = 16


@dataclass(frozen=True)
class ShiftCode:
    """ENQ storage: `bits` kept of a value code, `drop` low bits shifted away (paper A, III-A)."""

    bits: int
    drop: int
    nearest: bool

    def __post_init__(self) -> None:
        if self.bits < 1 or self.drop < 0:
            raise FormatError(
                f"{self.bits} bits kept after {self.drop}", "1 or more after 0 or more"
            )


@dataclass(frozen=True)
class Codebook:
    """KNQ storage: `bits` bits that choose one of the values (paper A, section III-A).

    values: ascending value codes, at most 2**bits, equal ones allowed. nearest: the nearest value
    is chosen, of two the larger one; otherwise the largest that is not above (the paper's rule).
    """

    bits: int
    values: tuple[int, ...]
    nearest: bool

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
