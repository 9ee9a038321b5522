"""The judge whom strategies ask: does this list of widths keep the accuracy?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from refq.errors import OptionError
from refq.search.bounds import Bounds
from refq.search.journal import Journal
from refq.search.racing import hopeless
from refq.search.space import Space, Widths


class Subject(Protocol):
    """What is searched on: images in blocks, in a random order.

    Passes are counted in images through the whole network, a part of it by its share of the MACs.
    """

    blocks: Sequence[int]  # images of each

    def hits(self, widths: Widths, block: int) -> tuple[int, float]:
        """(images of a block that come out right, passes spent)."""

    def noise(self, layer: int, width: int) -> tuple[float, float, int]:
        """(noise at the output, relative to its signal, of one layer at a width and all others at
        their tops, on some images; passes spent; images)."""

    def settle(self, widths: Widths) -> None:
        """Lists to come differ from this one, at few layers mostly."""


@dataclass(frozen=True)
class Passes:
    """Images through the whole network: spent, and what spared the others."""

    spent: float = 0.0
    caching: float = 0.0
    racing: float = 0.0
    bounds: float = 0.0

    @property
    def plain(self) -> float:
        """What the same questions cost a search that measures every list on all images."""
        return self.spent + self.caching + self.racing + self.bounds

    def plus(
        self, spent: float, caching: float = 0.0, racing: float = 0.0, bounds: float = 0.0
    ) -> Passes:
        return Passes(
            self.spent + spent, self.caching + caching, self.racing + racing, self.bounds + bounds
        )


@dataclass(frozen=True)
class Trial:
    """A measured list: `hits` of the `images` it was measured on, fewer than all where it lost the
    race."""

    widths: Widths
    hits: int
    images: int
    accepted: bool

    @property
    def accuracy(self) -> float:
        """Percent."""
        return 100 * self.hits / self.images


class Judge:
    """judge(widths) -> bool; keeps its trials, and counts passes.

    least: hits in all images that a list must have. told: hears of every new trial.
    """

    def __init__(
        self,
        subject: Subject,
        least: int,
        journal: Journal,
        confidence: float = 1.0,
        told: Callable[[Trial], object] = lambda trial: None,
    ) -> None:
        self.subject, self.least, self.journal = subject, least, journal
        self.confidence, self.told = confidence, told
        self.images = sum(subject.blocks)
        self.bounds, self.passes = Bounds(), Passes()
        self.measured: dict[Widths, Trial] = {}
        self.unseen: set[Widths] = set()  # judged by what follows from others

    def __call__(self, widths: Widths) -> bool:
        """Whether a list keeps the accuracy, as far as it follows from others without measuring."""
        known = self.bounds.verdict(widths)
        if known is None or widths in self.measured:
            return self.measure(widths)
        if widths not in self.unseen:
            self.unseen.add(widths)
            self.passes = self.passes.plus(0.0, bounds=self.images)
        return known

    def measure(self, widths: Widths) -> bool:
        """Whether a list keeps the accuracy, measured; once for each list."""
        if widths in self.measured:
            return self.measured[widths].accepted
        key = ["trial", *widths]
        result = self.journal.recall(key, lambda: self._race(widths), self._most)
        hits, seen, spent = result["hits"], result["images"], result["spent"]
        if not hits <= seen or not seen > 0:
            raise self.journal.refused(key, ["hits in some images"])
        trial = Trial(widths, hits, seen, seen == self.images and hits >= self.least)
        self.measured[widths] = trial
        self.passes = self.passes.plus(spent, seen - spent, self.images - seen)
        self.bounds = self.bounds.plus(widths, trial.accepted)
        if trial.accepted:
            self.subject.settle(widths)
        self.told(trial)
        return trial.accepted

    @property
    def _most(self) -> dict[str, float]:
        """The largest numbers of a race."""
        return {"hits": self.images, "images": self.images, "spent": math.inf}

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Measured lists in order."""
        return tuple(self.measured.values())

    def start(self, space: Space) -> None:
        """Judges the top of a space. Raises OptionError where even that misses the floor."""
        self.subject.settle(space.top)
        if not self(space.top):
            trial = self.trials[-1]
            raise OptionError(
                f"accuracy {trial.accuracy:.2f} % on {trial.images} images with the most bits",
                f"at least {100 * self.least / self.images:.2f} %",
                "allow a larger --delta, or more --search-bits",
            )

    def noise(self, layer: int, width: int) -> float:
        """Relative noise energy at the output that one layer's width alone makes."""

        def measured() -> dict[str, float]:
            value, spent, images = self.subject.noise(layer, width)
            return {"noise": value, "spent": spent, "images": images}

        most = {"noise": math.inf, "spent": math.inf, "images": self.images * 2}
        result = self.journal.recall(["noise", layer, width], measured, most)
        self.passes = self.passes.plus(result["spent"], result["images"] - result["spent"])
        return float(result["noise"])

    def _race(self, widths: Widths) -> dict[str, float]:
        """Hits block after block, until all are seen or the floor is out of reach. One that is
        certain to pass goes on: its accuracy is wanted for the front."""
        hits, seen, spent, looks = 0, 0, 0.0, max(1, len(self.subject.blocks) - 1)
        for block, images in enumerate(self.subject.blocks):
            more, cost = self.subject.hits(widths, block)
            hits, seen, spent = hits + more, seen + images, spent + cost
            if hopeless(self.images, self.least, seen, hits, self.confidence, looks):
                break
        return {"hits": hits, "images": seen, "spent": spent}


def front(cost: Callable[[Widths], float], judge: Judge) -> list[Trial]:
    """Fully measured lists than which none is both cheaper and as accurate, cheapest first."""
    out: list[Trial] = []
    full = [trial for trial in judge.trials if trial.images == judge.images]
    for trial in sorted(full, key=lambda each: (cost(each.widths), -each.hits)):
        if not out or trial.hits > out[-1].hits:
            out.append(trial)
    return out
