"""Ristretto's bit-width search: 16, 8, 4, 2 bits for one part of the network, the others float32,
until the accuracy is missed; then every part with the fewest bits that kept it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from refq.data import Dataset
from refq.data.preprocessing import Preprocessing
from refq.engine.forward import Ready, forward, ready
from refq.measure.ranking import Ranking
from refq.measure.side_by_side import rank
from refq.networks.graph import Network
from refq.networks.weights import Weights
from refq.plans.cost import FLOAT_BITS, MEGABYTE, activation_memory, weight_bits
from refq.plans.plan import Plan
from refq.schemes import Options
from refq.schemes.statistics import Statistics
from refq.search.judging import Judge, Trial
from refq.search.running import BLOCKS, Found, journal_of, judge_of
from refq.search.settings import Settings
from refq.search.space import Space, Widths
from refq.search.subject import Images, shuffled

UNIT = "MB of activations and weights"


def search(parts: int, widths: Sequence[int], judge: Judge) -> Widths:
    """For each part by itself the last width, in order, before one that misses the accuracy;
    float32 where the first one does. All together are measured, and returned whatever comes out.
    """
    found = [FLOAT_BITS] * parts
    for part in range(parts):
        for width in widths:
            alone = [FLOAT_BITS] * parts
            alone[part] = width
            if not judge.measure(tuple(alone)):
                break
            found[part] = width
    judge.measure(tuple(found))
    return tuple(found)


@dataclass
class SimulatedSubject:
    """A judging.Subject of a simulation: every list is computed from its images."""

    network: Network
    weights: Weights
    plan_for: Callable[[Widths], Plan]
    images: Images
    metric: str
    ops: ModuleType
    last: tuple[Widths, Plan, Ready] | None = field(default=None)

    @property
    def blocks(self) -> Sequence[int]:
        return self.images.blocks

    def float_hits(self) -> int:
        """Images that come out right in float32."""
        return self._hits(rank(self.network, self.weights, None, self.images.batches(), self.ops))

    def hits(self, widths: Widths, block: int) -> tuple[int, float]:
        if self.last is None or self.last[0] != widths:
            plan = self.plan_for(widths)
            self.last = widths, plan, ready(self.network, self.weights, plan, self.ops)
        _, plan, own = self.last
        ranking, first = Ranking(), sum(self.blocks[:block])
        for images, labels in self.images.batches(first, first + self.blocks[block]):
            assert labels is not None  # whoever searches has asked
            ranking = ranking.plus(forward(self.network, own, plan, images, self.ops), labels)
        return self._hits(ranking), float(self.blocks[block])

    def _hits(self, ranking: Ranking) -> int:
        return ranking.top1 if self.metric == "top1" else ranking.top5

    def noise(self, layer: int, width: int) -> tuple[float, float, int]:
        raise AssertionError("halving asks for no noise")

    def settle(self, widths: Widths) -> None:
        """Nothing is kept that could lie nearer to one list than to another."""


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
    """What Ristretto would choose for a scheme with `halving` and `plan_of`; it need not keep the
    accuracy, since parts are chosen one by one.

    Raises OptionError where the scheme has no such search, or the journal is another search's.
    """
    parts, widths = scheme.halving(network, statistics, options)

    def plan_for(widths: Widths) -> Plan:
        named = dict(zip(parts, widths, strict=True))
        made: Plan = scheme.plan_of(network, weights, statistics, options, named)
        return made

    def megabytes(widths: Widths) -> float:
        plan = plan_for(widths)
        bits = activation_memory(network, plan).bits + weight_bits(network, plan)
        return bits / 8 / MEGABYTE

    # no strategy asks this space for costs
    space = Space(parts, (FLOAT_BITS,) * len(parts), widths[-1], (), unit=UNIT)
    at_once = min(settings.at_once, -(-settings.images // BLOCKS))
    images = shuffled(dataset, preprocessing, settings.images, at_once, settings.seed)
    subject = SimulatedSubject(network, weights, plan_for, images, settings.metric, ops)
    base = plan_for((widths[0],) * len(parts))
    journal = journal_of(network, weights, dataset, images, base, space, settings)
    judge, reference = judge_of(subject, journal, settings, told)
    found = search(len(parts), widths, judge)
    return Found(plan_for(found), found, space, settings, reference, judge, megabytes)
