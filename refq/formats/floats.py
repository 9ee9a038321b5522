"""Number formats that are no fixed point, as float32 simulations use them: data, no arithmetic.

What each does to a value is decided by refq.kernels.round_values and contract section 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from refq.errors import FormatError
from refq.formats.fixed import FixedPointFormat, Rounding

MAX_BITS = 24
# exponents beyond these would leave float32
MAX_EXPONENT_BITS = 7
MAX_MANTISSA_BITS = 23
MAX_EXPONENT = 64
# beyond it float32 ends
MOST = 2.0**127


@dataclass(frozen=True)
class Buckets:
    """The centres of 2**bits equal buckets from `low` to `high` (TensorFlow's rounded weights).

    Zero is no centre where the range is symmetric, nor any other number that the range does not
    happen to place. Raises FormatError for a range that is empty or not finite.
    """

    bits: int
    low: float
    high: float
    kind: str = field(default="buckets", init=False)

    def __post_init__(self) -> None:
        _check_bits("buckets", self.bits)
        if not -MOST < self.low <= self.high < MOST:
            raise FormatError(f"buckets from {self.low} to {self.high}", "a finite range")

    @property
    def short(self) -> str:
        return f"bucket-{self.bits}"

    def __str__(self) -> str:
        return f"{self.short} = {1 << self.bits} centres in [{self.low:.6g}, {self.high:.6g}]"


@dataclass(frozen=True)
class Affine:
    """mean + step * k for k = first, ..., first + 2**bits - 1 (paper B, eq. 4).

    With mean 0 and first <= 0 zero is exact (TensorFlow's MIN_FIRST). Raises FormatError for a step
    that is not positive.
    """

    bits: int
    step: float
    first: int
    mean: float = 0.0
    kind: str = field(default="affine", init=False)

    def __post_init__(self) -> None:
        _check_bits("affine values", self.bits)
        if not (0.0 < self.step < MOST and abs(self.mean) < MOST):
            raise FormatError(f"step {self.step} from mean {self.mean}", "a positive finite step")
        if abs(self.first) > 1 << 31:
            raise FormatError(f"affine values from {self.first} on", "within 32 bits")

    @property
    def last(self) -> int:
        return self.first + (1 << self.bits) - 1

    @property
    def short(self) -> str:
        return f"affine-{self.bits}"

    def __str__(self) -> str:
        start = f"{self.mean:.6g} + " if self.mean else ""
        return f"{self.short} = {start}{self.step:.6g} * [{self.first}, {self.last}]"


@dataclass(frozen=True, eq=False)
class AffineGrid:
    """mean + step * k, k of `bits` signed bits, with a mean and a step for each kernel, float64
    (O,), or filter, (O, I) (paper B, eq. 4). Equal where all numbers are.

    Raises FormatError for other shapes and for steps that are not positive.
    """

    bits: int
    mean: np.ndarray
    step: np.ndarray
    kind: str = field(default="affine-grid", init=False)

    def __post_init__(self) -> None:
        _check_bits("affine values", self.bits)
        for name in ("mean", "step"):
            array = np.array(getattr(self, name), np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.mean.ndim not in (1, 2) or self.mean.shape != self.step.shape:
            raise FormatError(
                f"means and steps of shape {self.mean.shape}, {self.step.shape}",
                "(O,) or (O, I) of both",
            )
        usable = np.isfinite(self.mean).all() and np.isfinite(self.step).all()
        if not (usable and (self.step > 0).all()):
            raise FormatError("means or steps that are no numbers", "finite means, positive steps")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AffineGrid)
            and self.bits == other.bits
            and all(
                np.array_equal(own, its)
                for own, its in ((self.mean, other.mean), (self.step, other.step))
            )
        )

    def __hash__(self) -> int:
        return hash((self.bits, self.mean.tobytes(), self.step.tobytes()))

    @property
    def short(self) -> str:
        return f"{'3D' if self.mean.ndim == 1 else '2D'} affine-{self.bits}"

    __str__ = short.fget  # type: ignore[attr-defined]


@dataclass(frozen=True)
class MiniFloat:
    """Sign, exponent and mantissa without denormals, infinities and NaN: Ristretto's.

    (1 + mantissa / 2**mantissa_bits) * 2**(exponent - 2**(exponent_bits - 1) + 1), all exponents
    ordinary ones; and zero. until_zero: of an array in C order, what follows the first value that
    becomes zero stays as it is: Ristretto's CPU code leaves its loop there.
    """

    exponent_bits: int
    mantissa_bits: int
    until_zero: bool = False
    kind: str = field(default="minifloat", init=False)

    def __post_init__(self) -> None:
        exponents, mantissas = (2, MAX_EXPONENT_BITS), (0, MAX_MANTISSA_BITS)
        if not (
            exponents[0] <= self.exponent_bits <= exponents[1]
            and mantissas[0] <= self.mantissa_bits <= mantissas[1]
        ):
            raise FormatError(
                f"{self.exponent_bits} exponent and {self.mantissa_bits} mantissa bits",
                f"{exponents[0]} to {exponents[1]} and {mantissas[0]} to {mantissas[1]}",
            )

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """What is taken from a stored exponent."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def short(self) -> str:
        return f"flp-e{self.exponent_bits}m{self.mantissa_bits}"

    def __str__(self) -> str:
        return f"{self.short} = {self.bits}-bit minifloat{', until zero' * self.until_zero}"


@dataclass(frozen=True)
class PowerOfTwo:
    """A sign and a power of two, 2**least to 2**most; zero is not among them (Ristretto)."""

    least: int
    most: int
    kind: str = field(default="power-of-two", init=False)

    def __post_init__(self) -> None:
        if not -MAX_EXPONENT <= self.least <= self.most <= MAX_EXPONENT:
            raise FormatError(
                f"exponents {self.least} to {self.most}",
                f"ascending ones from {-MAX_EXPONENT} to {MAX_EXPONENT}",
            )

    @property
    def bits(self) -> int:
        return 1 + (self.most - self.least).bit_length()

    @property
    def short(self) -> str:
        return f"pow2-{self.bits}"

    def __str__(self) -> str:
        return f"{self.short} = +-2**{self.least} to +-2**{self.most}"


FloatFormat = Union[Buckets, Affine, AffineGrid, MiniFloat, PowerOfTwo]
Number = Union[FixedPointFormat, FloatFormat]
KINDS = {
    "buckets": Buckets,
    "affine": Affine,
    "affine-grid": AffineGrid,
    "minifloat": MiniFloat,
    "power-of-two": PowerOfTwo,
}
# formats of activations: they hold zero, so that padding and ReLU stay what they are
OF_TENSORS = (FixedPointFormat, Affine, MiniFloat)
OF_FLOAT = tuple(KINDS.values())
# roundings of real values
ROUNDINGS = (Rounding.TIES_EVEN, Rounding.TIES_AWAY)


def _check_bits(what: str, bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise FormatError(f"{what} of {bits} bits", f"1 to {MAX_BITS} bits")


def from_json(stored: Mapping[str, Any]) -> FloatFormat:
    """The format whose fields were stored as JSON. Raises KeyError, TypeError for anything else."""
    fields = dict(stored)
    kind = KINDS[fields.pop("kind")]
    for key, value in list(fields.items()):
        if kind is AffineGrid and key != "bits":
            fields[key] = _reals(value)
            continue
        real, flag = key in ("low", "high", "step", "mean"), key == "until_zero"
        wanted = (int, float) if real else bool if flag else int
        if not isinstance(value, wanted) or (isinstance(value, bool) and not flag):
            raise TypeError(f"{key} is {value!r}")
        if wanted is int and abs(value) > 1 << 31:
            raise ValueError(f"{key} is beyond 32 bits")
        if real:
            fields[key] = float(value)
    made: FloatFormat = kind(**fields)
    return made


def _reals(stored: Any) -> np.ndarray:
    array = np.array(stored)
    if array.dtype.kind not in "if":
        raise TypeError("means and steps are lists of numbers")
    return array
