"""Arrays that start on a cache line: a tile or vector that crosses lines costs twice."""

from __future__ import annotations

import math

import numpy as np

LINE = 64  # bytes


def zeros(shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
    """An array of zeros whose first byte lies on a cache line."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    raw = np.zeros(size + LINE, np.uint8)
    first = -raw.ctypes.data % LINE
    return raw[first : first + size].view(kind).reshape(shape)
