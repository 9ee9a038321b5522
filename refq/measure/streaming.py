"""A network over a stream of images, and what is collected of its tensors on the way."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from refq import kernels
from refq.engine.forward import Run, forward
from refq.errors import FormatError
from refq.networks.graph import INPUT, Network, Node
from refq.networks.weights import Weights

# images, float32 (N, C, H, W), and their classes, int (N,), where they are known
Batches = Iterable[tuple[np.ndarray, "np.ndarray | None"]]
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Source:
    """A network and the images that run through it.

    batches: makes a fresh stream of them. progress: told of images, for what and then how many at
    a time. first_image: the first one's place in the data set, for stochastic rounding.
    """

    network: Network
    weights: Weights
    batches: Callable[[], Batches]
    ops: ModuleType = kernels
    progress: Callable[[str], Progress] = lambda what: lambda images: None
    first_image: int = 0

    def stream(self, what: str) -> Batches:
        """A fresh stream; progress is told of each batch when the next one is asked for."""
        told = self.progress(what)
        for images, labels in self.batches():
            yield images, labels
            told(len(images))


@dataclass
class Collector:
    """A statistic that grows with a stream of images. No activation is kept.

    what: what a pass over the images for it alone is called. tensors: those it is made of, by name.
    parts: {key: value} of one tensor of a batch, float32 (N, ...). joined: two values of a key,
    earlier ones first. images, totals: of all whole batches so far.
    """

    what: str
    tensors: Set[str]
    parts: Callable[[str, np.ndarray], Mapping[Any, Any]]
    joined: Callable[[Any, Any], Any] = operator.add
    images: int = 0
    totals: dict[Any, Any] = field(default_factory=dict)


def check_finite(name: str, *numbers: float) -> None:
    """Raises FormatError unless all numbers that tell of a float32 tensor's values are finite."""
    if not all(map(math.isfinite, numbers)):
        raise FormatError(
            f"{name}: values that float32 does not hold (NaN or infinite)",
            "finite ones",
            "check the weights and the preprocessing",
        )


def collect(source: Source, collectors: Sequence[Collector]) -> None:
    """Adds what collectors make of all images to their totals, in one pass of the network in
    float32. Ctrl-C leaves them those of whole batches."""
    for images, _ in source.stream(collectors[0].what):
        grown: list[dict[Hashable, Any]] = [dict(collector.totals) for collector in collectors]

        def add(node: Node | None, tensor: Any, grown: Any = grown) -> None:
            name = node.name if node else INPUT
            check_finite(name, float(tensor.min()), float(tensor.max()))
            for collector, totals in zip(collectors, grown):
                if name in collector.tensors:
                    for key, part in collector.parts(name, tensor).items():
                        known = key in totals
                        totals[key] = collector.joined(totals[key], part) if known else part

        watched = {name for collector in collectors for name in collector.tensors}
        run = Run(add, watched)
        forward(source.network, source.weights, None, images, source.ops, run)
        for collector, totals in zip(collectors, grown):
            collector.images, collector.totals = collector.images + len(images), totals
