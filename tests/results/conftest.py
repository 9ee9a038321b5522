"""Results of bundled networks on a few images, each evaluated once where it is asked for."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from refq.evaluate import main as evaluate

ARGUMENTS = {
    "enq.json": ("squeezenet1_1", "--scheme", "enq"),
    "knq.json": ("squeezenet1_1", "--scheme", "knq"),
    "three.json": ("squeezenet1_1", "--scheme", "enq", "--bits-act", "3"),
    "again.json": ("squeezenet1_1", "--scheme", "enq"),
    "uniform.json": ("alexnet", "--scheme", "uniform", "--delta", "4"),
    "search.json": ("alexnet", "--scheme", "enq", "--delta", "6"),
    "float.json": ("alexnet",),
}


@dataclass(frozen=True)
class Results:
    folder: Path

    def path(self, name: str) -> str:
        path = self.folder / name
        if not path.exists():
            # without a scheme nothing is calibrated
            few = ("--calibrate", "60") if "--scheme" in ARGUMENTS[name] else ()
            small = ("--images", "40", *few)
            with redirect_stdout(io.StringIO()):
                assert evaluate([*ARGUMENTS[name], *small, "--json", str(path)]) == 0
        return str(path)

    def content(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(Path(self.path(name)).read_text())
        return content


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(tmp_path_factory.mktemp("results"))
