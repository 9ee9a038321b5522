"""Accuracy, noise, saturation and accumulator use of a Plan, streamed over images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refq.engine.coefficients import IntegerWeights
from refq.engine.forward import Run, Tensor, outputs, ready
from refq.engine.losses import Losses
from refq.engine.simulated import RoundedWeights
from refq.errors import DataError
from refq.measure.noise import PointNoise, makers, noise_of
from refq.measure.outputs import OutputNoise, noises
from refq.measure.ranking import Ranking, of_classes
from refq.measure.streaming import Source, check_finite
from refq.networks.graph import INPUT, Node
from refq.plans.plan import Plan

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SumRange:
    """Least and greatest sum a layer's accumulator held, and its overflows."""

    low: int = 0
    high: int = 0
    overflows: int = 0

    @property
    def bits(self) -> int:
        """Signed bits that hold every sum seen."""
        return max(self.high.bit_length(), (-self.low - 1).bit_length() if self.low < 0 else 0) + 1

    def __add__(self, other: SumRange) -> SumRange:
        return SumRange(
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            overflows=self.overflows + other.overflows,
        )


@dataclass(frozen=True)
class Measurement:
    """Everything measured over a stream of images; interrupted where it was cut short, by Ctrl-C
    or because of an image that cannot be read, stopped.

    outputs: noise of each output under the plan. losses: what became of each layer's weights and
    biases under it.
    """

    images: int = 0
    float_: Ranking = Ranking()  # noqa: RUF009 - frozen
    quantized: Ranking = Ranking()  # noqa: RUF009 - frozen
    agreement: Ranking = Ranking()  # noqa: RUF009 - frozen
    points: dict[str, PointNoise] = field(default_factory=dict)
    outputs: Mapping[str, OutputNoise] = field(default_factory=dict)
    sums: dict[str, SumRange] = field(default_factory=dict)
    losses: Mapping[str, Losses] = field(default_factory=dict)
    interrupted: bool = False
    stopped: DataError | None = None


def measure(
    source: Source,
    plan: Plan | None,
    keep_output: Callable[[Outputs], object] = lambda outputs: None,
) -> Measurement:
    """Runs float and, under a plan, integers or a simulation side by side over a source's images.

    keep_output gets each batch's outputs by name (integers' under a plan). Ctrl-C, or an image that
    cannot be read, ends the stream and returns what was measured so far.
    """
    sides = _Sides(source, plan)
    result = Measurement(losses=sides.losses)
    try:
        for images, labels in source.stream("evaluate"):
            wanted, tensors = sides.in_float(images)
            got, grown = wanted, result
            if plan is not None:
                got, grown = sides.planned(images, tensors, result)
                grown = replace(grown, outputs=noises(grown.outputs, wanted, got))
            keep_output(got)
            if source.network.has_classifier:
                name = source.network.output
                grown = _ranked(grown, wanted[name], got[name], labels)
            result = replace(grown, images=grown.images + len(images))
    except KeyboardInterrupt:
        return replace(result, interrupted=True)
    except DataError as error:
        return replace(result, interrupted=True, stopped=error)
    return result


class _Sides:
    """A network in float and under a plan, for the same batches."""

    def __init__(self, source: Source, plan: Plan | None) -> None:
        self.source, self.plan = source, plan
        self.weights = ready(source.network, source.weights, plan, source.ops)
        self.makers, self.first = makers(source.network), True
        self.watched = {*self.makers, *source.network.outputs}

    @property
    def losses(self) -> Mapping[str, Losses]:
        """Of each layer's weights and biases; none in float."""
        if isinstance(self.weights, IntegerWeights):
            return {name: layer.losses for name, layer in self.weights.layers.items()}
        return self.weights.losses if isinstance(self.weights, RoundedWeights) else {}

    def in_float(self, images: np.ndarray) -> tuple[Outputs, dict[str, np.ndarray]]:
        """({output: float32 (N, ...)}, {tensor that the plan quantizes: what it is in float}).
        Without a plan tensors of the first batch are looked at."""
        source, tensors = self.source, {}

        def remember(node: Node | None, tensor: Any) -> None:
            name = node.name if node else INPUT
            if name in self.makers and self.plan:
                tensors[name] = tensor
            elif not self.plan:
                check_finite(name, float(tensor.min()), float(tensor.max()))

        run = Run(remember if self.plan or self.first else None, self.watched)
        self.first = False
        return outputs(source.network, source.weights, None, images, source.ops, run), tensors

    def planned(
        self, images: np.ndarray, reference: dict[str, np.ndarray], so_far: Measurement
    ) -> tuple[Outputs, Measurement]:
        """({output: what it is under the plan}, the measurement with a batch's noises and sums).
        reference: its tensors in float, which go as they are compared."""
        source, points, sums = self.source, dict(so_far.points), dict(so_far.sums)

        def compare(node: Node | None, tensor: Any) -> None:
            name = node.name if node else INPUT
            if (
                node
                and name in self.watched
                and isinstance(tensor, Tensor)
                and tensor.sums is not None
            ):
                weighted = name if node.layer.weighted else node.inputs[0]
                batch = SumRange(*tensor.sums, tensor.overflows)
                sums[weighted] = sums.get(weighted, SumRange()) + batch
            if name in self.makers:
                point = self.makers[name]
                noise = noise_of(reference.pop(name), tensor)
                check_finite(name, noise.signal)
                points[point] = points.get(point, PointNoise()) + noise

        first = source.first_image + so_far.images
        run = Run(compare, self.watched, first_image=first)
        made = outputs(source.network, self.weights, self.plan, images, source.ops, run)
        return made, replace(so_far, points=points, sums=sums)


def _ranked(
    so_far: Measurement, wanted: np.ndarray, got: np.ndarray, labels: np.ndarray | None
) -> Measurement:
    """The measurement with a batch's outputs ranked: by their labels, and by each other."""
    so_far = replace(
        so_far, agreement=so_far.agreement.plus(got, of_classes(wanted).argmax(axis=1))
    )
    if labels is None:
        return so_far
    return replace(
        so_far,
        float_=so_far.float_.plus(wanted, labels),
        quantized=so_far.quantized.plus(got, labels),
    )
