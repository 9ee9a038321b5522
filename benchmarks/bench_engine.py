"""Whole networks side by side: refq in float and in integers, ONNX Runtime, OpenVINO.

    pip install '.[benchmark]' && python benchmarks/bench_engine.py vgg16 --batch-size 8

All contenders take turns in one run, with the same threads, weights and images; figures are
medians over the rounds. REFQ_BACKEND=vnni (or portable) forces refq's integer backend.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.peers import machine, onnx_graph, peak, runtimes
from refq import schemes
from refq.cli import console
from refq.cli.opening import open_network
from refq.data import batches, open_dataset
from refq.data import presets as preparing
from refq.engine.forward import forward, quantize_weights
from refq.engine.fused import FusedSteps
from refq.engine.fused_float import FusedFloatSteps
from refq.errors import OptionError
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks import Network, Node
from refq.networks.weights import Weights
from refq.plans.plan import Plan

LEAST_MS = 0.05  # of a row in the table by layer
# label -> (scheme, bits of activations, bits of weights)
INTEGERS = {
    "refq 8b x 8b": ("uniform", 8, 8),
    "refq 12b x 14b": ("uniform", 12, 14),
    "refq ENQ 5b x 14b": ("enq", 5, 14),
}


@dataclass(frozen=True)
class Asked:
    """A network as refq.evaluate takes it, without further options."""

    model: str
    weights: str
    network: None = None
    input_size: None = None
    outputs: None = None
    external_data: None = None
    prototxt: None = None


def make_plan(
    network: Network, weights: Weights, images: np.ndarray, how: tuple[str, int, int]
) -> Plan:
    """A plan of the scheme, calibrated on the images."""
    name, bits, bits_wt = how
    scheme = schemes.find(name)
    options = schemes.Options(bits_act=bits, bits_wt=bits_wt, bits_image=min(9, max(8, bits)))
    source = Source(network, weights, lambda: [(images[:2], None)])
    statistics = gather(scheme.wanted(network, options), source)
    made: Plan = scheme.plan(network, weights, statistics, options)
    return made


def contenders(
    network: Network, weights: Weights, images: np.ndarray, threads: int, ours_only: bool
) -> tuple[dict[str, Callable[[np.ndarray], Any]], dict[str, Any]]:
    """{label: run a batch}, and refq's integer cases for the table by layer; plans, and what peers
    calibrate, come from the first images."""
    out: dict[str, Callable[[np.ndarray], Any]] = {}
    out["refq float32"] = partial(forward, network, weights, None)
    cases = {}
    for label, how in INTEGERS.items():
        plan = make_plan(network, weights, images, how)
        integer = quantize_weights(network, weights, plan)
        cases[label] = (plan, integer)
        out[label] = partial(forward, network, integer, plan)
    if not ours_only:
        model = onnx_graph.to_onnx(network, weights)
        quantized = runtimes.to_int8(model, images[:2])
        for label, each in (("float32", model), ("int8", quantized)):
            ort = runtimes.with_onnxruntime(each, threads)
            out[f"onnxruntime {label}"] = ort
            vino = runtimes.with_openvino(each, threads, images)
            if vino is None:
                print(f"OpenVINO is not installed: no OpenVINO {label}", file=sys.stderr)
            else:
                out[f"OpenVINO {label}"] = vino
    return out, cases


def by_layer(
    network: Network, plan: Plan | None, weights: Any, images: np.ndarray, rounds: int
) -> list[dict[str, Any]]:
    """Median milliseconds of each step, with GOP/s where it makes a weighted layer's sums."""
    taken: dict[str, list[float]] = {}
    steps: Any = FusedFloatSteps if plan is None else FusedSteps
    step, image = steps.__call__, steps.image

    def timed(name: str, run: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = run()
        taken.setdefault(name, []).append(time.perf_counter() - began)
        return result

    def timed_step(self: Any, node: Node, inputs: Any) -> Any:
        return timed(node.name, lambda: step(self, node, inputs))

    def timed_image(self: Any, batch: np.ndarray) -> Any:
        return timed("data", lambda: image(self, batch))

    try:
        steps.__call__, steps.image = timed_step, timed_image
        for _ in range(rounds):
            forward(network, weights, plan, images)
    finally:
        steps.__call__, steps.image = step, image
    macs, rows = network.macs(), []
    for name, times in taken.items():
        seconds = statistics.median(times)
        node = network.by_name.get(name)
        made = node.inputs[0] if node and node.layer.takes_sums else name
        if made != name and statistics.median(taken[made]) > 5e-5:
            made = name  # the sum was no part of this step
        operations = 2 * macs.get(made, 0) * len(images)
        rows.append(
            {
                "layer": name,
                "kind": kind_of(network, made),
                "ms": 1e3 * seconds,
                "gops": operations / seconds / 1e9,
            }
        )
    return rows


def kind_of(network: Network, name: str) -> str:
    """What a step computes, in a word; a sum with its activation counts as the sum."""
    node = network.by_name.get(name)
    if node is None:
        return "the image in codes"
    layer = node.layer
    if layer.kind != "Conv":
        return layer.kind
    if layer.group > 1:
        each = layer.group == network.shapes[node.inputs[0]][0]
        return "Conv, depthwise" if each else "Conv, groups"
    return f"Conv {layer.kernel[0]}x{layer.kernel[1]}"


def by_kind(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """{kind: (milliseconds, GOP/s)}, the longest first."""
    taken, work = Counter[str](), Counter[str]()
    for row in rows:
        taken[row["kind"]] += row["ms"]
        work[row["kind"]] += row["gops"] * row["ms"]
    return {kind: (ms, work[kind] / ms) for kind, ms in taken.most_common()}


def open_images(given: argparse.Namespace, network: Network, weights: Weights) -> list[np.ndarray]:
    """Whole batches: one of noise, or all that a data set has."""
    if given.data is None:
        shape = (given.batch_size, *network.input_shape)
        return [np.random.default_rng(1).integers(-128, 128, shape).astype(np.float32)]
    preprocessing = preparing.for_network(weights.metadata, network.input_shape)
    data = open_dataset(given.data, network.input_shape)
    stop = min(len(data), given.images or len(data)) // given.batch_size * given.batch_size
    if stop == 0:
        raise OptionError(f"{len(data)} images", f"a batch of {given.batch_size} or more")
    return [images for images, _ in batches(data, preprocessing, given.batch_size, 0, stop)]


def bench(name: str, arguments: argparse.Namespace, peak: float) -> dict[str, Any]:
    opened = open_network(Asked(name, arguments.weights))
    network, weights = opened.network, opened.weights
    stream = open_images(arguments, network, weights)
    images = stream[0]
    runs, cases = contenders(network, weights, images, numba.get_num_threads(), arguments.ours_only)
    taken: dict[str, list[float]] = {label: [] for label in runs}
    for run in runs.values():
        run(images)  # compiles, warms up
    for _ in tqdm(range(arguments.rounds), desc=name, disable=None, leave=False):
        for label, run in runs.items():
            began = time.perf_counter()
            for batch in stream:
                run(batch)
            taken[label].append(time.perf_counter() - began)
    operations = 2 * sum(network.macs().values())
    rates = {
        label: len(stream) * len(images) / statistics.median(times)
        for label, times in taken.items()
    }
    layers = {
        label: by_layer(network, plan, integer, images, max(3, arguments.rounds // 2))
        for label, (plan, integer) in {"refq float32": (None, weights), **cases}.items()
    }
    return {
        "network": network.name,
        "weights": opened.source,
        "images": len(stream) * len(images) if arguments.data else "noise",
        "batch_size": arguments.batch_size,
        "rounds": arguments.rounds,
        "images_per_second": rates,
        "gops": {label: rate * operations / 1e9 for label, rate in rates.items()},
        "seconds": taken,
        "integer_peak_gops": peak,
        "layers": layers,
    }


def show(result: dict[str, Any]) -> str:
    rates, gops = result["images_per_second"], result["gops"]
    others = [label for label in rates if not label.startswith("refq")]
    lines = [
        f"{result['network']}, batch {result['batch_size']}, images: {result['images']}, "
        f"medians of {result['rounds']} rounds",
        f"{'':<22}{'images/s':>10}{'GOP/s':>9}"
        + "".join(f"{'/ ' + label:>22}" for label in others),
    ]
    for label, rate in rates.items():
        ratios = "".join(f"{rate / rates[other]:>21.2f}x" for other in others)
        lines.append(f"{label:<22}{rate:>10.2f}{gops[label]:>9.0f}{ratios}")
    for label, rows in result["layers"].items():
        lines.append(f"{label}: layers (share of the microkernel's peak of one plane)")
        for kind, (ms, rate) in by_kind(rows).items():
            work = f"{rate:>9.0f} GOP/s" if rate else ""
            lines.append(f"  all {kind:<24}{ms:>9.2f} ms{work}")
        for row in rows:
            if row["ms"] < LEAST_MS:
                continue
            share = 100 * row["gops"] / result["integer_peak_gops"]
            work = f"{row['gops']:>9.0f} GOP/s{share:>7.1f} %" if row["gops"] else ""
            lines.append(f"  {row['layer']:<28}{row['ms']:>9.2f} ms{work}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = console.Parser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = "names, or model files, as of refq.evaluate"
    known = ["vgg16", "alexnet", "squeezenet1_1"]
    parser.add_argument("networks", nargs="*", default=known, help=names)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--weights", default="random:0", help="as in refq.evaluate")
    parser.add_argument("--data", help="as in refq.evaluate; decoded before the clock starts")
    parser.add_argument("--images", type=int, help="of the data, whole batches")
    parser.add_argument("--ours-only", action="store_true", help="leave the peers out")
    parser.add_argument("--json", help="also write the figures to this file")
    return console.run(_main, parser, arguments)


def _main(given: argparse.Namespace) -> int:
    most = peak.integers()
    print(f"{machine.line()}, microkernel peak {most:.0f} GOP/s")
    results = []
    for name in given.networks:
        results.append(bench(name, given, most))
        print(show(results[-1]), flush=True)
    machine.write(given.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
