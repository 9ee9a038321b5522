"""What becomes of exact sums before they are stored: rounding, ReLU or clip, saturation, a storage
code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from refq.formats.fixed import Rounding
from refq.kernels.accumulating import rounding_terms
from refq.kernels.panels import grouped
from refq.kernels.writer import CHOICES

# how codes are encoded: not at all, by a shift, by a table
NOT, BY_SHIFT, BY_TABLE = range(3)
# how many parameters of a store each channel may have for itself
APART = 5


@dataclass(frozen=True, eq=False)
class Ending:
    """drop: fraction bits that sums lose, by that rounding: of all channels, or int64 (O,) of each;
    low, high: codes that the format has; shifted: ENQ's (bits, drop, nearest, signed), signed codes
    no lower than their least index; table: what KNQ stores of each code from low on, int32
    (high - low + 1,); clip: the least and the greatest code that a clip leaves, of its own and not
    of the format, so that nothing it takes away counts as saturated. Equal only to itself: kernels
    keep their stores by it.
    """

    relu: bool
    drop: int | np.ndarray
    rounding: Rounding
    low: int
    high: int
    shifted: tuple[int, int, bool, bool] | None = None
    table: np.ndarray | None = None
    clip: tuple[int, int] | None = None

    def bounds(self, bits: int) -> tuple[int, int]:
        """(floor, ceiling) of codes in so many bits, for a ReLU, a clip, or neither: rounding is
        monotone and leaves codes as they are, so codes may be clipped in place of sums."""
        least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        low, high = self.clip or (0 if self.relu else least, most)
        return max(least, min(low, most)), max(least, min(high, most))

    @property
    def index(self) -> tuple[int, int, int]:
        """(half, drop, top) of a shift code, min((code + half) >> drop, top); top 0: no such."""
        if self.shifted is None:
            return 0, 0, 0
        bits, drop, nearest, signed = self.shifted
        return (1 << drop) >> 1 if nearest else 0, drop, (1 << (bits - signed)) - 1

    @property
    def values(self) -> np.ndarray:
        """The table, empty where there is none."""
        return np.ascontiguousarray([] if self.table is None else self.table, np.int32)


class Parameters(NamedTuple):
    """Numbers of a store: int64 for machine code, vectors inside it.

    scale: left shift of sums of products; drop to negative: how a sum is rounded, as in
    accumulating.Limits; floor, ceiling: Ending.bounds; index_half to index_top: Ending.index;
    offset: what makes codes unsigned.
    """

    scale: Any
    drop: Any
    always: Any
    even: Any
    negative: Any
    floor: Any
    ceiling: Any
    low: Any
    high: Any
    index_half: Any
    index_drop: Any
    index_top: Any
    offset: Any


# stores no codes, but the sums
EXACT = Ending(relu=False, drop=0, rounding=Rounding.TO_NEG, low=0, high=0)


class Built(NamedTuple):
    """What is compiled into the store of a convolution, in numbers below 4.

    wide: sums have 64 bits, not 32; even: halves are rounded to even; scaled: sums of products are
    shifted left; encoding: NOT, BY_SHIFT or BY_TABLE; planes: bytes of a stored code, 0 for exact
    sums; apart: channels have shifts of their own; clipped: there is a ceiling.
    """

    wide: int
    even: int
    scaled: int
    encoding: int
    planes: int
    apart: int
    clipped: int


class Summed(Protocol):
    """What a store has to know of the kernel whose sums it ends, as panels.Kernel tells it."""

    @property
    def bias(self) -> np.ndarray: ...
    @property
    def scale(self) -> np.ndarray: ...
    @property
    def largest(self) -> int: ...


@dataclass(frozen=True)
class Store:
    """An Ending as the machine code of refq.kernels.rows reads it.

    parameters: int64, Parameters of the first channel; channels: int64 (groups, rows, channels),
    the first row the biases; where shifts are apart, the others are the first APART parameters of
    each channel; table: int32, Ending.values.
    """

    built: Built
    parameters: np.ndarray
    channels: np.ndarray
    table: np.ndarray

    @property
    def token(self) -> tuple[np.generic, ...]:
        """Scalars whose types tell what is built."""
        return tuple(CHOICES[int(number)] for number in self.built)

    @property
    def kind(self) -> type[np.signedinteger]:
        return np.int64 if self.built.wide else np.int32


def sum_bits(ending: Ending, kernel: Summed) -> int:
    """32 where sums, codes and what rounding adds to them stay below 2**31, else 64."""
    most = max(kernel.largest + (1 << int(np.max(ending.drop))), 2 * ending.high)
    return 32 if most < 2**31 else 64


def store_of(ending: Ending, kernel: Summed, planes: int, offset: int, bits: int) -> Store:
    """How a kernel's sums, combined in so many bits, end in so many planes of codes with an
    offset."""
    drop = np.broadcast_to(np.asarray(ending.drop, np.int64), kernel.scale.shape)
    always, even, negative = rounding_terms(ending.rounding, drop)
    shifts = np.array([kernel.scale, drop, always, even, negative])
    apart = bool(np.ptp(shifts, axis=1).any())
    rows = [grouped(shift, len(kernel.bias)) for shift in shifts] if apart else []
    encoding = BY_SHIFT if ending.shifted else BY_TABLE if ending.table is not None else NOT
    shared = [*ending.bounds(bits), ending.low, ending.high, *ending.index, offset]
    scaled = bool(kernel.scale.any())
    built = Built(
        bits == 64, bool(even.any()), scaled, encoding, planes, apart, ending.clip is not None
    )
    parameters = np.array([*shifts[:, 0], *shared], np.int64)
    return Store(built, parameters, np.stack([kernel.bias, *rows], axis=1), ending.values)
