"""Benchmarks start from any folder, and their peers quantize."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.small_networks import pixels, shortcut, uneven

SCRIPTS = sorted((Path(__file__).parents[2] / "benchmarks").glob("bench_*.py"))


def test_benchmarks_hide_no_module() -> None:
    """A script's folder is searched first: onnxruntime imports its own helpers by plain names."""
    folder = SCRIPTS[0].parent
    assert len(SCRIPTS) >= 7
    plain = {path.name for path in folder.iterdir()} - {path.name for path in SCRIPTS}
    assert plain - {"__pycache__"} == {"__init__.py", "peers"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_benchmarks_start_from_any_folder(tmp_path: Path, script: Path) -> None:
    pytest.importorskip("onnxruntime", reason="benchmarks need onnxruntime")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(script), "--help"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {script.name}"), done.stderr


def test_onnxruntime_quantizes() -> None:
    pytest.importorskip("onnxruntime", reason="compares with onnxruntime, not installed")
    from benchmarks.peers import onnx_graph, runtimes

    network = shortcut()
    weights, images = uneven(network, 3), pixels(network, 5, 4)
    model = onnx_graph.to_onnx(network, weights)
    quantized = runtimes.to_int8(model, images)
    assert any(node.op_type == "QuantizeLinear" for node in quantized.graph.node)
    real, integer = (runtimes.with_onnxruntime(each, 1)(images) for each in (model, quantized))
    assert real.shape == integer.shape == (5, 4)
    assert 0 < np.abs(real - integer).max() < 0.1 * np.abs(real).max()
