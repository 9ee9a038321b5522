"""The kernels that cost time, each on its own, on each backend that this machine has.

    pip install '.[benchmark]' && python benchmarks/bench_kernels.py

Cases take turns in every round, so that a machine whose clock varies treats them alike; figures
are medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.peers import machine
from refq import kernels
from refq.formats.fixed import Accumulator, FixedPointFormat, Rounding
from refq.kernels import aligned, backends, float_maps, floats, fused, maps, panels
from refq.kernels.endings import Ending
from refq.networks.layers import NO_PADS, Conv, Pads

# label -> channels, size, outputs, window, stride, padding
CONVOLUTIONS = {
    "3x3, 3 to 64 at 224": (3, 224, 64, 3, 1, 1),
    "3x3, 64 to 64 at 224": (64, 224, 64, 3, 1, 1),
    "3x3, 256 to 256 at 56": (256, 56, 256, 3, 1, 1),
    "3x3, 512 to 512 at 14": (512, 14, 512, 3, 1, 1),
    "1x1, 64 to 256 at 56": (64, 56, 256, 1, 1, 0),
    "11x11, 3 to 96 at 227, stride 4": (3, 227, 96, 11, 4, 0),
    "dense, 25088 to 4096": (25088, 1, 4096, 1, 1, 0),
}
# bits of activations and weights
WIDTHS = [(8, 8), (5, 14), (12, 14), (16, 16)]


@dataclass(frozen=True)
class Case:
    """backend: one to force, or "" where the kernel has no choice; operations: of one run."""

    name: str
    backend: str
    operations: int
    run: Callable[[], Any]


def integer_convolutions(images: int, only: str) -> Iterator[Case]:
    rng = np.random.default_rng(1)
    for label, (channels, size, outputs, window, stride, pad) in CONVOLUTIONS.items():
        pads: Pads = (pad, pad, pad, pad)
        side = (size + 2 * pad - window) // stride + 1
        layout = maps.Layout(images, channels, size, size, pads)
        target_layout = maps.Layout(images, outputs, side, side, NO_PADS)
        for bits, weight_bits in WIDTHS:
            name = f"conv {bits}b x {weight_bits}b, {label}"
            if only not in name:
                continue
            if weight_bits > 14 and window == 1 and size == 1:
                continue  # the weights of this one would be most of a small machine's memory
            source, target = (maps.new_map(each, bits, 0) for each in (layout, target_layout))
            for plane in source.planes:
                plane[:] = rng.integers(0, 1 << min(bits, 7), plane.size)
            low = -(1 << (weight_bits - 1))
            weights = rng.integers(low, -low, (outputs, channels, window, window), np.int32)
            none = np.zeros(outputs, np.int64)
            operand = panels.Operand(layout, len(source.planes), 0, (1 << bits) - 1)
            layer = Conv(outputs, (window, window), (stride, stride), pads)
            kernel = panels.prepare(weights, none, none, operand, layer)
            assert kernel is not None
            ending = Ending(True, bits + weight_bits, Rounding.TIES_EVEN, 0, (1 << bits) - 1)
            operations = 2 * images * outputs * side * side * channels * window * window
            for backend in backends.supported():
                yield Case(
                    name,
                    backend,
                    operations,
                    partial(fused.convolve, source, kernel, target, ending),
                )


def float_convolutions(images: int, only: str) -> Iterator[Case]:
    rng = np.random.default_rng(2)
    for label, (channels, size, outputs, window, stride, pad) in CONVOLUTIONS.items():
        name = f"conv float32, {label}"
        if size == 1 or only not in name:
            continue
        pads: Pads = (pad, pad, pad, pad)
        side = (size + 2 * pad - window) // stride + 1
        layouts = [
            maps.Layout(images, channels, size, size, pads),
            maps.Layout(images, outputs, side, side, NO_PADS),
        ]
        source, target = (
            float_maps.FloatMap(each, aligned.zeros((each.size,), np.float32)) for each in layouts
        )
        weights = rng.normal(size=(outputs, channels, window, window)).astype(np.float32)
        layer = Conv(outputs, (window, window), (stride, stride), pads)
        kernel = floats.prepare(weights, np.zeros(outputs, np.float32), layouts[0], layer)
        operations = 2 * images * outputs * side * side * channels * window * window
        yield Case(
            name, "", operations, partial(floats.convolve, source, kernel, target, 0, (0.0, np.inf))
        )


def others(images: int, only: str) -> Iterator[Case]:
    """Kernels without a choice of backend; operations are values made, or MACs twice."""
    rng = np.random.default_rng(3)
    x = rng.normal(0, 30, (images, 64, 112, 112)).astype(np.float32)
    fmt = FixedPointFormat(8, 0)
    codes, _ = kernels.quantize(x, fmt)
    for rounding in (Rounding.TIES_EVEN, Rounding.TIES_AWAY, Rounding.STOCHASTIC):
        yield Case(
            f"quantize, {rounding.name}", "", x.size, partial(kernels.quantize, x, fmt, rounding)
        )
        yield Case(
            f"requantize, {rounding.name}",
            "",
            x.size,
            partial(kernels.requantize, codes, 3, fmt, rounding),
        )
    yield Case("max_pool 2x2", "", x.size, lambda: kernels.max_pool(codes, (2, 2), (2, 2)))
    yield Case("lrn 5", "", x.size, lambda: kernels.lrn(x, 5, 1e-4, 0.75, 1.0))
    for bits in (8, 12):
        layout = maps.Layout(images, 64, 112, 112, NO_PADS)
        source = maps.new_map(layout, bits, 0)
        target = maps.new_map(maps.Layout(images, 64, 56, 56, NO_PADS), bits, 0)
        yield Case(
            f"max_pool 2x2 on maps, {bits} bits",
            "",
            x.size,
            partial(maps.max_pool, source, target, 0, (2, 2), (2, 2), NO_PADS),
        )
    weights = rng.integers(-8192, 8192, (256, 256, 3, 3), np.int32)
    wide = rng.integers(0, 4096, (1, 256, 28, 28), np.int32)
    for bits in (32, 24, 40):
        kept = Accumulator(bits, every_mac=True)
        yield Case(
            f"conv 12b x 14b, {bits}-bit accumulator checked at every MAC, 256 to 256 at 28",
            "",
            2 * 256 * 28 * 28 * 256 * 9,
            partial(kernels.conv_integer, wide, weights, pads=(1, 1, 1, 1), accumulator=kept),
        )


def measure(cases: Sequence[Case], rounds: int) -> list[dict[str, Any]]:
    taken: list[list[float]] = [[] for _ in cases]
    for turn in tqdm(range(rounds + 1), disable=None, leave=False):
        for case, times in zip(cases, taken):
            if case.backend:
                os.environ[backends.VARIABLE] = case.backend
            began = time.perf_counter()
            case.run()
            if turn:  # the first one compiles
                times.append(time.perf_counter() - began)
    rows_of = []
    for case, times in zip(cases, taken):
        seconds = statistics.median(times)
        rows_of.append(
            {
                "kernel": case.name,
                "backend": case.backend,
                "ms": 1e3 * seconds,
                "gops": case.operations / seconds / 1e9,
            }
        )
    return rows_of


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="kernels whose name has this")
    parser.add_argument("--json", help="also write the figures to this file")
    given = parser.parse_args(arguments)
    makers = (integer_convolutions, float_convolutions, others)
    cases = [case for maker in makers for case in maker(given.batch_size, given.only)]
    cases = [case for case in cases if given.only in case.name]
    if not cases:
        parser.error(f"no kernel has {given.only!r} in its name")
    forced = os.environ.get(backends.VARIABLE)
    try:
        results = measure(cases, given.rounds)
    finally:
        os.environ.pop(backends.VARIABLE, None)
        if forced:
            os.environ[backends.VARIABLE] = forced
    print(machine.line())
    print(f"{'kernel':<78}{'backend':>9}{'ms':>10}{'GOP/s':>9}")
    for row in results:
        print(f"{row['kernel']:<78}{row['backend']:>9}{row['ms']:>10.2f}{row['gops']:>9.1f}")
    machine.write(given.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
