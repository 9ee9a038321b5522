"""A search from its settings to what it found."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from refq.plans.plan import Plan
from refq.search import layerwise, sensitivity
from refq.search.journal import Journal, identity
from refq.search.judging import Judge, Trial, front
from refq.search.racing import least_hits
from refq.search.space import ALL, Space, Widths, amount, searched_layers, space_of
from refq.search.subject import Images, NetworkSubject, images_of
from refq.search.task import Settings, Task

# network: one width for all, as in paper A's Table I
STRATEGIES = ("network", "layerwise", "sensitivity")


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


def run(task: Task) -> Found:
    """The cheapest plan of a scheme whose accuracy on labelled images is at most delta points
    below float32's.

    Raises OptionError where the widest list misses that, or the journal is another search's.
    """
    network, settings, base = task.network, task.settings, task.plan()

    def plan_named(named: Mapping[str, int]) -> Plan:
        if ALL in named:
            # one F for all widths, as in the paper's Table I
            return task.plan(bits_act=named[ALL], frac_act=base.options.get("frac_act"))
        return task.plan(widths=named)

    layers = (ALL,) if settings.strategy == "network" else searched_layers(network)
    space = space_of(network, plan_named, layers, settings.widths, settings.objective)

    @functools.cache
    def plan_for(widths: Widths) -> Plan:
        return plan_named(space.named(widths))

    images = images_of(task)
    judge, reference = judge_of(
        NetworkSubject(task, plan_for, space, images), journal_of(task, images, base, space), task
    )
    judge.start(space)
    strategy = sensitivity if settings.strategy == "sensitivity" else layerwise
    widths = strategy.search(space, judge)

    def objective(widths: Widths) -> float:
        return amount(network, plan_for(widths), settings.objective)

    return Found(
        plan=plan_for(widths),
        widths=widths,
        space=space,
        settings=settings,
        reference=reference,
        judge=judge,
        amount=objective,
    )


def journal_of(task: Task, images: Images, base: Plan, space: Space) -> Journal:
    """The journal of this search and no other."""
    search = {
        **identity(task, base),
        "space": dataclasses.asdict(space),
        "blocks": images.blocks,
        **{
            key: getattr(task.settings, key)
            for key in ("delta", "metric", "strategy", "objective", "confidence", "seed")
        },
    }
    return Journal(task.settings.journal, search, task.noted)


def judge_of(subject: Any, journal: Journal, task: Task) -> tuple[Judge, int]:
    """(the judge of a subject that also has float_hits(), float32's hits, which set the floor)."""
    settings = task.settings

    def reference() -> dict[str, Any]:
        return {"hits": subject.float_hits(), "spent": settings.images}

    most = {"hits": settings.images, "spent": settings.images}
    known = journal.recall(["float"], reference, most)
    least = least_hits(known["hits"], settings.images, settings.delta)
    judge = Judge(subject, least, journal, settings.confidence, task.told)
    judge.passes = judge.passes.plus(known["spent"])
    return judge, known["hits"]


__all__ = ["STRATEGIES", "Found", "run"]
