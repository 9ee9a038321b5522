"""Accuracy, noise, saturation and accumulator use of a Plan, streamed over images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np

from refq import kernels
from refq.engine.coefficients import of_channels
from refq.engine.forward import Ready, Tensor, forward, ready
from refq.engine.integer import encoded
from refq.engine.simulated import Rounded
from refq.formats.codes import Codebook
from refq.formats.fixed import Rounding
from refq.measure.ranking import Ranking
from refq.networks.graph import INPUT, Network, Node
from refq.networks.layers import WEIGHTED
from refq.networks.points import storage_points
from refq.networks.weights import Weights
from refq.plans.plan import Plan
from refq.schemes.statistics import Statistics, add_batch, add_codes, add_maps

Batches = Iterable[tuple[np.ndarray, "np.ndarray | None"]]
Progress = Callable[[int], object]
HISTOGRAM_BITS = 16


@dataclass(frozen=True)
class PointNoise:
    """A point's energies, saturation and stored codes over all images.

    histogram: how often each stored code occurs, int64 (2**bits,), from the least code up; None
    for codes of more than 16 bits.
    """

    signal: float = 0.0
    noise: float = 0.0
    values: int = 0
    outside: int = 0
    histogram: np.ndarray | None = field(default=None, compare=False)
    zero: int = 0

    @property
    def sqnr_db(self) -> float | None:
        """10 log10(signal / noise); None where there is no noise, or no signal."""
        if not (0.0 < self.noise < math.inf and 0.0 < self.signal < math.inf):
            return None
        return 10 * math.log10(self.signal / self.noise)

    @property
    def zero_share(self) -> float | None:
        """Share of values that are stored as zero."""
        return self.zero / self.values if self.values else None

    @property
    def entropy_bits(self) -> float | None:
        """Bits a value that no code of single values can go below: -sum p log2 p."""
        if self.histogram is None:
            return None
        shares = self.histogram[self.histogram > 0] / self.histogram.sum()
        return float(-(shares * np.log2(shares)).sum()) + 0.0


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


@dataclass(frozen=True)
class Measurement:
    """Everything measured over a stream of images; interrupted where it was cut short."""

    images: int = 0
    float_: Ranking = Ranking()  # noqa: RUF009 - frozen
    quantized: Ranking = Ranking()  # noqa: RUF009 - frozen
    agreement: Ranking = Ranking()  # noqa: RUF009 - frozen
    points: dict[str, PointNoise] = field(default_factory=dict)
    output: PointNoise = PointNoise()
    sums: dict[str, SumRange] = field(default_factory=dict)
    interrupted: bool = False


def measure(
    network: Network,
    weights: Weights,
    plan: Plan | None,
    batches: Batches,
    ops: ModuleType = kernels,
    progress: Progress = lambda images: None,
    keep_output: Callable[[np.ndarray], object] | None = None,
    first_image: int = 0,
) -> Measurement:
    """Runs float and, under a plan, integers or a simulation side by side over batches (images,
    labels).

    progress is told the size of each finished batch; keep_output gets each batch's final output
    (integers' under a plan). first_image is the first batch's place in the data set, for
    stochastic rounding. Ctrl-C ends the stream and returns what was measured so far.
    """
    own = ready(network, weights, plan, ops)
    result = Measurement()
    try:
        for images, labels in batches:
            result = _one_batch(
                network,
                weights,
                own,
                plan,
                images,
                labels,
                ops,
                result,
                keep_output,
                first_image + result.images,
            )
            progress(len(images))
    except KeyboardInterrupt:
        return replace(result, interrupted=True)
    return result


def _one_batch(
    network: Network,
    weights: Weights,
    own: Ready,
    plan: Plan | None,
    images: np.ndarray,
    labels: np.ndarray | None,
    ops: ModuleType,
    so_far: Measurement,
    keep_output: Callable[[np.ndarray], object] | None,
    first_image: int,
) -> Measurement:
    makers = {name: point.name for point in storage_points(network) for name in point.makers}
    reference: dict[str, np.ndarray] = {}
    last = network.nodes[-1]
    watched = {*makers, last.name}

    def remember(node: Node | None, tensor: Any) -> None:
        name = node.name if node else INPUT
        if name in makers:
            reference[name] = tensor

    wanted = forward(network, weights, None, images, ops, remember if plan else None, watch=watched)
    points, sums = dict(so_far.points), dict(so_far.sums)
    got = wanted
    if plan is not None:

        def compare(node: Node | None, tensor: Any) -> None:
            name = node.name if node else INPUT
            if not isinstance(tensor, Tensor):
                if name in makers:
                    before = points.get(makers[name], PointNoise())
                    points[makers[name]] = _rounding_with(before, reference.pop(name), tensor)
                return
            if tensor.sums is not None and node is not None and (name in makers or node is last):
                weighted = name if isinstance(node.layer, WEIGHTED) else node.inputs[0]
                sums[weighted] = _range_with(sums.get(weighted, SumRange()), tensor)
            if name in makers:
                before = points.get(makers[name], PointNoise())
                points[makers[name]] = _noise_with(before, reference.pop(name), tensor)

        got = forward(network, own, plan, images, ops, compare, first_image, watch=watched)
    if keep_output:
        keep_output(got)
    output = so_far.output
    if plan is not None:
        signal, noise = (
            float(np.square(wanted, dtype=np.float64).sum()),
            float(np.square(got - wanted, dtype=np.float64).sum()),
        )
        output = PointNoise(output.signal + signal, output.noise + noise, output.values + got.size)
    ranked = network.has_classifier
    known = ranked and labels is not None
    return Measurement(
        so_far.images + len(images),
        so_far.float_.plus(wanted, labels) if known and labels is not None else so_far.float_,
        so_far.quantized.plus(got, labels) if known and labels is not None else so_far.quantized,
        so_far.agreement.plus(got, wanted.argmax(axis=1)) if ranked else so_far.agreement,
        points,
        output,
        sums,
    )


def _range_with(before: SumRange, tensor: Tensor) -> SumRange:
    low, high = tensor.sums or (0, 0)
    return SumRange(
        min(before.low, low), max(before.high, high), before.overflows + tensor.overflows
    )


def _noise_with(before: PointNoise, reference: np.ndarray, tensor: Tensor) -> PointNoise:
    signal, noise = kernels.energies(reference, tensor.codes, tensor.frac_bits)
    counts, zero = _counts(tensor)
    if counts is not None and before.histogram is not None:
        counts = before.histogram + counts
    return PointNoise(
        before.signal + signal,
        before.noise + noise,
        before.values + reference.size,
        before.outside + tensor.outside,
        counts,
        before.zero + zero,
    )


def _rounding_with(before: PointNoise, reference: np.ndarray, tensor: Any) -> PointNoise:
    """Noise of a simulation's tensor, Rounded or a plain array; its values are not counted."""
    rounded = tensor if isinstance(tensor, Rounded) else Rounded(tensor)
    values = rounded.tensor
    error = np.subtract(reference, values, dtype=np.float64)
    return PointNoise(
        before.signal + float(np.square(reference, dtype=np.float64).sum()),
        before.noise + float(np.square(error).sum()),
        before.values + reference.size,
        before.outside + rounded.outside,
        None,
        before.zero + values.size - int(np.count_nonzero(values)),
    )


def _counts(tensor: Tensor) -> tuple[np.ndarray | None, int]:
    """(how often each stored code occurs, how often zero does); no counts of very wide codes."""
    entry = tensor.stored
    if entry is None or entry.stored_bits > HISTOGRAM_BITS:
        return None, tensor.codes.size - int(np.count_nonzero(tensor.codes))
    if isinstance(entry.code, Codebook):
        # a value's index is found again by encoding it; equal values count as one
        index = kernels.codebook_encode(tensor.codes, np.array(entry.code.thresholds, np.int64))
        counts = kernels.code_histogram(index, 0, 0, 1 << entry.stored_bits)
        zero = tensor.codes.size - int(np.count_nonzero(tensor.codes))
        return counts, zero
    low, drop = (0, entry.code.drop) if entry.code else (entry.format.min_code, 0)
    codes = tensor.codes
    if entry.drops:
        codes = np.right_shift(codes, of_channels(np.array(entry.drops), codes))
    counts = kernels.code_histogram(codes, low, drop, 1 << entry.stored_bits)
    return counts, int(counts[-low >> drop])


def rank(
    network: Network,
    weights: Weights,
    plan: Plan | None,
    batches: Batches,
    ops: ModuleType = kernels,
    progress: Progress = lambda images: None,
) -> Ranking:
    """Accuracy alone, for searches. Batches without labels raise ValueError."""
    own = ready(network, weights, plan, ops)
    result, seen = Ranking(), 0
    for images, labels in batches:
        if labels is None:
            raise ValueError("ranking needs labels")
        outputs = forward(network, own, plan, images, ops, first_image=seen)
        seen += len(images)
        result = result.plus(outputs, labels)
        progress(len(images))
    return result


def calibrate(
    network: Network,
    weights: Weights,
    batches: Batches,
    ops: ModuleType = kernels,
    progress: Progress = lambda images: None,
    also: Set[str] = frozenset(),
) -> Statistics:
    """Histograms and extremes of every tensor that a plan quantizes, and of others by name, over
    calibration images in float."""
    statistics = Statistics()
    for tensors, images in _made(network, weights, batches, ops, also):
        statistics = add_batch(statistics, tensors, images)
        progress(images)
    return statistics


def count_codes(
    network: Network,
    weights: Weights,
    batches: Batches,
    statistics: Statistics,
    frac_bits: int,
    rounding: Rounding,
    ops: ModuleType = kernels,
    progress: Progress = lambda images: None,
    also: Set[str] = frozenset(),
) -> Statistics:
    """Statistics with the codes that those tensors, and others by name, have at so many fraction
    bits."""
    statistics = replace(statistics, codes={})
    for tensors, images in _made(network, weights, batches, ops, also):
        statistics = add_codes(statistics, tensors, frac_bits, rounding)
        progress(images)
    return statistics


def count_maps(
    network: Network,
    weights: Weights,
    batches: Batches,
    statistics: Statistics,
    ops: ModuleType = kernels,
    progress: Progress = lambda images: None,
    also: Set[str] = frozenset(),
) -> Statistics:
    """Statistics with the exponents of every feature map that a plan quantizes, and of others by
    name of the tensor."""
    statistics = replace(statistics, maps={})
    for tensors, images in _made(network, weights, batches, ops, also):
        statistics = add_maps(statistics, tensors)
        progress(images)
    return statistics


def _made(
    network: Network,
    weights: Weights,
    batches: Batches,
    ops: ModuleType = kernels,
    also: Set[str] = frozenset(),
) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """(tensors that a plan quantizes, number of images) of every batch, in float."""
    makers = {name for point in storage_points(network) for name in point.makers} - {INPUT}
    makers |= also  # the image, too, where it is asked for
    for images, _ in batches:
        tensors: dict[str, np.ndarray] = {}

        def remember(node: Node | None, tensor: Any, into: dict[str, np.ndarray] = tensors) -> None:
            name = node.name if node else INPUT
            if name in makers:
                into[name] = tensor

        forward(network, weights, None, images, ops, remember, watch=makers)
        yield tensors, len(images)


def storage_noise(
    network: Network,
    weights: Weights,
    plans: Mapping[str, Plan],
    batches: Batches,
    progress: Progress = lambda images: None,
) -> dict[str, dict[str, PointNoise]]:
    """{plan: {point: noise}} of storage alone: each tensor is quantized, stored and decoded as its
    plan says, from float values that nothing before it has quantized."""
    makers = {name: point.name for point in storage_points(network) for name in point.makers}
    found: dict[str, dict[str, PointNoise]] = {label: {} for label in plans}
    for tensors, images in _made(network, weights, batches):
        for name, values in tensors.items():
            for label, plan in plans.items():
                entry = plan.tensors[name]
                codes, outside = kernels.quantize(
                    values, entry.format, plan.rounding, plan.overflow
                )
                tensor = Tensor(
                    encoded(codes, entry, kernels), entry.format.frac_bits, entry, outside
                )
                before = found[label].get(makers[name], PointNoise())
                found[label][makers[name]] = _noise_with(before, values, tensor)
        progress(images)
    return found
