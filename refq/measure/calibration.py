"""What a scheme wants to know of calibration images, gathered in as few passes as there can be."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace
from typing import Any

import numpy as np

from refq import kernels
from refq.formats.fixed import FixedPointFormat, Rounding
from refq.measure import energy
from refq.measure.streaming import Collector, Source, collect
from refq.networks.graph import INPUT, Network
from refq.networks.points import storage_points
from refq.schemes.statistics import CODE_BITS, Statistics, Wanted, of_tensor


def gather(wanted: Wanted, source: Source, known: Statistics | None = None) -> Statistics | None:
    """What is wanted of the images; None for nothing. One pass over them, in float; two where
    histograms tell the fraction bits of codes.

    known: what earlier calls with the same source found. It is kept, and what it has already is
    not gathered again.
    """
    if wanted == Wanted():
        return known
    statistics = known or Statistics()
    if callable(wanted.code_frac_bits):
        statistics = _pass(replace(wanted, code_frac_bits=None), source, statistics)
        wanted = replace(wanted, code_frac_bits=wanted.code_frac_bits(statistics))
    return _pass(wanted, source, statistics)


def _pass(wanted: Wanted, source: Source, statistics: Statistics) -> Statistics:
    """Statistics with what is wanted and not known yet; no pass where that is nothing."""
    frac_bits = wanted.code_frac_bits
    assert not callable(frac_bits)
    if frac_bits is not None and frac_bits != statistics.frac_bits:
        statistics = replace(statistics, codes={}, frac_bits=frac_bits)
    collectors = _missing(wanted, source, statistics)
    if not collectors:
        return statistics
    collect(source, list(collectors.values()))
    made: dict[str, Any] = {
        name: {**getattr(statistics, name), **collector.totals}
        for name, collector in collectors.items()
    }
    if "energies" in made:
        made["energies"] = energy.of_filters(source, collectors["energies"])
    return replace(statistics, images=next(iter(collectors.values())).images, **made)


def _missing(wanted: Wanted, source: Source, statistics: Statistics) -> dict[str, Collector]:
    """{field of Statistics: what collects it} of all that is wanted and not known yet."""
    tensors = quantized(source.network) | wanted.also
    out = {}
    if wanted.histograms and (new := tensors - statistics.histograms.keys()):
        out["histograms"] = _of_each("calibrate", new, kernels.float_histogram)
        out["extremes"] = Collector("calibrate", new, _extremes, _wider)
    if wanted.maps and (new := tensors - statistics.maps.keys()):
        out["maps"] = _of_each("feature maps", new, kernels.exponent_histograms)
    frac_bits = wanted.code_frac_bits
    assert not callable(frac_bits)
    if frac_bits is not None and (new := tensors - statistics.codes.keys()):
        signed = _signed(source.network)

        def counted(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
            fmt = FixedPointFormat(CODE_BITS, of_tensor(frac_bits, name), name in signed)
            return {name: code_counts(values, fmt, wanted.rounding)}

        out["codes"] = Collector("count codes", new, counted)
    if wanted.energies and not statistics.energies:
        out["energies"] = energy.grams(source)
    return out


def quantized(network: Network) -> set[str]:
    """Tensors, but the image, that plans have formats of their own for."""
    return {name for point in storage_points(network) for name in point.makers} - {INPUT}


def _signed(network: Network) -> set[str]:
    """Tensors whose point is signed, as all that share it have one format."""
    return {name for point in storage_points(network) if point.signed for name in point.tensors}


def code_counts(values: np.ndarray, fmt: FixedPointFormat, rounding: Rounding) -> np.ndarray:
    """How often each code of a format occurs, int64 (2**bits,), from the least one up; values
    beyond it count as its ends."""
    codes, _ = kernels.quantize(values, fmt, rounding)
    counts: np.ndarray = kernels.code_histogram(codes, fmt.min_code, 0, 1 << fmt.bits)
    return counts


def _of_each(
    what: str, tensors: Set[str], statistic: Callable[[np.ndarray], np.ndarray]
) -> Collector:
    """Collects a statistic of every tensor, by its name, that batches add up to."""
    return Collector(what, tensors, lambda name, values: {name: statistic(values)})


def _extremes(name: str, values: np.ndarray) -> dict[str, tuple[float, float]]:
    return {name: (float(values.min()), float(values.max()))}


def _wider(one: tuple[float, float], two: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], two[0]), max(one[1], two[1])
