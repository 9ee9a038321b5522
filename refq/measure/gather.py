"""What a scheme wants to know of calibration images, gathered in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

from refq import kernels
from refq.measure.energy import filter_energies
from refq.measure.side_by_side import Batches, Progress, calibrate, count_codes, count_maps
from refq.networks import Network
from refq.networks.weights import Weights
from refq.schemes import Options
from refq.schemes.statistics import Statistics


@dataclass(frozen=True)
class Source:
    """Calibration images and the network that they run through.

    batches: makes a fresh stream of them. progress: told of images, for what and then how many at
    a time.
    """

    network: Network
    weights: Weights
    batches: Callable[[], Batches]
    ops: ModuleType = kernels
    progress: Callable[[str], Progress] = lambda what: lambda images: None


def gather(
    scheme: ModuleType, options: Options, source: Source, known: Statistics | None = None
) -> Statistics | None:
    """What the scheme wants to know of the images; None for nothing.

    known: what earlier calls with the same source found. It is kept, and what it has already is
    not gathered again.
    """
    network, weights, ops, found = source.network, source.weights, source.ops, known
    if scheme.needs_statistics(options):
        also = scheme.watched(network, options) if hasattr(scheme, "watched") else set()
        before = found or Statistics()
        if not before.images or not also <= before.histograms.keys():
            made = calibrate(
                network,
                weights,
                source.batches(),
                ops,
                source.progress("calibrate"),
                also | before.histograms.keys(),
            )
            # what was there stays, so that no plan depends on what others asked for meanwhile
            found = replace(
                made,
                histograms={**made.histograms, **before.histograms},
                codes=before.codes,
                frac_bits=before.frac_bits,
                maps=before.maps,
                energies=before.energies,
            )
    if hasattr(scheme, "code_frac_bits"):
        frac_bits = scheme.code_frac_bits(network, found, options)
        if found is None or found.frac_bits != frac_bits:
            found = count_codes(
                network,
                weights,
                source.batches(),
                found or Statistics(),
                frac_bits,
                options.rounding,
                ops,
                source.progress("count codes"),
            )
    if hasattr(scheme, "mapped") and scheme.mapped(options):
        also = scheme.watched(network, options)
        if not (found and found.maps and also <= found.maps.keys()):
            found = count_maps(
                network,
                weights,
                source.batches(),
                found or Statistics(),
                ops,
                source.progress("feature maps"),
                also,
            )
    wanted = hasattr(scheme, "needs_energies") and scheme.needs_energies(options)
    if wanted and not (found and found.energies):
        energies = filter_energies(
            network, weights, source.batches(), ops, source.progress("energies")
        )
        found = replace(found or Statistics(), energies=energies)
    return found
