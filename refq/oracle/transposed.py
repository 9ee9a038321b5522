"""Transposed convolution, by definition: every input value times every weight, to its place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refq.errors import FormatError
from refq.formats.fixed import Accumulator, Overflow
from refq.oracle.definitions import NO_PADS, _groups, _keep, _shifted_right

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]


def _shape(x: np.ndarray, w: np.ndarray, sweep: tuple[Pair, Pads, Pair, Pair]) -> tuple[int, ...]:
    strides, pads, dilations, more = sweep
    sizes = [
        strides[k] * (x.shape[2 + k] - 1)
        + dilations[k] * (w.shape[2 + k] - 1)
        + 1
        + more[k]
        - pads[k]
        - pads[k + 2]
        for k in (0, 1)
    ]
    return (len(x), len(w), *sizes)


def _products(
    x: np.ndarray, w: np.ndarray, sweep: tuple[Pair, Pads, Pair, Pair]
) -> Iterator[np.ndarray]:
    """For every (input channel, kernel row, kernel column), each ascending: (N, O, H', W'), what
    the tap adds to each output, 0 where it meets no input."""
    strides, pads, dilations, _ = sweep
    shape = _shape(x, w, sweep)
    for c, i, j in np.ndindex(w.shape[1:]):
        step = np.zeros(shape, x.dtype)
        for row, column in np.ndindex(x.shape[2:]):
            down = strides[0] * row + dilations[0] * i - pads[0]
            right = strides[1] * column + dilations[1] * j - pads[1]
            if 0 <= down < shape[2] and 0 <= right < shape[3]:
                step[:, :, down, right] = x[:, c, row, column][:, None] * w[:, c, i, j]
        yield step


def conv_transpose(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = NO_PADS,
    group: int = 1,
    dilations: tuple[int, int] = (1, 1),
    output_padding: tuple[int, int] = (0, 0),
) -> np.ndarray:
    sweep = (strides, pads, dilations, output_padding)
    parts = [
        sum(_products(part, weights, sweep), np.zeros(_shape(part, weights, sweep)))
        for part, weights in _groups(x.astype(np.float64), w.astype(np.float64), group)
    ]
    out = np.concatenate(parts, axis=1)
    if b is not None:
        out = out + b.astype(np.float64)[None, :, None, None]
    return out.astype(np.float32)


def conv_transpose_integer(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = NO_PADS,
    group: int = 1,
    dilations: tuple[int, int] = (1, 1),
    output_padding: tuple[int, int] = (0, 0),
    accumulator: Accumulator = Accumulator(),  # noqa: B008 - frozen
    drop: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    sweep = (strides, pads, dilations, output_padding)
    outputs = len(w)
    bias = np.zeros(outputs, np.int64) if b is None else b.astype(np.int64)
    largest = int(np.abs(x.astype(object)).max())
    for row, start in zip(w.astype(object), bias, strict=True):
        worst = int(np.abs(row).sum()) * largest + abs(int(start))
        if worst >= 2**63:
            raise FormatError(f"sums of up to {worst.bit_length() + 1} bits", "sums within 64 bits")
    exact = accumulator.bits is None
    bits = np.zeros(outputs, np.int64) + (0 if exact else np.array(accumulator.bits))
    drops = np.zeros(outputs, np.int64) if drop is None or exact else drop.astype(np.int64)
    parts, overflows, first = [], 0, 0
    for part, weights in _groups(x.astype(np.int64), w.astype(np.int64), group):
        rows = slice(first, first + len(weights))
        first = rows.stop
        own, down, start = (each[rows][None, :, None, None] for each in (bits, drops, bias))
        total = np.zeros(_shape(part, weights, sweep), np.int64) + start
        every = accumulator.every_mac and not exact
        limited = every and accumulator.overflow is not Overflow.WRAP
        if every:
            total = _shifted_right(total, down, accumulator.rounding)
        if limited:
            total, overflows = _keep(total, own, accumulator.overflow, overflows)
        for step in _products(part, weights, sweep):
            if every:
                total = total + _shifted_right(step, down, accumulator.rounding)
            else:
                total = total + step
            if limited:
                total, overflows = _keep(total, own, accumulator.overflow, overflows)
        if not exact and not every:
            total = _shifted_right(total, down, accumulator.rounding)
        if not exact and not limited:
            total, overflows = _keep(total, own, accumulator.overflow, overflows)
        parts.append(total)
    return np.concatenate(parts, axis=1), overflows
