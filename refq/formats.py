"""Number formats: data, no arithmetic (contract section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from refq.errors import FormatError, unknown

MAX_BITS = 32
MAX_FRAC_BITS = 64


class Rounding(str, Enum):
    """What happens to a value between two codes, named by its tie rule.

    The comment gives the name in Xilinx ap_fixed and in common code.
    """

    TIES_EVEN = "ties-even"  # AP_RND_CONV, IEEE 754 default
    TIES_AWAY = "ties-away"  # AP_RND_INF, C round()
    TIES_POS = "ties-pos"  # AP_RND, floor(x + 1/2)
    TO_NEG = "to-neg"  # AP_TRN, arithmetic >>
    TO_ZERO = "to-zero"  # AP_TRN_ZERO, C integer division
    TO_POS = "to-pos"  # ceil
    STOCHASTIC = "stochastic"  # up with probability equal to the fraction, seeded


class Overflow(str, Enum):
    """What happens to a value beyond the format's range."""

    SAT = "sat"  # clamp to [min_code, max_code]
    SAT_SYM = "sat-sym"  # clamp to [-max_code, max_code] (unsigned: as SAT)
    WRAP = "wrap"  # keep the low bits


def parse_rounding(name: str) -> Rounding:
    """The rounding mode of that name, or an OptionError with the known ones."""
    try:
        return Rounding(name)
    except ValueError:
        raise unknown("rounding", name, [mode.value for mode in Rounding]) from None


def parse_overflow(name: str) -> Overflow:
    """The overflow mode of that name, or an OptionError with the known ones."""
    try:
        return Overflow(name)
    except ValueError:
        raise unknown("overflow", name, [mode.value for mode in Overflow]) from None


@dataclass(frozen=True)
class FixedPointFormat:
    """Integer codes of `bits` bits; value = code * 2**-frac_bits (contract section 1).

    frac_bits may be negative or exceed bits.
    Raises FormatError for widths outside 1..32 (signed: 2..32) and |frac_bits| over 64.
    """

    bits: int
    frac_bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        least = 2 if self.signed else 1
        if not least <= self.bits <= MAX_BITS:
            kind = "a signed" if self.signed else "an unsigned"
            raise FormatError(f"{kind} format of {self.bits} bits", f"{least} to {MAX_BITS} bits")
        if abs(self.frac_bits) > MAX_FRAC_BITS:
            raise FormatError(
                f"{self.frac_bits} fraction bits", f"-{MAX_FRAC_BITS} to {MAX_FRAC_BITS}"
            )

    @property
    def min_code(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max_code(self) -> int:
        return (1 << (self.bits - 1 if self.signed else self.bits)) - 1

    @property
    def int_bits(self) -> int:
        """I of the papers: T - F - 1 signed, T - F unsigned."""
        return self.bits - self.frac_bits - int(self.signed)

    @property
    def dtype(self) -> np.dtype:
        """Array type of the codes: int32, or int64 for 32 unsigned bits."""
        return np.dtype(np.int64 if self.max_code > 2**31 - 1 else np.int32)

    def __str__(self) -> str:
        """Both common spellings: `fxp-s8/5 = ap_fixed<8,3>`."""
        kind = "fixed" if self.signed else "ufixed"
        return f"{self.short} = ap_{kind}<{self.bits},{self.bits - self.frac_bits}>"

    @property
    def short(self) -> str:
        return f"fxp-{'s' if self.signed else 'u'}{self.bits}/{self.frac_bits}"


@dataclass(frozen=True)
class Accumulator:
    """How the sum of a convolution or dense layer is kept (contract section 3).

    bits: None for exact, else 2..62. overflow: SAT or WRAP. every_mac: saturate after each
    MAC in the order bias, input channel, kernel row, kernel column; otherwise once at the end.
    """

    bits: int | None = None
    overflow: Overflow = Overflow.SAT
    every_mac: bool = False

    def __post_init__(self) -> None:
        if self.bits is not None and not 2 <= self.bits <= 62:
            raise FormatError(f"an accumulator of {self.bits} bits", "2 to 62 bits")

    def __str__(self) -> str:
        if self.bits is None:
            return "exact"
        return f"{self.bits}-bit {self.overflow.value}{' every MAC' if self.every_mac else ''}"
