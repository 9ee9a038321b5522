"""Streaming: preprocessed batches, the next one decoded while the last is computed on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from refq.data.dataset import Dataset
from refq.data.preprocessing import Rule
from refq.errors import DataError, OptionError

Batch = tuple[np.ndarray, "np.ndarray | None"]
# prepared images that are kept in memory rather than prepared again for every plan
KEPT_BYTES = 1 << 30


def batches(
    dataset: Dataset,
    preprocessing: Rule,
    batch_size: int,
    start: int = 0,
    stop: int | None = None,
    cut: bool = False,
) -> Generator[Batch, None, None]:
    """Images start..stop-1 in order: float32 (n, ...), as the preprocessing makes them, and labels
    int64 (n,) or None.

    n is batch_size, or less in the last batch. At any time one batch is with the caller and one is
    being prepared in a thread, which ends with the iterator, even one that is closed early.
    Raises DataError for a range outside the data set, or on reaching an image it cannot read. cut:
    the images of its batch that are before it come first, as a batch.
    """
    stop = len(dataset) if stop is None else stop
    if batch_size < 1:
        raise OptionError(f"batches of {batch_size} images", "1 or more")
    if not 0 <= start <= stop <= len(dataset):
        raise DataError(
            f"{dataset.name}: images {start} up to {stop}",
            f"a range within 0..{len(dataset)}",
            "ask for fewer images",
        )
    # Not itself a generator: bad arguments are told here, not at the first batch.
    return _stream(dataset, preprocessing, batch_size, range(start, stop), cut)


def _stream(
    dataset: Dataset, preprocessing: Rule, batch_size: int, span: range, cut: bool
) -> Generator[Batch, None, None]:
    if not span:
        return
    closed = threading.Event()

    def prepare(first: int) -> tuple[Batch, DataError | None]:
        """(a batch, or what of it is before an image that cannot be read; why it cannot)."""
        last, failure = min(first + batch_size, span.stop), None
        images = np.empty((last - first, *preprocessing.shape), np.float32)
        for index in range(first, last):
            if closed.is_set():
                break
            try:
                images[index - first] = prepared(dataset, preprocessing, index)
            except DataError as error:
                last, failure = index, error
                break
        labels = None if dataset.labels is None else dataset.labels[first:last]
        return (images[: last - first], labels), failure

    with ThreadPoolExecutor(1, "refq-data") as pool:
        try:
            ahead = pool.submit(prepare, span.start)
            for first in range(span.start + batch_size, span.stop + batch_size, batch_size):
                ready, failure = ahead.result()
                if first < span.stop and not failure:
                    ahead = pool.submit(prepare, first)
                if not failure or (cut and len(ready[0])):
                    yield ready
                if failure:
                    raise failure
        finally:
            # Leaving the pool waits for its thread: let it stop after the image at hand.
            closed.set()


def prepared(dataset: Dataset, preprocessing: Rule, index: int) -> np.ndarray:
    """One image, float32, of the shape of the preprocessing. Raises DataError that names it."""
    image = dataset.image(index)
    try:
        return preprocessing(image)
    except DataError as error:
        raise DataError(
            f"{dataset.where(index)}: {error.found}", error.wanted, error.remedy
        ) from None


def kept(
    stream: Callable[[], Iterable[Batch]], nbytes: int, most: int = KEPT_BYTES
) -> Callable[[], Iterable[Batch]]:
    """The same stream, prepared once and held where it has no more than `most` bytes."""
    if nbytes > most:
        return stream
    held: list[Batch] = []

    def again() -> Iterable[Batch]:
        if not held:
            held.extend(list(stream()))
        return iter(held)

    return again
