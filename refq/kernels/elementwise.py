"""Elementwise operations: activations with bounds and slopes, sums, differences, products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refq.errors import FormatError, ShapeError
from refq.formats.fixed import FixedPointFormat

# what the rest of the arithmetic takes of a code
LARGEST = 2**62


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0), any shape, same dtype."""
    return np.maximum(x, x.dtype.type(0))


def add(arrays: Sequence[np.ndarray], shifts: Sequence[int] = ()) -> np.ndarray:
    """Elementwise sum in order, of equal sizes or 1: float32, or int64 of integer codes.

    shifts: how far left each operand's codes are moved first, to one number of fraction bits
    (contract 4); the caller has made sure that no sum leaves 63 bits.
    """
    shape = _broadcast("sum", arrays)
    moved = _aligned(arrays, shifts)
    total: np.ndarray = np.broadcast_to(moved[0], shape).copy()
    for array in moved[1:]:
        np.add(total, array, out=total)
    return total


def subtract(a: np.ndarray, b: np.ndarray, shifts: Sequence[int] = ()) -> np.ndarray:
    """a - b, of equal sizes or 1: float32, or int64 of integer codes; shifts: as of add."""
    _broadcast("difference", (a, b))
    first, second = _aligned((a, b), shifts)
    return np.subtract(first, second)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a * b, of equal sizes or 1: float32, or int64 of integer codes.

    Raises FormatError where products leave 62 bits.
    """
    _broadcast("product", (a, b))
    first, second = _aligned((a, b), ())
    if first.dtype == np.int64:
        _hold(largest(first) * largest(second), "products")
    return np.multiply(first, second)


def clip(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """min(max(x, low), high), float32, any shape."""
    return np.clip(x, np.float32(low), np.float32(high))


def clip_integer(
    codes: np.ndarray, frac_bits: int, low: float, high: float, fmt: FixedPointFormat
) -> tuple[np.ndarray, int]:
    """Codes between bounds that are codes of the format in which they will be stored.

    codes: int32 or int64, any shape. A bound is round half even(bound * 2**F), F of fmt; where that
    is beyond fmt's range on its own side, or infinite, it does nothing, and beyond the other side
    it is that side's last code. Returns (int64 codes, their fraction bits, the larger of both):
    those of fewer are shifted left first. Raises FormatError where that leaves 62 bits.
    """
    raised, lifted = max(0, fmt.frac_bits - frac_bits), max(0, frac_bits - fmt.frac_bits)
    _hold(largest(codes) << raised, "clipped codes")
    out = np.left_shift(codes.astype(np.int64), raised)
    if (least := _bound(low, fmt)) >= fmt.min_code:
        out = np.maximum(out, _lifted(min(least, fmt.max_code), lifted))
    if (most := _bound(high, fmt)) <= fmt.max_code:
        out = np.minimum(out, _lifted(max(most, fmt.min_code), lifted))
    return out, frac_bits + raised


def _bound(value: float, fmt: FixedPointFormat) -> float:
    """A bound's code; an infinity or what scaling makes one stays so."""
    with np.errstate(over="ignore"):
        return float(np.rint(np.ldexp(np.float64(value), fmt.frac_bits)))


def _lifted(code: float, shift: int) -> int:
    # what leaves int64 is beyond all codes there are
    return max(-(2**63), min(int(code) << shift, 2**63 - 1))


def prelu(x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """x where it is not negative, slope * x elsewhere: float32 (N,C,...), slopes (1,) or (C,)."""
    return np.where(x >= 0, x, x * _along_channels(slopes, x)).astype(np.float32, copy=False)


def prelu_integer(codes: np.ndarray, slopes: np.ndarray, slope_frac_bits: int) -> np.ndarray:
    """Codes (N,C,...) where not negative, times the slope's code elsewhere, exact: int64 with S
    more fraction bits where a slope's code has S of them, and none more where S is negative.

    slopes: codes int32 (1,) or (C,). Raises FormatError where the result leaves 62 bits.
    """
    positive, negative = max(0, slope_frac_bits), max(0, -slope_frac_bits)
    steepest = max(1 << positive, largest(slopes) << negative)
    _hold(largest(codes) * steepest, "codes times slopes")
    x = codes.astype(np.int64)
    products = np.left_shift(x * _along_channels(slopes.astype(np.int64), x), negative)
    return np.where(x >= 0, np.left_shift(x, positive), products)


def largest(codes: np.ndarray) -> int:
    """Greatest magnitude of integer codes, 0 when there are none."""
    return max(int(codes.max(initial=0)), -int(codes.min(initial=0)))


def _hold(greatest: int, what: str) -> None:
    if greatest > LARGEST:
        raise FormatError(
            f"{what} of {greatest.bit_length() + 1} bits",
            "63 bits at most",
            "use fewer bits or fraction bits",
        )


def _along_channels(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    if values.shape not in ((1,), x.shape[1:2]):
        raise ShapeError(f"{values.shape} slopes for shape {x.shape}", "one, or one a channel")
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def _broadcast(what: str, arrays: Sequence[np.ndarray]) -> tuple[int, ...]:
    shapes = [array.shape for array in arrays]
    try:
        if len({len(shape) for shape in shapes}) == 1:
            return np.broadcast_shapes(*shapes)
    except ValueError:
        pass
    raise ShapeError(f"{what} of shapes {shapes}", "equal sizes, or 1")


def _aligned(arrays: Sequence[np.ndarray], shifts: Sequence[int]) -> list[np.ndarray]:
    """Float32, or int64 codes moved left."""
    kind = np.float32 if arrays[0].dtype.kind == "f" else np.int64
    moved = [array.astype(kind, copy=False) for array in arrays]
    return [
        np.left_shift(array, shift) if shift else array
        for array, shift in zip(moved, shifts or (0,) * len(moved), strict=True)
    ]
