"""Energies of all filters of a layer: by their definition, and by Gram matrices.

    python benchmarks/bench_energy.py --channels 512 --outputs 512 --size 28

The definition makes every partial map, squares and sums it: in NumPy, channel by channel, its
patches times all filters by BLAS in float32, in blocks that stay in the cache, on as many threads
as refq; in torch the same by unfold (left out where torch is not installed). It is slow, so by
default it gets the first of the images only, and its time for all is extrapolated and marked so.
Contenders take turns in every round; figures are medians.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads take channels, not parts of a product

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.peers import machine
from refq import kernels
from refq.measure.energy import energies_of

SEED = 1
BLOCK_PIXELS = 256  # the fastest of 224 to 3136 for 256 filters


@dataclass(frozen=True)
class Case:
    """A convolution: weights (O,I,k,k) on square images, padded by the same on all sides."""

    weight: np.ndarray
    stride: int
    pad: int

    def grams(self, x: np.ndarray) -> np.ndarray:
        pads = (self.pad,) * 4
        return kernels.patch_grams(x, self.weight.shape[2:], (self.stride,) * 2, pads)

    def by_grams(self, x: np.ndarray) -> np.ndarray:
        return energies_of(self.weight, self.grams(x))

    def by_definition(self, x: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """Each partial map made, squared and summed: products in dtype, sums of blocks float64."""
        outputs, inputs, kernel = self.weight.shape[:3]
        padded = np.pad(x, ((0, 0), (0, 0), (self.pad, self.pad), (self.pad, self.pad)))
        # (N, I, rows, columns, k, k) without copying
        seen = sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
        seen = seen[:, :, :: self.stride, :: self.stride]
        rows, columns = seen.shape[2:4]
        height = max(1, BLOCK_PIXELS // columns)

        def channel(c: int) -> np.ndarray:
            filters: np.ndarray = self.weight[:, c].reshape(outputs, -1).astype(dtype)
            total = np.zeros(outputs)
            for image in seen[:, c]:
                for top in range(0, rows, height):
                    part = image[top : top + height].transpose(2, 3, 0, 1)
                    patches = part.astype(dtype, order="C").reshape(kernel * kernel, -1)
                    maps = filters @ patches
                    total += np.vecdot(maps, maps)
            return total

        with ThreadPoolExecutor(numba.get_num_threads()) as pool:
            return np.stack(list(pool.map(channel, range(inputs))), axis=1)

    def by_torch(self, x: np.ndarray) -> np.ndarray:
        """The same in torch, an image at a time: faster here than its conv2d."""
        import torch

        torch.set_num_threads(numba.get_num_threads())
        outputs, inputs, kernel = self.weight.shape[:3]
        filters = torch.from_numpy(self.weight).reshape(outputs, inputs, -1)
        filters = filters.transpose(0, 1).contiguous()
        total = torch.zeros((inputs, outputs), dtype=torch.float64)
        for image in torch.from_numpy(x):
            for c in range(inputs):
                patches = torch.nn.functional.unfold(
                    image[None, c : c + 1], kernel, padding=self.pad, stride=self.stride
                )
                total[c] += (filters[c] @ patches[0]).square_().sum(1)
        return total.T.numpy()


def probe_images(count: int, channels: int, size: int) -> np.ndarray:
    """What a convolution reads after a ReLU: half zeros, neighbours alike; float32 (N,C,H,W)."""
    x = np.random.default_rng(SEED).standard_normal((count, channels, size, size), np.float32)
    x[:, :, :, 1:] += x[:, :, :, :-1]
    x[:, :, 1:] += x[:, :, :-1]
    return np.maximum(x, 0, out=x)


def difference(got: np.ndarray, wanted: np.ndarray) -> float:
    """Greatest relative difference of an energy."""
    return float((np.abs(got - wanted) / wanted).max())


def measure(case: Case, x: np.ndarray, some: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each contender; the definition's times are of `some` images, scaled to all."""
    contenders: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
        "definition, NumPy": (case.by_definition, some),
        "definition, torch": (case.by_torch, some),
        "refq": (case.by_grams, len(x)),
    }
    if find_spec("torch") is None:
        print("torch is not installed: left out", file=sys.stderr)
        del contenders["definition, torch"]
    for run, _ in contenders.values():
        run(x[:1])  # compiles, makes threads
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in tqdm(range(rounds), disable=None, leave=False):
        for name, (run, count) in contenders.items():
            began = time.perf_counter()
            run(x[:count])
            seconds[name].append((time.perf_counter() - began) * len(x) / count)
    ours = case.by_grams(x[:some])
    rows: list[dict[str, Any]] = []
    for name, (run, count) in contenders.items():
        # of the same round: the clock of a shared machine varies
        ratio = [other / own for other, own in zip(seconds[name], seconds["refq"])]
        row = {"contender": name, "seconds": statistics.median(seconds[name])}
        row |= {"images_run": count, "refq_faster_by": statistics.median(ratio)}
        row |= {"refq_differs_by": None if name == "refq" else difference(ours, run(x[:some]))}
        rows.append(row)
    # the same sums with less rounding: what float32 products leave of a difference
    exact = difference(case.by_grams(x[:1]), case.by_definition(x[:1], np.float64))
    rows.append({"contender": "definition in float64, 1 image", "refq_differs_by": exact})
    return rows


def show(rows: Sequence[dict[str, Any]], images: int) -> None:
    print(f"{'contender':<32}{'seconds':>10}{'refq faster by':>16}{'refq differs by':>17}")
    for row in rows:
        start, differs = f"{row['contender']:<32}", row["refq_differs_by"]
        end = f"{differs:>17.1e}" if differs is not None else f"{'':>17}"
        if "seconds" not in row:
            print(f"{start}{'':>26}{end}")
            continue
        some = row["images_run"]
        note = "" if some == images else f"  extrapolated from {some} images"
        print(f"{start}{row['seconds']:>10.3f}{row['refq_faster_by']:>15.1f}x{end}{note}".rstrip())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--outputs", type=int, default=256)
    parser.add_argument("--size", type=int, default=56, help="rows and columns of the input")
    parser.add_argument("--kernel", type=int, default=3)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--pad", type=int, default=1)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--definition-images", type=int, default=10, help="--images for no guess")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="also write the figures to this file")
    given = parser.parse_args(arguments)
    shape = (given.outputs, given.channels, given.kernel, given.kernel)
    weight = np.random.default_rng(SEED + 1).standard_normal(shape, np.float32)
    x = probe_images(given.images, given.channels, given.size)
    options = {key: value for key, value in vars(given).items() if key != "json"}
    some = min(given.definition_images, given.images)
    results = measure(Case(weight, given.stride, given.pad), x, some, given.rounds)
    print(f"{machine.line()}; {given.kernel}x{given.kernel}", end=", ")
    print(f"{given.channels} to {given.outputs} at {given.size}, {given.images} images", end=", ")
    print(f"medians of {given.rounds} rounds")
    show(results, given.images)
    machine.write(given.json, results, **options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
