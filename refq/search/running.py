"""A search from its settings to what it found."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from refq.data import Dataset
from refq.data.preprocessing import Preprocessing
from refq.networks.graph import Network
from refq.networks.weights import Weights
from refq.plans.plan import Plan
from refq.schemes import Options
from refq.schemes.statistics import Statistics
from refq.search import layerwise, sensitivity
from refq.search.journal import Journal, identity
from refq.search.judging import Judge, Trial, front
from refq.search.racing import least_hits
from refq.search.settings import Settings
from refq.search.space import ALL, Space, Widths, amount, searched_layers, space_of
from refq.search.subject import Images, NetworkSubject, shuffled

# network: one width for all, as in paper A's Table I
STRATEGIES = ("network", "layerwise", "sensitivity")
# blocks that the images are raced in
BLOCKS = 10


@dataclass(frozen=True)
class Found:
    """The plan, and how it was found; to_json gives the keys of docs/search.md."""

    plan: Plan
    widths: Widths
    space: Space
    settings: Settings
    reference: int
    judge: Judge
    amount: Callable[[Widths], float]

    def to_json(self) -> dict[str, Any]:
        judge, passes = self.judge, self.judge.passes
        floor = 100 * judge.least / judge.images
        metric, reference = self.settings.metric, 100 * self.reference / judge.images
        found = f"{self.amount(self.widths):.4g} {self.space.unit}"
        return {
            "summary": f"{_bits(self.space, self.widths)}: {found}, {metric} >= {floor:.2f} % "
            f"(float {reference:.2f} %)",
            "strategy": self.settings.strategy,
            "objective": self.settings.objective,
            "unit": self.space.unit,
            "metric": metric,
            "reference": reference,
            "delta": self.settings.delta,
            "floor": floor,
            "confidence": self.settings.confidence,
            "images": judge.images,
            "widths": self.space.named(self.widths),
            "found": self.amount(self.widths),
            "candidates": len(judge.measured.keys() | judge.unseen),
            "unseen": len(judge.unseen),
            "resumed": judge.journal.resumed,
            "passes": {**dataclasses.asdict(passes), "plain": passes.plain},
            "trials": [self._trial(trial) for trial in judge.trials],
            "front": [self._trial(trial) for trial in front(self._cost, judge)],
        }

    def _cost(self, widths: Widths) -> float:
        return self.space.total(widths) if self.space.cost else self.amount(widths)

    def _trial(self, trial: Trial) -> dict[str, Any]:
        return {
            "widths": self.space.named(trial.widths),
            self.settings.objective: self.amount(trial.widths),
            "accuracy": trial.accuracy,
            "images": trial.images,
            "accepted": trial.accepted,
        }


def _bits(space: Space, widths: Widths) -> str:
    if not space.cost:  # parts of the network, not layers
        return ", ".join(f"{part} {width} bits" for part, width in space.named(widths).items())
    if space.layers == (ALL,):
        return f"--bits-act {widths[0]}"
    return f"bits {','.join(str(width) for width in widths)}"


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
    told: Callable[[Trial], object] = lambda trial: None,
) -> Found:
    """The cheapest plan of a scheme whose accuracy on labelled images is at most delta points
    below float32's.

    Raises OptionError where the widest list misses that, or the journal is another search's.
    """

    base: Plan = scheme.plan(network, weights, statistics, options)

    def plan_named(named: Mapping[str, int]) -> Plan:
        changes: dict[str, Any] = {"widths": named}
        if ALL in named:
            # one F for all widths, as in the paper's Table I
            changes = {"bits_act": named[ALL], "frac_act": base.options.get("frac_act")}
        made: Plan = scheme.plan(
            network, weights, statistics, dataclasses.replace(options, **changes)
        )
        return made

    layers = (ALL,) if settings.strategy == "network" else searched_layers(network)
    space = space_of(network, plan_named, layers, settings.widths, settings.objective)

    @functools.cache
    def plan_for(widths: Widths) -> Plan:
        return plan_named(space.named(widths))

    # small blocks stop soon, large ones are quick
    at_once = min(settings.at_once, -(-settings.images // BLOCKS))
    images = shuffled(dataset, preprocessing, settings.images, at_once, settings.seed)
    subject = NetworkSubject(
        network, weights, plan_for, space, images, settings.metric, settings.budget, ops
    )
    journal = journal_of(network, weights, dataset, images, base, space, settings)
    judge, reference = judge_of(subject, journal, settings, told)
    judge.start(space)
    strategy = sensitivity if settings.strategy == "sensitivity" else layerwise
    widths = strategy.search(space, judge)

    def objective(widths: Widths) -> float:
        return amount(network, plan_for(widths), settings.objective)

    return Found(plan_for(widths), widths, space, settings, reference, judge, objective)


def journal_of(
    network: Network,
    weights: Weights,
    dataset: Dataset,
    images: Images,
    base: Plan,
    space: Space,
    settings: Settings,
) -> Journal:
    """The journal of this search and no other."""
    own = {
        **identity(network, weights, dataset, settings.images, images.preprocessing, base),
        "space": dataclasses.asdict(space),
        "blocks": images.blocks,
        **{
            key: getattr(settings, key)
            for key in ("delta", "metric", "strategy", "objective", "confidence", "seed")
        },
    }
    return Journal(settings.journal, own)


def judge_of(
    subject: Any, journal: Journal, settings: Settings, told: Callable[[Trial], object]
) -> tuple[Judge, int]:
    """(the judge of a subject that also has float_hits(), float32's hits, which set the floor)."""

    def reference() -> dict[str, Any]:
        return {"hits": subject.float_hits(), "spent": settings.images}

    known = journal.recall(["float"], reference)
    least = least_hits(known["hits"], settings.images, settings.delta)
    judge = Judge(subject, least, journal, settings.confidence, told)
    judge.passes = judge.passes.plus(known["spent"])
    return judge, known["hits"]


__all__ = ["STRATEGIES", "Found", "run"]
