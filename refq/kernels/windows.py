"""What the window of an output position, and a tap of all windows, sees of an image."""

from __future__ import annotations

from typing import NamedTuple

from refq.kernels.compiling import njit

DOWN, ACROSS = 0, 1


class Window(NamedTuple):
    """A pool's attributes for compiled code: cells, steps and padding, down and across."""

    rows: int
    columns: int
    down: int
    across: int
    top: int
    left: int
    bottom: int
    right: int


@njit()
def _inside(offset, stride, length, count):
    """(first, end) of the outputs, `count` in a row, whose place out * stride + offset in the input
    lies in a row of that length."""
    first = max(0, -(offset // stride))
    return first, max(first, min(count, (length - 1 - offset) // stride + 1))


@njit()
def _seen(window, axis, at, length):
    """Window of an output position, DOWN or ACROSS: (first, end) inside the image of that length,
    cells with padding."""
    start = at * window[2 + axis] - window[4 + axis]
    padded_end = min(start + window[axis], length + window[6 + axis])
    return max(start, 0), min(padded_end, length), padded_end - start
