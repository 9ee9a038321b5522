"""Statistics of calibration images: in as few passes as there can be, the same in any company."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from refq import kernels, networks, schemes
from refq.engine.forward import Run, forward
from refq.formats.fixed import FixedPointFormat, Rounding
from refq.measure.calibration import code_counts, gather, quantized
from refq.measure.noise import makers, storage_noise
from refq.measure.streaming import Batches, Collector, Source, collect
from refq.networks import Network
from refq.networks.graph import INPUT
from refq.networks.points import storage_points
from refq.networks.weights import Weights, random_weights
from refq.schemes import Options
from refq.schemes.hybrid_options import HybridOptions
from refq.schemes.statistics import Statistics, Wanted
from tests.small_networks import shortcut, uneven


class Counting:
    """Makes fresh streams of batches, and counts them."""

    def __init__(self, network: Network) -> None:
        rng = np.random.default_rng(8)
        shape = network.input_shape
        self.parts = [rng.integers(-128, 128, (n, *shape)).astype(np.float32) for n in (3, 4, 2)]
        self.streams = 0

    def __call__(self) -> Batches:
        self.streams += 1
        return ((images, None) for images in self.parts)


def case(name: str = "squeezenet1_1") -> tuple[Network, Weights]:
    if name == "shortcut":
        return shortcut(), uneven(shortcut(), 2)
    network = networks.build(name, {"input_size": 67, "width": 0.1, "classes": 7})
    return network, random_weights(network, 4)


ONE = ["calibrate"]
ASKED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("float", {}, []),
    ("uniform", {}, ONE),
    ("uniform", {"frac_act": 3}, []),
    ("enq", {}, ONE),
    ("enq", {"frac_act": 3}, ONE),
    ("enq", {"frac_act": 3, "qm": "global"}, []),
    ("clnq", {}, ONE),
    ("clnq", {"allocate": "all"}, ONE),
    ("knq", {}, [*ONE, "count codes"]),  # histograms tell F, and F the codes
    ("knq", {"frac_act": 3}, ["count codes"]),
    ("hybrid", {}, ONE),
    ("hybrid", {"hybrid": HybridOptions(data_granularity="map")}, ONE),
    ("hybrid", {"hybrid": HybridOptions(accumulated="range")}, ONE),
    ("hybrid", {"hybrid": HybridOptions(data_granularity="map", accumulated="kernel")}, ONE),
    ("hybrid", {"hybrid": HybridOptions(formats="affine", float_data=True)}, ONE),
    ("energy", {}, ONE),
    ("energy", {"hybrid": HybridOptions(data_granularity="map", accumulated="kernel")}, ONE),
    ("clustered", {"hybrid": HybridOptions(data_granularity="map", accumulated="range")}, ONE),
    ("ristretto", {}, ONE),
    ("ristretto", {"numbers": "minifloat"}, ONE),
    ("tensorflow", {}, []),
    ("tensorflow", {"mode": "eightbit"}, ONE),
]


def test_every_scheme_is_asked() -> None:
    assert {scheme for scheme, _, _ in ASKED} == set(schemes.known())


@pytest.mark.parametrize(("scheme", "options", "passes"), ASKED, ids=str)
def test_passes_over_the_images(scheme: str, options: dict[str, Any], passes: list[str]) -> None:
    """One, unless a statistic needs another first; none where all is known."""
    (network, weights), chosen, told = case(), Options(**options), []

    def progress(what: str) -> Any:
        seen: list[int] = []
        told.append((what, seen))
        return seen.append

    batches, module = Counting(network), schemes.find(scheme)
    source = Source(network, weights, batches, progress=progress)
    found = gather(module.wanted(network, chosen), source)
    assert told == [(what, [3, 4, 2]) for what in passes] and batches.streams == len(passes) <= 2
    assert found.images == 9 if found else not passes
    module.plan(network, weights, found, chosen)
    assert gather(module.wanted(network, chosen), source, found) is found
    assert batches.streams == len(passes)


@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet", "googlenet", "shortcut"])
def test_statistics_share_a_pass(name: str) -> None:
    """All at once, sums before their ReLU among them, as each by itself, bit for bit."""
    network, weights = case(name)
    batches = Counting(network)
    source = Source(network, weights, batches)
    also = {INPUT, *(node.name for node in network.nodes)}
    together = gather(
        Wanted(
            histograms=True,
            maps=True,
            energies=True,
            code_frac_bits=2,
            rounding=Rounding.TO_ZERO,
            also=also,
        ),
        source,
    )
    assert together is not None and batches.streams == 1
    alone = [
        gather(Wanted(histograms=True), source),
        gather(Wanted(maps=True), source),
        gather(Wanted(code_frac_bits=2, rounding=Rounding.TO_ZERO), source),
    ]
    for statistics in alone:
        assert statistics is not None
        for field in ("histograms", "extremes", "maps", "codes"):
            part = getattr(statistics, field)
            assert not part or part.keys() == quantized(network)
            for tensor, value in part.items():
                np.testing.assert_array_equal(getattr(together, field)[tensor], value)
    energies = gather(Wanted(energies=True), source)
    assert energies is not None and list(energies.energies) == list(together.energies)
    for layer, value in energies.energies.items():
        np.testing.assert_array_equal(together.energies[layer], value)


def test_statistics_are_those_of_the_tensors() -> None:
    network, weights = case("alexnet")
    batches = Counting(network)
    tensors: dict[str, list[np.ndarray]] = {}
    run = Run(
        lambda node, x: tensors.setdefault(node.name if node else INPUT, []).append(x),
        watch=set(network.shapes),
    )
    for images in batches.parts:
        forward(network, weights, None, images, run=run)
    wanted = Wanted(
        histograms=True, maps=True, code_frac_bits=1, rounding=Rounding.TO_POS, also={INPUT}
    )
    found = gather(wanted, Source(network, weights, batches))
    assert found is not None and found.frac_bits == 1
    assert found.histograms.keys() == quantized(network) | {INPUT}
    signed = {name for point in storage_points(network) if point.signed for name in point.tensors}
    assert signed and quantized(network) - signed
    for name, counts in found.histograms.items():
        whole = np.concatenate(tensors[name])
        np.testing.assert_array_equal(counts, kernels.float_histogram(whole))
        assert found.extremes[name] == (whole.min(), whole.max())
        np.testing.assert_array_equal(found.maps[name], kernels.exponent_histograms(whole))
        fmt = FixedPointFormat(16, 1, name in signed)
        np.testing.assert_array_equal(found.codes[name], code_counts(whole, fmt, Rounding.TO_POS))


def test_only_what_is_missing_is_gathered() -> None:
    network, weights = case()
    source = Source(network, weights, Counting(network))
    known = gather(Wanted(histograms=True), source)
    assert known is not None
    sums = {node.name for node in network.weighted}
    more = gather(Wanted(histograms=True, also=sums), source, known)
    assert more is not None and more.histograms.keys() == quantized(network) | sums
    assert all(more.histograms[name] is counts for name, counts in known.histograms.items())
    # codes of another F take the place of those that were counted
    one = gather(Wanted(code_frac_bits=1), source, more)
    two = gather(Wanted(code_frac_bits=2), source, one)
    fresh = gather(Wanted(code_frac_bits=2), source)
    assert one is not None and two is not None and fresh is not None
    assert (one.frac_bits, two.frac_bits) == (1, 2) and two.codes.keys() == fresh.codes.keys()
    for name, counts in fresh.codes.items():
        np.testing.assert_array_equal(two.codes[name], counts)
    for field in fields(Statistics):
        if field.name not in ("codes", "frac_bits"):
            assert getattr(two, field.name) == getattr(more, field.name)


def test_parts_are_joined_in_the_order_of_the_stream() -> None:
    """Sums of float64 depend on it."""
    network, weights = case("shortcut")
    collector = Collector("order", {"last", "sum"}, lambda name, x: {"all": [(name, len(x))]})
    collect(Source(network, weights, Counting(network)), [collector])
    assert collector.totals == {"all": [(name, n) for n in (3, 4, 2) for name in ("sum", "last")]}


def test_ctrl_c_leaves_whole_batches() -> None:
    network, weights = case()
    batches = Counting(network)

    def stopped() -> Iterator[tuple[np.ndarray, None]]:
        yield batches.parts[0], None
        yield batches.parts[1], None
        raise KeyboardInterrupt

    name = network.weighted[0].name
    collector = Collector("sizes", {name}, lambda name, values: {name: len(values)})
    with pytest.raises(KeyboardInterrupt):
        collect(Source(network, weights, stopped), [collector])
    assert (collector.images, collector.totals) == (7, {name: 7})


def test_storage_noise_is_of_storage_alone() -> None:
    """At every point, from float values; tensors of one point added up in order."""
    network, weights = case("googlenet")
    source = Source(network, weights, Counting(network))
    enq, plans = schemes.find("enq"), {}
    for bits in (2, 5):
        chosen = Options(bits_act=bits)
        statistics = gather(enq.wanted(network, chosen), source)
        plans[f"{bits} bits"] = enq.plan(network, weights, statistics, chosen)
    kept = Collector("tensors", quantized(network), lambda name, x: {name: [x]})
    collect(source, [kept])
    found = storage_noise(source, plans)
    for label, plan in plans.items():
        assert found[label].keys() == set(makers(network).values()) - {"conv1/7x7_s2"}
        for point in storage_points(network):
            if INPUT in point.makers:
                continue
            signal = noise = 0.0
            for batch in range(3):
                for name in point.makers:
                    entry, values = plan.tensors[name], kept.totals[name][batch]
                    codes, _ = kernels.quantize(values, entry.format)
                    codes = entry.storage.kept(codes, kernels)
                    own = kernels.energies(values, codes, entry.format.frac_bits)
                    signal, noise = signal + own[0], noise + own[1]
            assert (found[label][point.name].signal, found[label][point.name].noise) == (
                signal,
                noise,
            )
