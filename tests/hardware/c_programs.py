"""C models of small networks, compiled and run."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refq.engine.forward import quantize_weights
from refq.hardware import c_model
from refq.hardware.files.layouts import Layout
from refq.hardware.files.words import Packing
from refq.hardware.golden.form import Form
from refq.hardware.golden.span import span
from refq.hardware.golden.writing import Subject, write
from refq.networks import Network
from refq.networks.weights import Weights
from refq.plans.plan import Plan
from tests.small_networks import COUNT, FIRST, pixels

GCC = shutil.which("gcc")
CLANG = shutil.which("clang")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover")
RAW = Form("raw", Layout(), Packing())
Run = Callable[[Path], "subprocess.CompletedProcess[str]"]


def called(*command: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(each) for each in command], capture_output=True, text=True)


def compiled(compiler: str, folder: Path, out: Path, *options: str) -> None:
    source = folder / out.name[:-1]
    found = called(compiler, *STRICT, *options, "-c", "-I", folder, source, "-o", out)
    assert found.returncode == 0, found.stderr


def modelled(
    folder: Path, network: Network, weights: Weights, plan: Plan, layers: str | None = None
) -> Path:
    """A C model and its vectors for the images that plans are tried on."""
    own = quantize_weights(network, weights, plan)
    about = {"images": {"count": COUNT, "first": FIRST}}
    chosen = span(network, layers)
    subject = Subject(network, weights, own, plan, chosen, None, COUNT, FIRST)
    (folder / "vectors").mkdir()
    images = pixels(network, COUNT, 9)
    write(folder / "vectors", subject, RAW, [images], about)
    c_model.write(folder, manifest_of(folder))
    return folder


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "vectors" / "manifest.json").read_text())
    return found


def passes(answer: subprocess.CompletedProcess[str]) -> str:
    """The last line of a run that found no difference."""
    told = answer.stdout.splitlines()
    wrong = [line for line in told if not line.endswith("equal")]
    assert (answer.returncode, answer.stderr) == (0, ""), "\n".join(wrong[:8]) + answer.stderr
    assert told[-1].startswith("PASS ")
    return told[-1]
