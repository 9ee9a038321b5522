"""Data without the images that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from refq.data.dataset import Dataset, shown
from refq.errors import DataError


@dataclass(frozen=True)
class Skipped:
    """An image that was left out, and why."""

    image: str
    why: str


def readable(
    dataset: Dataset, start: int, stop: int, read: Callable[[int], object]
) -> tuple[Dataset, list[Skipped]]:
    """(the data set without those of images start..stop-1 that cannot be read, these).

    read: does with an image all that may refuse it, once. Raises DataError where none is left.
    """
    kept, skipped = list(range(start)), []
    for index in range(start, stop):
        try:
            read(index)
            kept.append(index)
        except DataError as error:
            skipped.append(Skipped(shown(dataset.where(index)), shown(error.found)))
    if len(kept) == start:
        raise DataError(
            f"{dataset.name}: none of {stop - start:,} images can be read ({skipped[0].why})",
            "images",
        )
    if not skipped:
        return dataset, []
    kept += range(stop, len(dataset))
    without = replace(
        dataset,
        count=len(kept),
        read=lambda index: dataset.read(kept[index]),
        where=lambda index: dataset.where(kept[index]),
        labels=None if dataset.labels is None else dataset.labels[np.array(kept)],
    )
    return without, skipped
