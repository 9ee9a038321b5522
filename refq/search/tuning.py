"""Searches over one number, or one a layer, of paper B's schemes: the energy threshold (Fig. 4) and
the base kernels of clustered layers. Each tries plans on labelled images until accuracy falls
further than asked, to lower the complexity of the MACs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from refq.data import batches, kept
from refq.errors import OptionError
from refq.measure.ranking import rank
from refq.measure.streaming import Source
from refq.plans.cost import mac_complexity
from refq.plans.plan import Plan
from refq.schemes.hybrid_options import MOST_ENERGY
from refq.search import clusters
from refq.search.journal import Journal, identity
from refq.search.racing import least_hits
from refq.search.task import Settings, Task

# Fig. 4's steps, its bisection, and clusters layer by layer
STRATEGIES = ("threshold", "bisection", "clusters")
# halvings of an interval of thresholds
HALVINGS = 8


@dataclass(frozen=True)
class Tuning:
    """A tried plan: `hits` of all images right; setting: a threshold, or {layer: base kernels};
    complexity in M MACs of 8 by 8 bits."""

    setting: Any
    hits: int
    complexity: float
    accepted: bool


@dataclass(frozen=True)
class Tuned:
    """The plan, and how it was found; to_json gives the keys of docs/search.md."""

    plan: Plan
    setting: Any
    settings: Settings
    reference: int
    trials: tuple[Tuning, ...]
    resumed: int
    complexity: float

    def to_json(self) -> dict[str, Any]:
        settings, images = self.settings, self.settings.images
        reference = 100 * self.reference / images
        floor = 100 * least_hits(self.reference, images, settings.delta) / images
        spent = images * (1 + len(self.trials) - self.resumed)
        return {
            "summary": f"{_shown(self.setting)}: {self.complexity:.4g} M MACs at 8x8 bits, "
            f"{settings.metric} >= {floor:.2f} % (float {reference:.2f} %)",
            "strategy": settings.strategy,
            "objective": "macs",
            "unit": "M MACs at 8x8 bits",
            "metric": settings.metric,
            "reference": reference,
            "delta": settings.delta,
            "floor": floor,
            "confidence": 1.0,
            "images": images,
            "setting": self.setting,
            "found": self.complexity,
            "candidates": len(self.trials),
            "unseen": 0,
            "resumed": self.resumed,
            "passes": {"spent": spent, "caching": 0, "racing": 0, "bounds": 0, "plain": spent},
            "trials": [
                {
                    "setting": trial.setting,
                    "macs": trial.complexity,
                    "accuracy": 100 * trial.hits / images,
                    "images": images,
                    "accepted": trial.accepted,
                }
                for trial in self.trials
            ],
        }


def _shown(setting: Any) -> str:
    if isinstance(setting, Mapping):
        return "clusters " + ",".join(f"{name}={k}" for name, k in setting.items())
    return f"threshold {setting:.4g}"


def steps(accepts: Callable[[float], bool], done: Callable[[float], bool], step: float) -> float:
    """Fig. 4: the threshold grows by `step` for as long as the accuracy holds; the last that held.

    accepts(threshold): whether the accuracy holds; done: whether a larger one changes nothing.
    """
    held, tried = 0.0, 0
    while not done(held):
        # no sum of roundings: the hundredth step is 100 * step
        tried += 1
        if not accepts(tried * step):
            break
        held = tried * step
    return held


def bisection(
    accepts: Callable[[float], bool], done: Callable[[float], bool], step: float
) -> float:
    """The same end by doubling and then halving, where accuracy falls with the threshold."""
    low, high = 0.0, step
    while accepts(high):
        low = high
        if done(low):
            return low
        high *= 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if accepts(middle) else (low, middle)
    return low


class Trials:
    """Plans by their setting, each tried once on all images."""

    def __init__(self, task: Task) -> None:
        self.task, settings = task, task.settings
        images = kept(
            lambda: batches(task.dataset, task.preprocessing, settings.at_once, 0, settings.images),
            4 * math.prod(task.network.input_shape) * settings.images,
            settings.budget,
        )
        self.source = Source(task.network, task.weights, images, task.ops)
        asked = {key: getattr(settings, key) for key in ("delta", "metric", "strategy", "step")}
        of_search = {**identity(task, task.plan()), **asked}
        self.journal = Journal(settings.journal, of_search, task.noted)
        self.reference = self._hits("float", None)
        self.least = least_hits(self.reference, settings.images, settings.delta)
        self.tried: dict[str, Tuning] = {}

    def _hits(self, key: str, plan: Plan | None) -> int:
        """Images that come out right under a plan, or in float32."""

        def measured() -> dict[str, int]:
            ranking = rank(self.source, plan)
            return {"hits": ranking.top1 if self.task.settings.metric == "top1" else ranking.top5}

        most = {"hits": self.task.settings.images}
        hits: int = self.journal.recall([key], measured, most)["hits"]
        return hits

    def planned(self, setting: Any) -> Plan:
        hybrid = replace(self.task.options.hybrid, experiment=None, low_share={}, threshold=None)
        key = "clusters" if isinstance(setting, Mapping) else "threshold"
        return self.task.plan(hybrid=replace(hybrid, **{key: setting}))

    def complexity(self, plan: Plan) -> float:
        return sum(mac_complexity(self.task.network, plan).values()) / 1e6

    def accepts(self, setting: Any) -> bool:
        """Whether the accuracy holds."""
        key = repr(setting)
        if key not in self.tried:
            plan = self.planned(setting)
            hits = self._hits(key, plan)
            tuning = Tuning(setting, hits, self.complexity(plan), accepted=hits >= self.least)
            self.tried[key] = tuning
            self.task.told(tuning)
        return self.tried[key].accepted

    @cached_property
    def fewest(self) -> float:
        """Complexity where all filters have few bits."""
        return self.complexity(self.planned(MOST_ENERGY))

    def all_low(self, threshold: float) -> bool:
        """A larger one than this, which was accepted, would save less than a hundredth of the
        rest."""
        return self.tried[repr(threshold)].complexity <= 1.01 * self.fewest


def run(task: Task) -> Tuned:
    """The plan of least complexity whose accuracy on labelled images is at most delta points below
    float32's, as far as the strategy finds it.

    Raises OptionError where already the first plan, with no few bits, misses that, or the journal
    is another search's.
    """
    options, settings = task.options.hybrid, task.settings
    if options.threshold is not None or options.low_share or options.experiment:
        raise OptionError(
            "--delta with --threshold, --low-share or --experiment",
            "one or the other: a search finds who has few bits",
        )
    trials = Trials(task)
    if settings.strategy == "clusters":
        ladder = clusters.Ladder(task.network, task.weights, trials.planned, options)
        setting: Any = clusters.climb(trials.accepts, ladder)
    else:
        if not trials.accepts(0.0):
            got = 100 * trials.tried[repr(0.0)].hits / settings.images
            raise OptionError(
                f"--delta {settings.delta:g}: {got:.2f} % without few bits, "
                f"{100 * trials.reference / settings.images:.2f} % in float, "
                f"on {settings.images} images",
                "more points, more bits or more --search-images",
            )
        way = steps if settings.strategy == "threshold" else bisection
        setting = way(trials.accepts, trials.all_low, settings.step)
    plan = trials.planned(setting)
    return Tuned(
        plan=plan,
        setting=setting,
        settings=settings,
        reference=trials.reference,
        trials=tuple(trials.tried.values()),
        # the first entry is float32's
        resumed=min(max(0, trials.journal.resumed - 1), len(trials.tried)),
        complexity=trials.complexity(plan),
    )
