"""Weight files at full size through refq.convert: time, memory, difference of logits.

    pip install '.[benchmark]' && python benchmarks/bench_convert.py [--only NAME ...]
    pip install torch torchvision keras && python benchmarks/bench_convert.py --frameworks

Random values, written as each framework writes them, or with --frameworks by themselves; the
command runs in a process of its own.
Peak memory is that of the process, with Python, NumPy, Numba and h5py (about 60 MB).
Logits of the converted weights, by refq in float, stand beside ONNX Runtime's on the same values.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.peers import machine
from benchmarks.peers.onnx_graph import to_onnx
from refq.engine.forward import forward
from refq.networks import Network
from refq.networks.weights import Weights, load
from tests.importers import caffe_files, real_models, small_weights, weight_files
from tests.importers.real_models import Reference, session

TOP = Path(__file__).resolve().parents[1]
CONVERT = """
import sys
from refq import convert
status = convert.main(sys.argv[1:])
with open("/proc/self/status") as file:
    (peak,) = [line.split()[1] for line in file if line.startswith("VmHWM")]
print(int(peak) // 1000, file=sys.stderr)
sys.exit(status)
"""


def of_network(network: Network, weights: Weights) -> Reference:
    return session(to_onnx(network, weights).SerializeToString())


def torch_vgg16(path: Path, legacy: bool) -> Reference:
    network, weights = small_weights.full_size("vgg16")
    weight_files.torch_file(path, small_weights.torch_arrays(weights), legacy)
    plain = of_network(network, weights)
    # refq's input is less the mean; torchvision's is also divided
    deviation = 255 * np.array((0.229, 0.224, 0.225), np.float32).reshape(3, 1, 1)
    return lambda images: plain(images / deviation)


def caffe(path: Path, name: str, v1: bool) -> Reference:
    network, weights = small_weights.full_size(name)
    caffe_files.caffemodel(path, network, weights, v1, "legacy" if v1 else "packed")
    return of_network(network, weights)


def matconvnet(path: Path, compress: bool) -> Reference:
    network, weights = small_weights.full_size("alexnet")
    weight_files.matconvnet(path, small_weights.matlab_layers(network, weights), compress)
    return of_network(network, weights)


def keras_vgg16(path: Path) -> Reference:
    network, weights = small_weights.full_size("vgg16")
    weight_files.keras(path, small_weights.keras_layers(network, weights))
    return of_network(network, weights)


def keras_resnet50(path: Path) -> Reference:
    network, weights = small_weights.full_size("resnet50_keras")
    norms = weight_files.norms(weights, 9)
    weight_files.keras(path, small_weights.keras_resnet(weights, norms))
    model = weight_files.onnx_normalised(network, weights, norms, 1.001e-5)
    return session(model.SerializeToString())


def onnx_resnet50(path: Path) -> Reference:
    network, weights = small_weights.full_size("resnet50")
    norms = weight_files.norms(weights, 9)
    path.write_bytes(
        weight_files.onnx_normalised(network, weights, norms, 1e-4).SerializeToString()
    )
    return session(str(path))


Writer = Callable[[Path], Reference]
CASES: dict[str, tuple[str, Writer]] = {
    "torchvision VGG-16, zip": ("vgg16.pth", lambda path: torch_vgg16(path, False)),
    "torchvision VGG-16, legacy": ("vgg16.pth", lambda path: torch_vgg16(path, True)),
    "Caffe AlexNet, V1": ("alexnet.caffemodel", lambda path: caffe(path, "alexnet", True)),
    "Caffe GoogLeNet, V2": ("googlenet.caffemodel", lambda path: caffe(path, "googlenet", False)),
    "MatConvNet AlexNet": ("alexnet.mat", lambda path: matconvnet(path, False)),
    "MatConvNet AlexNet, -v7": ("alexnet.mat", lambda path: matconvnet(path, True)),
    "Keras VGG-16": ("vgg16.h5", keras_vgg16),
    "Keras ResNet-50": ("resnet50.h5", keras_resnet50),
    "ONNX ResNet-50": ("resnet50.onnx", onnx_resnet50),
}
LIGHT = ("bvlc_alexnet", "inception_v1", "resnet50", "squeezenet", "vgg19")
for light in LIGHT:
    CASES[f"ONNX light {light}"] = ("light.onnx", partial(real_models.light, name=light))
TORCHVISION = (
    "alexnet",
    "googlenet",
    "resnet50",
    "resnet101",
    "resnet152",
    "squeezenet1_0",
    "squeezenet1_1",
    "vgg16",
    "vgg16_bn",
    "vgg19",
)
FRAMEWORKS: Mapping[str, tuple[str, Writer]] = {
    f"torchvision {name}": ("w.pth", partial(real_models.torchvision, name=name))
    for name in TORCHVISION
} | {
    f"Keras {name}{suffix}": (f"w{suffix}", partial(real_models.keras, name=name))
    for name in ("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152")
    for suffix in (".h5", ".weights.h5")
}


def converted(file: Path, out: Path) -> tuple[str, float, int]:
    """(report, seconds, peak MB) of the command in a process of its own."""
    began = time.perf_counter()
    code = CONVERT
    done = subprocess.run(
        [sys.executable, "-c", code, str(file), "-o", str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOP)},
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout, seconds, int(done.stderr.split()[-1])


def difference(out: Path, name: str, reference: Reference) -> float:
    """Largest difference of a logit, over the largest logit."""
    network, weights = load(out, name)
    images = np.random.default_rng(3).normal(0, 50, (2, *network.input_shape)).astype(np.float32)
    got = forward(network, weights, None, images)
    wanted = reference(images)
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frameworks", action="store_true", help="files by torchvision and Keras")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="files to try; else all")
    options = parser.parse_args()
    cases = FRAMEWORKS if options.frameworks else CASES
    strange = set(options.only or ()) - set(cases)
    if strange:
        parser.error(f"--only {', '.join(sorted(strange))}; there are {', '.join(cases)}")
    print(machine.line())
    print(f"{'file':28} {'MB':>6} {'seconds':>8} {'peak MB':>8} {'logits':>9}  network")
    for title in options.only or cases:
        filename, write = cases[title]
        with tempfile.TemporaryDirectory() as folder:
            file, out = Path(folder) / filename, Path(folder) / "out.h5"
            reference = write(file)
            report, seconds, peak = converted(file, out)
            (line,) = [each for each in report.splitlines() if each.startswith("network")]
            name = line.split()[1]
            size, apart = file.stat().st_size / 1e6, difference(out, name, reference)
        print(f"{title:28} {size:6.0f} {seconds:8.1f} {peak:8} {apart:9.1e}  {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
