"""Operations that only move values, the place of a maximum, and values between two, by definition.

Each output value is looked up by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Place = tuple[int, ...]


def _filled(
    shape: tuple[int, ...], dtype: np.dtype, value: Callable[[Place], object]
) -> np.ndarray:
    out = np.empty(shape, dtype)
    for place in np.ndindex(shape):
        out[place] = value(place)
    return out


def _with(place: Place, axis: int, position: int) -> Place:
    return (*place[:axis], position, *place[axis + 1 :])


def argmax(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
    shape = _with(x.shape, axis, 1)

    def first(place: Place) -> int:
        values = [x[_with(place, axis, k)] for k in range(x.shape[axis])]
        return values.index(max(values))

    out = _filled(shape, np.dtype(np.int64), first)
    return out if keepdims else out.reshape(shape[:axis] + shape[axis + 1 :])


def concat(arrays: Sequence[np.ndarray], axis: int = 1) -> np.ndarray:
    sources = [(array, k) for array in arrays for k in range(array.shape[axis])]

    def value(place: Place) -> object:
        array, k = sources[place[axis]]
        return array[_with(place, axis, k)]

    return _filled(_with(arrays[0].shape, axis, len(sources)), arrays[0].dtype, value)


def subsample(
    x: np.ndarray, strides: tuple[int, int], channels: tuple[int, int] = (0, 0)
) -> np.ndarray:
    rows, columns = range(0, x.shape[2], strides[0]), range(0, x.shape[3], strides[1])
    before, after = channels
    out = np.zeros((len(x), before + x.shape[1] + after, len(rows), len(columns)), x.dtype)
    for n, c, r, s in np.ndindex(len(x), x.shape[1], len(rows), len(columns)):
        out[n, before + c, r, s] = x[n, c, rows[r], columns[s]]
    return out


def rearrange(
    x: np.ndarray, split: tuple[int, ...], axes: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray:
    images = []
    for image in x:
        values = list(image.reshape(-1))
        places = list(np.ndindex(split))
        held = dict(zip(places, values, strict=True))
        moved = []
        for place in np.ndindex(tuple(split[axis] for axis in axes)):
            source = [0] * len(split)
            for axis, position in zip(axes, place, strict=True):
                source[axis] = position
            moved.append(held[tuple(source)])
        images.append(np.array(moved, x.dtype).reshape(shape))
    return np.stack(images)


def slice_(
    x: np.ndarray, starts: tuple[int, ...], stops: tuple[int, ...], steps: tuple[int, ...]
) -> np.ndarray:
    kept = [list(range(*each)) for each in zip(starts, stops, steps, strict=True)]
    shape = (len(x), *map(len, kept))

    def value(place: Place) -> object:
        source = (place[0], *(each[k] for each, k in zip(kept, place[1:])))
        return x[source]

    return _filled(shape, x.dtype, value)


def pad(
    x: np.ndarray, before: tuple[int, ...], after: tuple[int, ...], mode: str, value: float
) -> np.ndarray:
    sizes = x.shape[1:]
    dtype = x.dtype
    if dtype.kind == "i" and mode == "constant" and abs(value) >= 2**31:
        dtype = np.dtype(np.int64)

    def source(k: int, size: int) -> int:
        if mode == "edge":
            return min(max(k, 0), size - 1)
        return -k if k < 0 else 2 * (size - 1) - k if k >= size else k

    def found(place: Place) -> object:
        inner = [k - first for k, first in zip(place[1:], before, strict=True)]
        if mode == "constant" and any(not 0 <= k < size for k, size in zip(inner, sizes)):
            return value
        within = (place[0], *map(source, inner, sizes))
        return x[within]

    grown = (sum(each) for each in zip(before, sizes, after, strict=True))
    return _filled((len(x), *grown), dtype, found)


def take(x: np.ndarray, axis: int, indices: np.ndarray) -> np.ndarray:
    shape = _with(x.shape, axis, len(indices))
    return _filled(shape, x.dtype, lambda p: x[_with(p, axis, int(indices[p[axis]]))])


def interpolate(
    x: np.ndarray, axis: int, before: np.ndarray, behind: np.ndarray, share: np.ndarray
) -> np.ndarray:
    def between(place: Place) -> float:
        k = place[axis]
        first, second = (
            float(x[_with(place, axis, int(places[k]))]) for places in (before, behind)
        )
        return first + (second - first) * float(share[k])

    return _filled(_with(x.shape, axis, len(share)), np.dtype(np.float32), between)


def interpolate_integer(
    x: np.ndarray, axis: int, before: np.ndarray, behind: np.ndarray, share: np.ndarray, bits: int
) -> np.ndarray:
    def between(place: Place) -> int:
        k = place[axis]
        first, second = (int(x[_with(place, axis, int(each[k]))]) for each in (before, behind))
        return first * 2**bits + (second - first) * int(share[k])

    return _filled(_with(x.shape, axis, len(share)), np.dtype(np.int64), between)
