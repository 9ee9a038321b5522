"""The machine that figures were taken on, in one line."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba

from refq.kernels import backends

FEATURES = ("amx-int8", "amx-bf16", "avx512vnni", "avx512bf16", "avx512f", "avx2", "neon")


def machine() -> dict[str, Any]:
    """What figures depend on: model, instruction sets, processors, threads, backend."""
    features = llvm.get_host_cpu_features()
    return {
        "model": _model(),
        "cpu": llvm.get_host_cpu_name(),
        "features": [name for name in FEATURES if features.get(name)],
        "backend": backends.chosen(),
        "processors": os.cpu_count(),
        "threads": numba.get_num_threads(),
    }


def line(about: Mapping[str, Any] | None = None) -> str:
    """What machine() says: Intel(R) Xeon(R), sapphirerapids (avx512f, avx2), 2 processors, ..."""
    about = about or machine()
    return (
        f"{about['model']}, {about['cpu']} ({', '.join(about['features'])}), "
        f"{about['processors']} processors, {about['threads']} threads, backend {about['backend']}"
    )


def write(path: str | None, results: Any, **more: Any) -> None:
    """Results beside the machine, as JSON; nothing without a path."""
    if path:
        content = {"machine": {**machine(), **more}, "results": results}
        Path(path).write_text(json.dumps(content, indent=1))


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
