"""K-means nonuniform quantization, KNQ (paper A, section III-A; contract section 2).

An activation's uniform code x is stored as the index of one of 2**T values, which k-means places
where the layer's activations are (paper A, eq. 2), and comes back as that value. Signed codes do
likewise, zero among the values, which is refq's extension.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from refq.formats.codes import Codebook
from refq.formats.fixed import FixedPointFormat
from refq.networks import Network
from refq.networks.graph import INPUT
from refq.networks.points import storage_points
from refq.networks.weights import Weights
from refq.plans.plan import Plan, TensorPlan
from refq.schemes import choice, kmeans
from refq.schemes.options import Options, When
from refq.schemes.statistics import FracBits, Statistics, Wanted, of_tensor

DEFAULT_BITS = 5
SEARCHED = range(1, 9)
SEARCH = "sensitivity"
RANDOM = ("lloyd-random", "lloyd++")
READS = (
    *choice.FINISHED,
    *choice.ONE_F,
    choice.COVERED,
    "assign",
    "kmeans",
    "saturate",
    When("kmeans_iterations", lambda o: o.kmeans != "exact", "one of Lloyd's --kmeans"),
    When("seed", lambda o: o.kmeans in RANDOM, f"--kmeans {' or '.join(RANDOM)}"),
)


def wanted(network: Network, options: Options) -> Wanted:
    """The codes that k-means works on, at the network's F or each layer's, which histograms tell
    unless it is given."""

    def frac_bits(statistics: Statistics) -> FracBits:
        points = storage_points(network)
        if options.frac_by == "network":
            return choice.network_frac_bits(points, statistics, options, choice.BASE_BITS)
        codes = replace(options, bits_act=choice.BASE_BITS)
        known = choice.frac_bits_of(points, statistics, codes, lambda point: choice.BASE_BITS)
        return {name: known[p.name] for p in points if p.name in known for name in p.makers}

    given = options.frac_act
    return Wanted(
        histograms=given is None,
        code_frac_bits=frac_bits if given is None else given,
        rounding=options.rounding,
    )


def plan(
    network: Network, weights: Weights, statistics: Statistics | None, options: Options
) -> Plan:
    """T = bits_act (or widths). The codes that are clustered have 12 bits, larger values saturated
    (the paper's pre-process, M = (2**12 - 1) 2**-F), or as many as they need, at most 16."""
    points = storage_points(network)
    choice.check_widths(points, options.widths)
    bits = options.bits_act or DEFAULT_BITS
    assert statistics is not None and statistics.frac_bits is not None  # wanted asked
    chosen, frac_bits = {}, dict[str, int]()
    for point in points:
        if INPUT in point.makers:
            chosen[point.name] = choice.image_plan(point, options)
            continue
        kept, code = choice.code_width(point, options.widths, bits), None
        counts = statistics.joined_codes(point.makers)
        value_bits, own = choice.BASE_BITS, of_tensor(statistics.frac_bits, point.makers[0])
        frac_bits[point.name] = own
        if not options.saturate:
            value_bits = max(value_bits, needed_bits(counts, point.signed))
        fmt = FixedPointFormat(value_bits, own, point.signed)
        if kept < value_bits:
            values = centroids(saturated(counts, fmt), 1 << kept, options, fmt.min_code)
            code = Codebook(kept, values, options.assign == "nearest")
        chosen[point.name] = TensorPlan(fmt, code)
    settings = {
        "bits_act": bits,
        **choice.told_frac_bits(options, frac_bits),
        "widths": dict(options.widths),
        "assign": options.assign,
        "kmeans": options.kmeans,
        **({} if options.kmeans == "exact" else {"kmeans_iterations": options.kmeans_iterations}),
        "saturate": options.saturate,
        "coverage": options.coverage,
    }
    made = choice.Chosen(points=chosen, settings=settings)
    return choice.finish(network, weights, options, "knq", made)


def needed_bits(counts: np.ndarray, signed: bool) -> int:
    """Bits of all codes that occur. counts: as of Statistics."""
    used = np.flatnonzero(counts) - (len(counts) // 2 if signed else 0)
    return max(int(used[-1]), ~int(used[0])).bit_length() + signed


def saturated(counts: np.ndarray, fmt: FixedPointFormat) -> np.ndarray:
    """Counts of the codes of a format, int64 (2**bits,): those beyond count as its ends.

    counts: as of Statistics, signed where the format is."""
    first = len(counts) // 2 + fmt.min_code if fmt.signed else 0
    last = first + (1 << fmt.bits)
    kept = counts[first:last].copy()
    kept[0] += counts[:first].sum()
    kept[-1] += counts[last:].sum()
    return kept


def centroids(counts: np.ndarray, k: int, options: Options, least: int = 0) -> tuple[int, ...]:
    """k ascending codes for a histogram of codes from the least one on, int64 (B,): k-means'
    centroids rounded to fixed point, half to even. Where fewer codes occur than k, the last value
    fills the codebook up.

    Of codes of both signs one value is 0: where none is, 0 is one more, or, with k values there,
    it stands for the nearest one, of two the negative one.

    Kept: a search asks for many plans that differ at few points."""
    how = options.kmeans, options.kmeans_iterations, options.seed
    return _centroids(counts.astype(np.int64).tobytes(), least, k, *how)


@functools.lru_cache(maxsize=256)
def _centroids(
    histogram: bytes, least: int, k: int, method: str, iterations: int, seed: int
) -> tuple[int, ...]:
    counts = np.frombuffer(histogram, np.int64).copy()  # writable, as kernels expect
    values = least + np.arange(len(counts))
    if method == "exact":
        found = kmeans.exact(values, counts, k).centroids
    else:
        start = _start(values, counts, k, method, seed)
        course = kmeans.Course(seed, start, iterations, empty="keep")
        found = kmeans.lloyd_histogram(values, counts, k, course).centroids[:, 0]
    codes = [int(code) for code in np.rint(found)]
    if least < 0 and 0 not in codes:
        if len(codes) == k:
            codes.remove(min(codes, key=abs))
        codes = sorted([*codes, 0])
    return tuple(codes + codes[-1:] * (k - len(codes)))


def _start(
    values: np.ndarray, counts: np.ndarray, k: int, method: str, seed: int
) -> np.ndarray | None:
    """Where Lloyd's algorithm starts: evenly over all codes, or from 0 (or the least code that
    occurs) to the largest that occurs, at k random activations, which may be equal, or (None) by
    k-means++."""
    if method == "lloyd":
        return np.linspace(values[0], values[-1], k)
    if method == "lloyd-range":
        used = values[np.flatnonzero(counts)]
        return np.linspace(min(0, used[0]), max(0, used[-1]), k)
    if method == "lloyd-random":
        bits = np.random.PCG64(seed)  # whose raw bits are the same in every NumPy
        shares = np.array([(bits.random_raw() >> 11) * 2.0**-53 for _ in range(k)])
        drawn = np.searchsorted(np.cumsum(counts), shares * counts.sum(), "right")
        return np.sort(values[drawn]).astype(np.float64)
    return None
