"""Several arrays as one: a network whose file has several inputs reads them side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from refq.data.dataset import shown
from refq.data.fitting import Fit, fit
from refq.data.stored import Stored
from refq.errors import DataError, listed
from refq.networks.layers import Shape

Rows = Callable[[int], np.ndarray]


def joined(arrays: Mapping[str, Stored], parts: Mapping[str, Shape], where: str) -> Stored:
    """An array of inputs, float32, whose channels are those of the parts, one after the other.

    parts: {input: its shape}, in the network's order. Raises DataError for arrays that are missing,
    of different counts, or no inputs of such shapes.
    """
    missing = [name for name in parts if name not in arrays]
    if missing:
        raise DataError(
            f"{where} holds {shown(listed(arrays))}",
            f"an array for each input: {shown(listed(parts))}",
            f"{shown(missing[0])} is missing",
        )
    own = {name: arrays[name] for name in parts}
    counts = {array.shape[:1] for array in own.values()}
    if len(counts) != 1:
        raise DataError(f"{where}: {listed(counts)} rows", "as many of each input")
    how = {name: _fit(array, parts[name], where) for name, array in own.items()}
    first = next(iter(parts.values()))
    shape = (sum(part[0] for part in parts.values()), *first[1:])

    def rows() -> Rows:
        readers = {name: array.rows() for name, array in own.items()}

        def read(index: int) -> np.ndarray:
            pieces = [
                how[name](reader(index).astype(np.float32)) for name, reader in readers.items()
            ]
            return np.concatenate(pieces)

        return read

    def values() -> np.ndarray:
        raise DataError(f"{where}: inputs as a whole", "row by row")

    (count,) = counts
    kinds = np.dtype(np.float32)
    return Stored(" + ".join(parts), (*count, *shape), kinds, rows, values)


def _fit(array: Stored, part: Shape, where: str) -> Fit:
    how = fit(array.shape[1:], part)
    if how is None and math.prod(array.shape[1:]) == math.prod(part):
        how = Fit(part)
    if how is None or not array.numeric:
        raise DataError(
            f"{where}: {shown(array.name)} of {array.dtype} {array.shape}", f"(N, *{part})"
        )
    return how
