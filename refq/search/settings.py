"""What is asked of a search."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What is searched for, and how.

    delta: percentage points below float that `metric` may fall. widths: those to choose from.
    objective, strategy: by name. confidence: of stopping a candidate early.
    images: the first so many of the data; at_once: most images in a batch. budget: bytes of
    activations kept. journal: a file, or None. step: of an energy threshold.
    """

    delta: float
    widths: range
    images: int
    metric: str = "top1"
    strategy: str = "sensitivity"
    objective: str = "memory"
    confidence: float = 0.999
    seed: int = 0
    at_once: int = 32
    budget: int = 1 << 30
    journal: str | None = None
    step: float = 0.05
