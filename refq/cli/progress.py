"""Progress on stderr, quiet where that is no terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tqdm import tqdm


def bar(total: int, label: str) -> tqdm[Any]:
    """A bar of images."""
    return tqdm(total=total, desc=label, unit="img", leave=False, disable=None)


def telling(total: int, label: str) -> Callable[[int], None]:
    """Told how many images are done, a bar that ends with the last."""
    progress = bar(total, label)

    def told(images: int) -> None:
        progress.update(images)
        if progress.n >= total:
            progress.close()

    return told


def trying() -> tqdm[Any]:
    """A count of the lists that a search has tried."""
    return tqdm(desc="search", unit="list", leave=False, disable=None)
