"""Every network at its own size with random weights: counts, float beside ONNX Runtime, integers.

    pip install '.[benchmark]' && python benchmarks/bench_networks.py [NAME ...] [--scheme enq]

float: refq's outputs beside ONNX Runtime's, largest difference over the largest output. integers:
signal to noise of refq's outputs under the scheme, whose codes the plain kernels compute again.
Times are of one image, after one that compiles.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import onnxruntime

from benchmarks.peers import machine, onnx_graph
from refq import networks, schemes
from refq.engine.forward import Run, forward, quantize_weights
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks.weights import Weights, random_weights
from refq.plans.plan import Plan

HEAD = (
    f"{'network':22} {'parameters':>11} {'M MACs':>8} {'float ms':>9} {'ORT ms':>7}"
    f" {'difference':>10} {'integer ms':>10} {'SQNR dB':>8}  plain kernels"
)


def timed(compute: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    compute()
    began = time.perf_counter()
    return compute(), 1000 * (time.perf_counter() - began)


def planned(network: networks.Network, weights: Weights, scheme: str, images: np.ndarray) -> Plan:
    chosen: Any = schemes.find(scheme)
    source, options = Source(network, weights, lambda: [(images, None)]), schemes.Options()
    statistics = gather(chosen.wanted(network, options), source)
    plan: Plan = chosen.plan(network, weights, statistics, options)
    return plan


def row(name: str, scheme: str) -> str:
    network = networks.build(name)
    weights, rng = random_weights(network, 0), np.random.default_rng(0)
    for bias in weights.bias.values():
        bias += rng.normal(0, 1, bias.shape).astype(np.float32)
    images = rng.integers(-128, 128, (1, *network.input_shape)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = onnx_graph.to_onnx(network, weights).SerializeToString()
    peer = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    del model
    real, float_ms = timed(lambda: forward(network, weights, None, images))
    theirs, their_ms = timed(lambda: np.asarray(peer.run(None, {"data": images})[0]))
    plan = planned(network, weights, scheme, images)
    quantized = quantize_weights(network, weights, plan)
    integer, integer_ms = timed(lambda: forward(network, quantized, plan, images))
    plain = forward(network, quantized, plan, images, run=Run(fused=False))
    apart = np.abs(real - theirs).max() / np.abs(theirs).max()
    noise = float(np.square(integer - real, dtype=np.float64).sum())
    sqnr = 10 * math.log10(float(np.square(real, dtype=np.float64).sum()) / noise)
    equal = "equal" if np.array_equal(plain, integer) else "DIFFER"
    return (
        f"{name:22} {sum(network.parameter_counts().values()):11,}"
        f" {sum(network.macs().values()) / 1e6:8,.1f} {float_ms:9.1f} {their_ms:7.1f}"
        f" {apart:10.1e} {integer_ms:10.1f} {sqnr:8.1f}  {equal}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=networks.known(), metavar="NAME")
    parser.add_argument("--scheme", default="uniform")
    options = parser.parse_args()
    print(machine.line())
    print(HEAD)
    for name in options.names:
        print(row(name, options.scheme), flush=True)


if __name__ == "__main__":
    main()
