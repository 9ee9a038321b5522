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


def limits(bits: int, signed: bool, overflow: Overflow) -> tuple[int, int]:
    """The least and the greatest code of so many bits, any number, as an overflow mode has them."""
    high = (1 << (bits - int(signed))) - 1
    low = -high if overflow is Overflow.SAT_SYM else -high - 1
    return low if signed else 0, high


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

    def limits(self, overflow: Overflow) -> tuple[int, int]:
        """The least and the greatest code that an overflow mode leaves."""
        return limits(self.bits, self.signed, overflow)

    @property
    def dtype(self) -> np.dtype:
        """Array type of the codes: int32, or int64 for 32 unsigned bits."""
        return np.dtype(np.int64 if self.max_code > 2**31 - 1 else np.int32)

    def __str__(self) -> str:
        """Both common spellings: `fxp-s8/5 = ap_fixed<8,3>`."""
        return spelled(self.bits, self.frac_bits, self.signed)

    @property
    def short(self) -> str:
        return f"fxp-{'s' if self.signed else 'u'}{self.bits}/{self.frac_bits}"


def within(frac_bits: int) -> int:
    """Fraction bits kept to what formats hold: values beyond 2**-50 are zero in every use."""
    return max(-50, min(50, frac_bits))


def spelled(bits: int, frac_bits: int, signed: bool) -> str:
    """A format of any width in both common spellings."""
    sign, kind = ("s", "fixed") if signed else ("u", "ufixed")
    return f"fxp-{sign}{bits}/{frac_bits} = ap_{kind}<{bits},{bits - frac_bits}>"


@dataclass(frozen=True, eq=False)
class FormatGrid:
    """Signed formats of a convolution's coefficients: one a kernel (3D) or a filter (2D), paper B,
    section 4.

    bits, frac_bits: int8 (O,) for kernels, (O, I) for filters; read-only. Equal where all are.
    Raises FormatError for shapes that differ, widths outside 2..32 and |frac_bits| over 64.
    """

    bits: np.ndarray
    frac_bits: np.ndarray

    def __post_init__(self) -> None:
        frac_bits = np.array(self.frac_bits, np.int64)
        bits = np.array(np.broadcast_to(self.bits, frac_bits.shape), np.int64)
        if frac_bits.ndim not in (1, 2) or not frac_bits.size:
            raise FormatError(f"formats of shape {frac_bits.shape}", "(O,) or (O, I)")
        for bound in (bits.min(), bits.max()):
            FixedPointFormat(int(bound), int(np.abs(frac_bits).max()))  # raises
        for name, array in (("bits", bits), ("frac_bits", frac_bits)):
            array = array.astype(np.int8)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FormatGrid) and all(
            np.array_equal(own, its)
            for own, its in ((self.bits, other.bits), (self.frac_bits, other.frac_bits))
        )

    def __hash__(self) -> int:
        return hash((self.bits.tobytes(), self.frac_bits.tobytes()))

    @property
    def granularity(self) -> str:
        return "3D" if self.bits.ndim == 1 else "2D"

    @property
    def short(self) -> str:
        """`2D fxp-s4..8/3..9`: the least and the most of each."""
        return f"{self.granularity} fxp-s{_span(self.bits)}/{_span(self.frac_bits)}"

    __str__ = short.fget  # type: ignore[attr-defined]


def _span(numbers: np.ndarray) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return str(low) if low == high else f"{low}..{high}"


@dataclass(frozen=True)
class Accumulator:
    """How the sum of a convolution or dense layer is kept (contract section 3).

    bits: None for exact, else 2..62. overflow: SAT, SAT_SYM or WRAP. every_mac: saturate after each
    MAC in the order bias, input channel, kernel row, kernel column; otherwise once at the end.
    frac_bits: None for the largest of the products, which are then exact; fewer are reached by a
    right shift that rounds, of each product with every_mac, otherwise of the sum. bits and
    frac_bits may be tuples, a number for each kernel.
    """

    bits: int | tuple[int, ...] | None = None
    overflow: Overflow = Overflow.SAT
    every_mac: bool = False
    frac_bits: int | tuple[int, ...] | None = None
    rounding: Rounding = Rounding.TIES_EVEN

    def __post_init__(self) -> None:
        if () in (self.bits, self.frac_bits):
            raise FormatError("accumulators of no kernel", "a number for each kernel")
        for bits in _each(self.bits):
            if not 2 <= bits <= 62:
                raise FormatError(f"an accumulator of {bits} bits", "2 to 62 bits")
        for frac_bits in _each(self.frac_bits):
            if abs(frac_bits) > MAX_FRAC_BITS:
                raise FormatError(
                    f"an accumulator with {frac_bits} fraction bits",
                    f"-{MAX_FRAC_BITS} to {MAX_FRAC_BITS}",
                )
        if self.bits is None and self.frac_bits is not None:
            raise FormatError("an accumulator with fraction bits alone", "bits with them")
        if self.rounding is Rounding.STOCHASTIC:
            raise FormatError("an accumulator that rounds at random", "another rounding")

    def limits(self) -> np.ndarray:
        """The least and the greatest sum that each declared one holds: int64 (2, 1) or (2, O)."""
        return np.array(
            [limits(bits, True, self.overflow) for bits in _each(self.bits)], np.int64
        ).T

    def __str__(self) -> str:
        if self.bits is None:
            return "exact"
        place = "" if self.frac_bits is None else f"/{_span(np.array(self.frac_bits))}"
        every = " every MAC" if self.every_mac else ""
        return f"{_span(np.array(self.bits))}{place}-bit {self.overflow.value}{every}"


def _each(numbers: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return numbers if isinstance(numbers, tuple) else () if numbers is None else (numbers,)
