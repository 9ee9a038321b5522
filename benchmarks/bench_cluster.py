"""K-means of one-dimensional codes: time, inertia and memory beside what else there is.

    pip install '.[benchmark]' && python benchmarks/bench_cluster.py --values 1e5 1e6 1e7

Peers that are not installed are skipped with a word: scikit-learn, kmeans1d, ckwrap (the last two
want a C++ compiler: install them by hand). Each runs in a process of its own, compiled and warmed
up on a few values. Codes reach a histogram part by part, as they are made; the time includes
counting, but not making them. The others are given all values in one array of the type they ask
for. Figures are medians over the rounds; memory is how far the process grew over what it held
before, the codes included.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.peers import machine
from refq import kernels
from refq.schemes import kmeans

PART = 1 << 20  # codes at a time
SEED = 1
Run = Callable[[], tuple[float, np.ndarray]]  # seconds, centroids


def activations(count: int, bits: int) -> Iterator[np.ndarray]:
    """Codes as a ReLU leaves them, int32, part by part: half zeros, a tail that saturates."""
    top = (1 << bits) - 1
    for number, begin in enumerate(range(0, count, PART)):
        rng = np.random.default_rng((SEED, number))
        size = min(PART, count - begin)
        real = np.maximum(0, rng.normal(0, 1, size)) * rng.gamma(2, 1, size)
        yield np.minimum(np.rint(real * (top / 8)), top).astype(np.int32)


def counted(count: int, bits: int) -> tuple[float, np.ndarray]:
    """Seconds spent on counting, and the histogram."""
    counts, seconds = np.zeros(1 << bits, np.int64), 0.0
    for part in activations(count, bits):
        began = time.perf_counter()
        counts += kernels.code_histogram(part, 0, 0, 1 << bits)
        seconds += time.perf_counter() - began
    return seconds, counts


@dataclass(frozen=True)
class Contender:
    """prepare(count, bits, k) makes what the contender is given; it may not be timed.

    most: values beyond which it takes too long or too much memory.
    """

    package: str
    most: int
    prepare: Callable[[int, int, int], Run]


def _streamed(
    solve: Callable[[np.ndarray, np.ndarray, int], np.ndarray],
) -> Callable[[int, int, int], Run]:
    def prepare(count: int, bits: int, k: int) -> Run:
        def run() -> tuple[float, np.ndarray]:
            seconds, counts = counted(count, bits)
            began = time.perf_counter()
            centroids = solve(np.arange(1 << bits), counts, k)
            return seconds + time.perf_counter() - began, centroids

        return run

    return prepare


def _whole(
    dtype: type, solve: Callable[[np.ndarray, int], np.ndarray]
) -> Callable[[int, int, int], Run]:
    def prepare(count: int, bits: int, k: int) -> Run:
        x: np.ndarray = np.empty(count, dtype)
        at = 0
        for part in activations(count, bits):
            x[at : at + part.size] = part
            at += part.size

        def run() -> tuple[float, np.ndarray]:
            began = time.perf_counter()
            centroids = solve(x, k)
            return time.perf_counter() - began, centroids

        return run

    return prepare


def _exact(values: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    return kmeans.exact(values, counts, k).centroids


def _lloyd_histogram(values: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    return kmeans.lloyd_histogram(values, counts, k, kmeans.Course(SEED)).centroids[:, 0]


def _lloyd(x: np.ndarray, k: int) -> np.ndarray:
    return kmeans.lloyd(x[:, None], k, course=kmeans.Course(SEED, tolerance=1e-4)).centroids[:, 0]


def _scikit_learn(x: np.ndarray, k: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    found = KMeans(k, random_state=SEED).fit(x[:, None]).cluster_centers_
    return np.asarray(found)[:, 0]


def _scikit_learn_histogram(values: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    column = values[:, None].astype(np.float64)
    found = KMeans(k, random_state=SEED).fit(column, sample_weight=counts).cluster_centers_
    return np.asarray(found)[:, 0]


def _kmeans1d(x: np.ndarray, k: int) -> np.ndarray:
    import kmeans1d

    return np.array(kmeans1d.cluster(x, k).centroids)


def _ckwrap(x: np.ndarray, k: int) -> np.ndarray:
    import ckwrap

    return np.asarray(ckwrap.ckmeans(x, k).centers)


CONTENDERS = {
    "refq exact": Contender("", 10**9, _streamed(_exact)),
    "refq Lloyd, histogram": Contender("", 10**9, _streamed(_lloyd_histogram)),
    "refq Lloyd, values": Contender("", 10**7, _whole(np.float32, _lloyd)),
    "scikit-learn": Contender("sklearn", 10**8, _whole(np.float32, _scikit_learn)),
    "scikit-learn, histogram": Contender("sklearn", 10**9, _streamed(_scikit_learn_histogram)),
    "kmeans1d": Contender("kmeans1d", 10**6, _whole(np.float64, _kmeans1d)),
    "ckwrap": Contender("ckwrap", 10**6, _whole(np.float64, _ckwrap)),
}


def inertia(counts: np.ndarray, centroids: np.ndarray) -> float:
    """The one measure for all: of every code to the centroid nearest to it."""
    values, ordered = np.arange(counts.size), np.sort(centroids.astype(np.float64))
    nearest = ordered[np.searchsorted((ordered[1:] + ordered[:-1]) / 2, values)]
    return float((counts * (values - nearest) ** 2).sum())


def resident(field: str) -> int | None:
    """A figure of /proc/self/status in bytes; None on a machine that has none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")]
    return found[0] if found else None


def run_one(name: str, count: int, bits: int, k: int, rounds: int) -> dict[str, Any]:
    """In a process of its own."""
    contender = CONTENDERS[name]
    contender.prepare(max(1000, 2 * k), bits, k)()  # compiles, imports
    before = resident("VmRSS")
    run = contender.prepare(count, bits, k)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    except OSError:
        before = None
    seconds = []
    for _ in range(rounds):
        taken, centroids = run()
        seconds.append(taken)
    peak = resident("VmHWM")
    return {
        "ms": 1e3 * statistics.median(seconds),
        "inertia": inertia(counted(count, bits)[1], centroids),
        "bytes": peak - before if peak is not None and before is not None else None,
    }


def skipped(name: str, count: int) -> str:
    """Why a contender does not take part, or ""."""
    contender = CONTENDERS[name]
    if contender.package and importlib.util.find_spec(contender.package) is None:
        return "not installed"
    if count > contender.most:
        return f"not run above {contender.most:.0e} values"
    return ""


def measure(
    names: Sequence[str], sizes: Sequence[int], bits: int, k: int, rounds: int
) -> list[dict[str, Any]]:
    cases = [(name, count) for count in sizes for name in names]
    results = []
    for name, count in tqdm(cases, disable=None, leave=False):
        row: dict[str, Any] = {"contender": name, "values": count}
        row["skipped"] = skipped(name, count)
        if not row["skipped"]:
            asked = json.dumps([name, count, bits, k, rounds])
            ran = subprocess.run(
                [sys.executable, __file__, "--one", asked], capture_output=True, text=True
            )
            if ran.returncode:
                said = ran.stderr.strip().splitlines()[-1:] or [f"exit {ran.returncode}"]
                row["skipped"] = f"failed: {said[0]}"
            else:
                row |= json.loads(ran.stdout)
        results.append(row)
    return results


def show(results: Sequence[dict[str, Any]]) -> None:
    print(f"{'contender':<26}{'values':>12}{'ms':>12}{'inertia':>22}{'excess':>11}{'MB':>10}")
    for row in results:
        start = f"{row['contender']:<26}{row['values']:>12,}"
        if row["skipped"]:
            print(f"{start}  {row['skipped']}")
            continue
        # over the least of the same values
        least = min(
            other["inertia"]
            for other in results
            if other["values"] == row["values"] and not other["skipped"]
        )
        excess = row["inertia"] / least - 1 if least else 0.0
        memory = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"
        print(f"{start}{row['ms']:>12.1f}{row['inertia']:>22.6e}{excess:>11.2e}{memory:>10}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--values", type=float, nargs="+", default=[1e5, 1e6, 1e7, 1e8])
    parser.add_argument("--clusters", type=int, default=32)
    parser.add_argument("--bits", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="contenders whose name has this")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        print(json.dumps(run_one(*json.loads(given.one))))
        return 0
    names = [name for name in CONTENDERS if given.only in name]
    if not names:
        parser.error(f"no contender has {given.only!r} in its name")
    sizes = [int(count) for count in given.values]
    results = measure(names, sizes, given.bits, given.clusters, given.rounds)
    print(f"{machine.line()}; {given.bits}-bit codes, {given.clusters} clusters")
    show(results)
    machine.write(given.json, results, bits=given.bits, clusters=given.clusters)
    return 0


if __name__ == "__main__":
    sys.exit(main())
