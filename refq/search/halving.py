"""Ristretto's bit-width search: 16, 8, 4, 2 bits for one part of the network, the others float32,
until the accuracy is missed; then every part with the fewest bits that kept it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from refq.engine.forward import Ready, forward, ready
from refq.measure.ranking import Ranking, rank
from refq.measure.streaming import Source
from refq.plans.cost import FLOAT_BITS, MEGABYTE, activation_memory, weight_bits
from refq.plans.plan import Plan
from refq.search.judging import Judge
from refq.search.running import Found, journal_of, judge_of
from refq.search.space import Space, Widths
from refq.search.subject import Images, images_of
from refq.search.task import Task

UNIT = "MB of activations and weights"


def search(parts: int, widths: Sequence[int], judge: Judge) -> Widths:
    """For each part by itself the last width, in order, before one that misses the accuracy;
    float32 where the first one does. All together are measured, and returned whatever comes out.
    """
    fewest = [FLOAT_BITS] * parts
    for part in range(parts):
        for width in widths:
            alone = [FLOAT_BITS] * parts
            alone[part] = width
            if not judge.measure(tuple(alone)):
                break
            fewest[part] = width
    judge.measure(tuple(fewest))
    return tuple(fewest)


@dataclass
class SimulatedSubject:
    """A judging.Subject of a simulation: every list is computed from its images."""

    task: Task
    plan_for: Callable[[Widths], Plan]
    images: Images
    last: tuple[Widths, Plan, Ready] | None = field(default=None)

    @property
    def blocks(self) -> Sequence[int]:
        return self.images.blocks

    def float_hits(self) -> int:
        """Images that come out right in float32."""
        task = self.task
        source = Source(task.network, task.weights, self.images.batches, task.ops)
        return self._hits(rank(source, None))

    def hits(self, widths: Widths, block: int) -> tuple[int, float]:
        task = self.task
        if self.last is None or self.last[0] != widths:
            plan = self.plan_for(widths)
            self.last = widths, plan, ready(task.network, task.weights, plan, task.ops)
        _, plan, rounded = self.last
        ranking, first = Ranking(), sum(self.blocks[:block])
        for images, labels in self.images.batches(first, first + self.blocks[block]):
            assert labels is not None  # whoever searches has asked
            ranking = ranking.plus(forward(task.network, rounded, plan, images, task.ops), labels)
        return self._hits(ranking), float(self.blocks[block])

    def _hits(self, ranking: Ranking) -> int:
        return ranking.top1 if self.task.settings.metric == "top1" else ranking.top5

    def noise(self, layer: int, width: int) -> tuple[float, float, int]:
        raise AssertionError("halving asks for no noise")

    def settle(self, widths: Widths) -> None:
        """Nothing is kept that could lie nearer to one list than to another."""


def run(task: Task) -> Found:
    """What Ristretto would choose for a scheme with `halving` and `plan_of`; it need not keep the
    accuracy, since parts are chosen one by one.

    Raises OptionError where the scheme has no such search, or the journal is another search's.
    """
    network, scheme = task.network, task.scheme
    parts, widths = scheme.halving(network, task.statistics, task.options)

    def plan_for(widths: Widths) -> Plan:
        named = dict(zip(parts, widths, strict=True))
        made: Plan = scheme.plan_of(network, task.weights, task.statistics, task.options, named)
        return made

    def megabytes(widths: Widths) -> float:
        plan = plan_for(widths)
        bits = activation_memory(network, plan).bits + weight_bits(network, plan)
        return bits / 8 / MEGABYTE

    # no strategy asks this space for costs
    space = Space(parts, (FLOAT_BITS,) * len(parts), widths[-1], (), unit=UNIT)
    images = images_of(task)
    base = plan_for((widths[0],) * len(parts))
    judge, reference = judge_of(
        SimulatedSubject(task, plan_for, images), journal_of(task, images, base, space), task
    )
    fewest = search(len(parts), widths, judge)
    return Found(
        plan=plan_for(fewest),
        widths=fewest,
        space=space,
        settings=task.settings,
        reference=reference,
        judge=judge,
        amount=megabytes,
    )
