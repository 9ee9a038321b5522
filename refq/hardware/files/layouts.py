"""Where a word of an array lies in a file: layouts, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from refq.errors import OptionError

LAYOUTS = NCHW, NHWC, TILED = ("NCHW", "NHWC", "tiled")


@dataclass(frozen=True)
class Layout:
    """Axis 1, the channels, stays in its place (NCHW), comes last (NHWC), or is cut into tiles of
    so many channels, which come last, zeros filling up the last tile. Arrays of one axis are the
    same in all."""

    name: str = NCHW
    tile: int = 16

    def __post_init__(self) -> None:
        if self.name not in (NCHW, NHWC, TILED):
            raise OptionError(f"layout {self.name!r}", f"one of {', '.join(LAYOUTS)}")
        if not 1 <= self.tile <= 4096:
            raise OptionError(f"tiles of {self.tile} channels", "1 to 4096")

    def __str__(self) -> str:
        return f"tiles of {self.tile} channels" if self.name == TILED else self.name

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) < 2 or self.name == NCHW:
            return shape
        if self.name == NHWC:
            return (shape[0], *shape[2:], shape[1])
        return (shape[0], -(-shape[1] // self.tile), *shape[2:], self.tile)

    def stored_axes(self, axes: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the axes in the order of stored_shape."""
        if len(axes) < 2 or self.name == NCHW:
            return axes
        if self.name == NHWC:
            return (axes[0], *axes[2:], axes[1])
        return (axes[0], f"{axes[1]} tiles", *axes[2:], f"{axes[1]} in tile")

    def words(self, shape: tuple[int, ...]) -> int:
        return math.prod(self.stored_shape(shape))

    def arranged(self, codes: np.ndarray) -> np.ndarray:
        """An array's words (words,) in the order of this layout."""
        if codes.ndim < 2 or self.name == NCHW:
            return codes.reshape(-1)
        if self.name == TILED:
            stored = self.stored_shape(codes.shape)
            n, tiles, rest, tile = stored[0], stored[1], stored[2:-1], stored[-1]
            padded = np.zeros((n, tiles * tile, *rest), codes.dtype)
            padded[:, : codes.shape[1]] = codes
            return np.moveaxis(padded.reshape(n, tiles, tile, *rest), 2, -1).reshape(-1)
        return np.moveaxis(codes, 1, -1).reshape(-1)

    def restored(self, words: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The array of that logical shape: the inverse of `arranged`."""
        if len(shape) < 2 or self.name == NCHW:
            return words.reshape(shape)
        stored = words.reshape(self.stored_shape(shape))
        if self.name == NHWC:
            return np.moveaxis(stored, -1, 1)
        whole = (shape[0], self.stored_shape(shape)[1] * self.tile, *shape[2:])
        return np.moveaxis(stored, -1, 2).reshape(whole)[:, : shape[1]]

    def source(self, places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Which element of the array, counted in C order, each word of a file is; -1 for words
        that fill up a tile. places: int64 (k,), words of the file."""
        if len(shape) < 2 or self.name == NCHW:
            return places
        n, *middle, last = np.unravel_index(places, self.stored_shape(shape))
        if self.name == NHWC:
            return np.ravel_multi_index((n, last, *middle), shape)
        channel = middle[0] * self.tile + last
        inside = channel < shape[1]
        element = np.ravel_multi_index((n, np.where(inside, channel, 0), *middle[1:]), shape)
        return np.where(inside, element, -1)
