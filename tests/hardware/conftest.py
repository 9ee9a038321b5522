"""What tests of hardware share: a golden set made by hand, and C that is compiled once."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from refq.hardware import c_model
from tests.hardware import golden_set
from tests.hardware.c_programs import GCC, SANITIZED, Run, called, compiled


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "golden"
    golden_set.write(folder)
    return folder


@pytest.fixture(scope="session")
def c_objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sources that are the same for every network, compiled under the sanitizers, once."""
    folder, found = tmp_path_factory.mktemp("c_model"), []
    for name, content in c_model.static_sources().items():
        (folder / name).write_bytes(content)
    for path in sorted(folder.glob("*.c")):
        found.append(folder / f"{path.name}o")
        compiled(str(GCC), folder, found[-1], *SANITIZED)
    return found


@pytest.fixture
def run_model(c_objects: Sequence[Path]) -> Run:
    """Compiles what a C model adds, and runs it on its vectors."""

    def run_model(folder: Path) -> subprocess.CompletedProcess[str]:
        if not (folder / "model").exists():
            compiled(str(GCC), folder, folder / "layers.co", *SANITIZED)
            linked = called(
                GCC, *SANITIZED, *c_objects, folder / "layers.co", "-lm", "-o", folder / "model"
            )
            assert linked.returncode == 0, linked.stderr
        return called(folder / "model", folder / "vectors")

    return run_model
