"""Headers of NumPy's `.npy` files from outside: bounded, and nothing in them is run."""

from __future__ import annotations

import math
import struct
import tokenize
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

SUFFIX = ".npy"
# a header is a short line; what is longer was not made for an array of numbers
LONGEST = 10_000
# what NumPy raises for headers that are no good: it reads them as Python
ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    SyntaxError,
    RecursionError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
)


@dataclass(frozen=True)
class Header:
    """What a file says of its array: its values begin at byte `begin`, in Fortran's order of axes
    or in C's."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    begin: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def header(file: BinaryIO) -> Header:
    """The header that an open file begins with, which is left behind it. Raises ValueError."""
    try:
        version = np.lib.format.read_magic(file)
        size = 2 if version == (1, 0) else 4
        prefix = file.read(size)
        if int.from_bytes(prefix, "little") > LONGEST:
            raise ValueError(f"{int.from_bytes(prefix, 'little')} bytes")
        file.seek(-size, 1)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 2 wrote some, which are sound
            shape, fortran, dtype = read(file, max_header_size=LONGEST)
        if not all(type(each) is int and each >= 0 for each in shape):
            raise ValueError(f"shape {shape}")
    except ERRORS as error:
        told = " ".join(str(error).split())[:80]
        raise ValueError(f"no .npy header of version 1 or 2 ({told})") from None
    return Header(shape, fortran, dtype, file.tell())
