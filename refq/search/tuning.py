"""Searches over one number, or one a layer, of paper B's schemes: the energy threshold (Fig. 4) and
the base kernels of clustered layers. Each tries plans on labelled images until accuracy falls
further than asked, to lower the complexity of the MACs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any

from refq.data import Dataset, batches, kept
from refq.data.preprocessing import Preprocessing
from refq.errors import OptionError
from refq.measure.ranking import Ranking
from refq.measure.side_by_side import rank
from refq.networks.graph import Network
from refq.networks.weights import Weights
from refq.plans.cost import mac_complexity
from refq.plans.plan import Plan
from refq.schemes import Options
from refq.schemes.hybrid_options import MOST_ENERGY
from refq.schemes.statistics import Statistics
from refq.search import clusters
from refq.search.journal import Journal, identity
from refq.search.racing import least_hits
from refq.search.settings import Settings

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
        own, images = self.settings, self.settings.images
        reference = 100 * self.reference / images
        floor = 100 * least_hits(self.reference, images, own.delta) / images
        spent = images * (1 + len(self.trials) - self.resumed)
        return {
            "summary": f"{_shown(self.setting)}: {self.complexity:.4g} M MACs at 8x8 bits, "
            f"{own.metric} >= {floor:.2f} % (float {reference:.2f} %)",
            "strategy": own.strategy,
            "objective": "macs",
            "unit": "M MACs at 8x8 bits",
            "metric": own.metric,
            "reference": reference,
            "delta": own.delta,
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


def run(
    network: Network,
    weights: Weights,
    scheme: ModuleType,
    statistics: Statistics | None,
    options: Options,
    dataset: Dataset,
    preprocessing: Preprocessing,
    settings: Settings,
    ops: ModuleType,
    told: Callable[[Tuning], object] = lambda trial: None,
) -> Tuned:
    """The plan of least complexity whose accuracy on labelled images is at most delta points below
    float32's, as far as the strategy finds it.

    Raises OptionError where already the first plan, with no few bits, misses that, or the journal
    is another search's.
    """
    own = options.hybrid
    if own.threshold is not None or own.low_share or own.experiment:
        raise OptionError(
            "--delta with --threshold, --low-share or --experiment",
            "one or the other: a search finds who has few bits",
        )
    stream = kept(
        lambda: batches(dataset, preprocessing, settings.at_once, 0, settings.images),
        4 * math.prod(network.input_shape) * settings.images,
        settings.budget,
    )
    base: Plan = scheme.plan(network, weights, statistics, options)
    own_search = {
        **identity(network, weights, dataset, settings.images, preprocessing, base),
        **{key: getattr(settings, key) for key in ("delta", "metric", "strategy", "step")},
    }
    journal = Journal(settings.journal, own_search)

    def hits(plan: Plan | None) -> int:
        found: Ranking = rank(network, weights, plan, stream(), ops)
        return found.top1 if settings.metric == "top1" else found.top5

    reference = journal.recall(["float"], lambda: {"hits": hits(None)})["hits"]
    least = least_hits(reference, settings.images, settings.delta)
    trials: dict[str, Tuning] = {}

    def planned(setting: Any) -> Plan:
        own = replace(options.hybrid, experiment=None, low_share={}, threshold=None)
        if isinstance(setting, Mapping):
            own = replace(own, clusters=dict(setting))
        else:
            own = replace(own, threshold=setting)
        made: Plan = scheme.plan(network, weights, statistics, replace(options, hybrid=own))
        return made

    def complexity(plan: Plan) -> float:
        return sum(mac_complexity(network, plan).values()) / 1e6

    def accepts(setting: Any) -> bool:
        key = repr(setting)
        if key not in trials:
            plan = planned(setting)
            right = journal.recall([key], lambda: {"hits": hits(plan)})["hits"]
            trials[key] = Tuning(setting, right, complexity(plan), right >= least)
            told(trials[key])
        return trials[key].accepted

    @cache
    def fewest() -> float:
        return complexity(planned(MOST_ENERGY))

    def all_low(threshold: float) -> bool:
        """A larger one than this, which was accepted, would save less than a hundredth of the
        rest."""
        return trials[repr(threshold)].complexity <= 1.01 * fewest()

    resumed = max(0, journal.resumed - 1)
    if settings.strategy == "clusters":
        ladder = clusters.Ladder(network, weights, planned, options.hybrid)
        found: Any = clusters.climb(accepts, ladder)
    else:
        if not accepts(0.0):
            got = 100 * trials[repr(0.0)].hits / settings.images
            raise OptionError(
                f"--delta {settings.delta:g}: {got:.2f} % without few bits, "
                f"{100 * reference / settings.images:.2f} % in float, "
                f"on {settings.images} images",
                "more points, more bits or more --search-images",
            )
        way = steps if settings.strategy == "threshold" else bisection
        found = way(accepts, all_low, settings.step)
    plan = planned(found)
    return Tuned(
        plan,
        found,
        settings,
        reference,
        tuple(trials.values()),
        min(resumed, len(trials)),
        complexity(plan),
    )
