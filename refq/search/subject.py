"""A network under plans, measured block by block, no more of it than a change asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from refq.data import Dataset, batches
from refq.data.preprocessing import Rule
from refq.engine.forward import IntegerWeights, Run, forward, quantize_weights
from refq.measure.ranking import Ranking, rank
from refq.measure.streaming import Batches, Source
from refq.plans.plan import Plan
from refq.search.prefix import Path, Prefixes
from refq.search.space import Space, Widths, changed
from refq.search.task import Task

# blocks that the images are raced in
BLOCKS = 10


@dataclass(frozen=True)
class Images:
    """Labelled images to search on, in a seeded random order.

    at_once: images of a block. Stochastic rounding counts images in this order.
    """

    dataset: Dataset
    preprocessing: Rule
    count: int
    at_once: int

    @property
    def blocks(self) -> tuple[int, ...]:
        starts = range(0, self.count, self.at_once)
        return tuple(min(self.at_once, self.count - start) for start in starts)

    def batches(self, start: int = 0, stop: int | None = None) -> Batches:
        stop = self.count if stop is None else stop
        return batches(self.dataset, self.preprocessing, self.at_once, start, stop)


def shuffled(dataset: Dataset, preprocessing: Rule, count: int, at_once: int, seed: int) -> Images:
    """The first `count` images of a data set with labels, shuffled."""
    assert dataset.labels is not None  # whoever searches has asked
    order = np.random.default_rng(seed).permutation(count)
    mixed = replace(
        dataset,
        count=count,
        labels=dataset.labels[order],
        read=lambda index: dataset.read(int(order[index])),
        where=lambda index: dataset.where(int(order[index])),
    )
    return Images(mixed, preprocessing, count, at_once)


def images_of(task: Task) -> Images:
    """The images of a search, in blocks: small ones stop soon, large ones are quick."""
    settings = task.settings
    at_once = min(settings.at_once, -(-settings.images // BLOCKS))
    return shuffled(task.dataset, task.preprocessing, settings.images, at_once, settings.seed)


@dataclass(frozen=True)
class _Candidate:
    """A list of widths, ready for the engine."""

    widths: Widths
    plan: Plan
    path: Path
    integer: IntegerWeights


class NetworkSubject:
    """A judging.Subject of a network.

    plan_for(widths) -> Plan.
    """

    def __init__(
        self, task: Task, plan_for: Callable[[Widths], Plan], space: Space, images: Images
    ) -> None:
        self.task, self.plan_for, self.space, self.images = task, plan_for, space, images
        self.blocks: Sequence[int] = images.blocks
        self.prefixes = Prefixes(task.network, task.settings.budget)
        self.candidate: _Candidate | None = None
        self.settled: Widths = space.top
        self.near: tuple[Widths, Path] | None = None
        self.reference: np.ndarray | None = None

    def float_hits(self) -> int:
        """Images that come out right in float32."""
        task = self.task
        source = Source(task.network, task.weights, self.images.batches, task.ops)
        return self._hits(rank(source, None))

    def hits(self, widths: Widths, block: int) -> tuple[int, float]:
        start = sum(self.blocks[:block])
        outputs, spent = self._outputs(widths, block)
        assert self.images.dataset.labels is not None
        labels = self.images.dataset.labels[start : start + self.blocks[block]]
        return self._hits(Ranking().plus(outputs, labels)), spent

    def _hits(self, ranking: Ranking) -> int:
        return ranking.top1 if self.task.settings.metric == "top1" else ranking.top5

    def noise(self, layer: int, width: int) -> tuple[float, float, int]:
        """Of the first block, against its outputs at all layers' tops."""
        before, images = 0.0, self.blocks[0]
        if self.reference is None:
            images *= 2  # what the reference takes is counted where it is first needed
            self.reference, before = self._outputs(self.space.top, 0)
        widths = changed(self.space.top, layer, width - self.space.top[layer])
        outputs, spent = self._outputs(widths, 0)
        energy = float(np.square(outputs - self.reference, dtype=np.float64).sum())
        signal = float(np.square(self.reference, dtype=np.float64).sum())
        return energy / signal if signal else energy, before + spent, images

    def settle(self, widths: Widths) -> None:
        self.settled = widths

    def _near(self) -> Path:
        """The path that candidates part from."""
        if self.near is None or self.near[0] != self.settled:
            self.near = self.settled, self.prefixes.path(self.plan_for(self.settled))
        return self.near[1]

    def _ready(self, widths: Widths) -> _Candidate:
        """A candidate; its predecessor lends what the two share."""
        task, last = self.task, self.candidate
        if last is None or last.widths != widths:
            plan, like = self.plan_for(widths), last.integer if last else None
            integer = quantize_weights(task.network, task.weights, plan, task.ops, like)
            last = self.candidate = _Candidate(widths, plan, self.prefixes.path(plan), integer)
        return last

    def _outputs(self, widths: Widths, block: int) -> tuple[np.ndarray, float]:
        """(outputs of a block, passes spent): computed from the deepest cut there is, keeping
        the one where the candidate parts from the settled list."""
        candidate, first = self._ready(widths), sum(self.blocks[:block])
        near = self._near()
        cut = self.prefixes.deepest(block, candidate.path)
        since = cut.at if cut else None
        places = 0, self.prefixes.parting(candidate.path, near)

        run = Run(
            first_image=first,
            cuts={at for at in places if self.prefixes.worth(at, since)},
            keep=lambda cut: self.prefixes.keep(block, candidate.path, cut, near),
        )
        outputs = forward(
            self.task.network,
            candidate.integer,
            candidate.plan,
            cut or self._images(block, first),
            self.task.ops,
            run,
        )
        return outputs, self.blocks[block] * self.prefixes.share[since or 0]

    def _images(self, block: int, first: int) -> np.ndarray:
        for images, _ in self.images.batches(first, first + self.blocks[block]):
            return images
        raise AssertionError("blocks are not empty")
