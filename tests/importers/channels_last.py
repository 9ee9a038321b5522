"""What layers compute on N,H,W,C, by definition."""

from __future__ import annotations

import numpy as np

Pairs = tuple[tuple[int, int], tuple[int, int]]
NONE = ((0, 0), (0, 0))


def same(size: int, kernel: int, stride: int = 1, hole: int = 1) -> tuple[int, int]:
    """(before, after) of padding SAME: what is odd at the end."""
    whole = max((-(-size // stride) - 1) * stride + (kernel - 1) * hole + 1 - size, 0)
    return whole // 2, whole - whole // 2


def conv(
    x: np.ndarray, w: np.ndarray, stride: int = 1, pads: Pairs = NONE, hole: int = 1
) -> np.ndarray:
    """w: (rows, columns, inputs, outputs)."""
    x = np.pad(x, ((0, 0), *pads, (0, 0)))
    rows, columns = ((w.shape[axis] - 1) * hole + 1 for axis in (0, 1))
    height = (x.shape[1] - rows) // stride + 1
    width = (x.shape[2] - columns) // stride + 1
    made = np.zeros((len(x), height, width, w.shape[3]))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            part = x[:, top : top + rows : hole, left : left + columns : hole]
            made[:, row, column] = np.tensordot(part, w, 3)
    return made


def of_each(w: np.ndarray) -> np.ndarray:
    """(rows, columns, inputs, multiplier) as a kernel that reads one input for each output."""
    rows, columns, inputs, multiplier = w.shape
    made = np.zeros((rows, columns, inputs, inputs * multiplier))
    for channel in range(inputs):
        place = channel * multiplier
        made[:, :, channel, place : place + multiplier] = w[:, :, channel]
    return made


def transposed(x: np.ndarray, w: np.ndarray, stride: int, size: tuple[int, int]) -> np.ndarray:
    """w: (rows, columns, outputs, inputs). Of all that it makes, the part of padding SAME."""
    rows, columns = w.shape[:2]
    full = np.zeros((len(x), x.shape[1] * stride + rows, x.shape[2] * stride + columns, w.shape[2]))
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            part = np.tensordot(x[:, row, column], w, ((1,), (3,)))
            top, left = row * stride, column * stride
            full[:, top : top + rows, left : left + columns] += part
    cuts = [max((x.shape[1 + i] - 1) * stride + w.shape[i] - size[i], 0) // 2 for i in (0, 1)]
    return full[:, cuts[0] : cuts[0] + size[0], cuts[1] : cuts[1] + size[1]]
