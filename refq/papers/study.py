"""A network under study: its statistics and its accuracy under any plan, each measured once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from refq import kernels, networks, schemes
from refq.engine.forward import forward
from refq.measure.calibration import gather
from refq.measure.measurement import measure
from refq.measure.noise import PointNoise, storage_noise
from refq.measure.ranking import Ranking, rank
from refq.measure.streaming import Batches, Source
from refq.networks.graph import Network
from refq.networks.weights import Weights
from refq.plans.plan import Plan
from refq.schemes import Options
from refq.schemes.statistics import Statistics, Wanted
from refq.search.journal import Journal

# schemes with one F for the whole network, unless frac_act says otherwise
OF_ONE_F = ("uniform", "enq", "knq")
# the largest numbers of a result in the journal
RATES, MOST_SUMS = {"top1": 100.0, "top5": 100.0}, 1 << 62


@dataclass(frozen=True)
class Study:
    """A network with its weights and images, and what was found about it so far.

    calibration, test: make a fresh stream of batches. options: what all plans share. ranks: images
    have labels, and the network a classifier. journal: accuracies by plan. find: searches a
    scheme's widths for a loss in points, and tells what it did. progress: told of images, for
    what and then how many at a time. cache: statistics, once they are known.
    """

    network: Network
    weights: Weights
    calibration: Callable[[], Batches]
    test: Callable[[], Batches]
    options: Options
    ranks: bool
    journal: Journal
    find: Callable[..., tuple[Mapping[str, Any], str]]
    progress: Callable[[str], Callable[[int], object]]
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def statistics(self) -> Statistics:
        """Histograms and counts of codes over the calibration images, at the network's F."""
        wanted = schemes.find("knq").wanted(self.network, self.options)
        statistics = self.gathered(replace(wanted, histograms=True, also=pooled(self.network)))
        assert statistics is not None
        return statistics

    @property
    def frac_bits(self) -> int:
        frac_bits = self.statistics.frac_bits
        assert frac_bits is not None
        # of all tensors the same
        return frac_bits if isinstance(frac_bits, int) else next(iter(frac_bits.values()))

    @property
    def at_size(self) -> Network:
        """The network as published, at ImageNet's size: memory needs no weights."""
        return networks.build(self.network.name)

    def plan(self, scheme: str, **changes: Any) -> Plan:
        """A scheme's plan: OF_ONE_F at the network's F, unless frac_act says otherwise."""
        module, options, statistics = self._asked(scheme, changes)
        made: Plan = module.plan(self.network, self.weights, statistics, options)
        return made

    def _asked(
        self, scheme: str, changes: Mapping[str, Any]
    ) -> tuple[ModuleType, Options, Statistics | None]:
        module = schemes.find(scheme)
        if scheme in OF_ONE_F:
            options = replace(self.options, **{"frac_act": self.frac_bits, **changes})
            return module, options, self.statistics
        options = replace(self.options, **changes)
        return module, options, self.gathered(module.wanted(self.network, options))

    def gathered(self, wanted: Wanted) -> Statistics | None:
        """What is wanted of the calibration images; nothing is gathered twice."""
        source = Source(self.network, self.weights, self.calibration, progress=self.progress)
        self.cache["statistics"] = gather(wanted, source, self.cache.get("statistics"))
        statistics: Statistics | None = self.cache["statistics"]
        return statistics

    def accuracy(self, plan: Plan | None) -> dict[str, float]:
        """Top-1 and top-5 in percent over the test images; empty where there are no labels."""
        if not self.ranks:
            return {}
        key = hashlib.sha256(json.dumps(plan.to_json() if plan else None).encode()).hexdigest()

        def measured() -> dict[str, float]:
            source = Source(self.network, self.weights, self.test, progress=self.progress)
            return _known(rank(source, plan))

        return self.journal.recall([key], measured, RATES)

    def measured(self, plan: Plan, images: int) -> dict[str, float]:
        """Top-1 and top-5 over the first so many test images, float_top1 and float_top5 in float,
        sums that an accumulator could not hold (overflows), and in how many layers (layers)."""
        shown = json.dumps([plan.to_json(), images]).encode()
        key = ["measured", hashlib.sha256(shown).hexdigest()]

        def measured() -> dict[str, float]:
            source = Source(self.network, self.weights, lambda: first(self.test(), images))
            measurement = measure(source, plan)
            if measurement.stopped:
                raise measurement.stopped
            if measurement.interrupted:
                raise KeyboardInterrupt
            overflows = [sums.overflows for sums in measurement.sums.values()]
            rates = _known(measurement.float_)
            reference = {f"float_{name}": rate for name, rate in rates.items()}
            return {
                **_known(measurement.quantized),
                **reference,
                "images": measurement.images,
                "overflows": sum(overflows),
                "layers": sum(count > 0 for count in overflows),
            }

        most = {**RATES, "float_top1": 100.0, "float_top5": 100.0}
        counts = {"images": images, "overflows": MOST_SUMS, "layers": len(self.network.nodes)}
        return self.journal.recall(key, measured, {**most, **counts}, spared=most)

    def half_accuracy(self) -> dict[str, float]:
        """Accuracy in float32 with every stored activation rounded to half precision."""
        if not self.ranks:
            return {}

        def measured() -> dict[str, float]:
            told, ranking = self.progress("half"), Ranking()
            for images, labels in self.test():
                assert labels is not None
                outputs = forward(self.network, self.weights, None, _half(images), HALF_OPERATIONS)
                ranking = ranking.plus(outputs, labels)
                told(len(images))
            return _known(ranking)

        return self.journal.recall(["half"], measured, RATES)

    def search(
        self, scheme: str, delta: float, strategy: str | None = None
    ) -> tuple[Mapping[str, Any], str]:
        """What a search for at most delta points lost found, as its JSON tells it, and a note of
        how; by the scheme's own strategy unless another is named."""
        key = f"search {scheme} {delta} {strategy}"
        if key not in self.cache:
            _, options, statistics = self._asked(scheme, {})
            self.cache[key] = self.find(scheme, statistics, options, delta, strategy)
        searched: tuple[Mapping[str, Any], str] = self.cache[key]
        return searched

    def noise(self, plans: Mapping[str, Plan]) -> dict[str, dict[str, PointNoise]]:
        """{plan: {point: noise}}: what each stored point loses by itself over the calibration."""
        source = Source(self.network, self.weights, self.calibration, progress=self.progress)
        return storage_noise(source, plans)


def pooled(network: Network) -> set[str]:
    """Tensors that weighted layers read: where they are pooled, other values than are stored."""
    return {node.inputs[0] for node in network.weighted} - {"data"}


def first(batches: Batches, images: int) -> Batches:
    """The first so many images of a stream, and no batch after them."""
    left = images
    for values, labels in batches:
        yield values[:left], None if labels is None else labels[:left]
        left -= min(left, len(values))
        if not left:
            return


def _known(ranking: Ranking) -> dict[str, float]:
    return {key: value for key, value in ranking.percent().items() if value is not None}


def _half(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16).astype(np.float32)


# the operations, which are asked for by name alone, with one of them replaced
HALF_OPERATIONS: Any = SimpleNamespace(**vars(kernels))
HALF_OPERATIONS.relu = lambda x: _half(kernels.relu(x))
HALF_OPERATIONS.lrn = lambda x, **how: _half(kernels.lrn(x, **how))
