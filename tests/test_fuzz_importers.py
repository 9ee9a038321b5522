"""Broken files: every reader refuses them in one line, and the fuzzer notices if one does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import fuzz_importers
import numpy as np
import pytest
import small_weights

TOOL = Path(__file__).parents[1] / "tools" / "fuzz_importers.py"
INPUTS = 40


@pytest.mark.parametrize("reader", small_weights.WRITERS)
def test_broken_files_are_refused(reader: str) -> None:
    command = [sys.executable, str(TOOL), "--inside", "--only", reader, "--inputs", str(INPUTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {
        what: int(count) for count, what in re.findall(r"(\d+) (converted|refused)", done.stdout)
    }
    assert sum(counts.values()) == INPUTS and counts["refused"] > INPUTS // 3


def test_mutations_change_something() -> None:
    data = bytes(range(256)) * 9
    made = {fuzz_importers.mutated(data, np.random.default_rng(seed)) for seed in range(50)}
    assert len(made) > 45


def test_an_unexpected_error_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise AssertionError("no")

    monkeypatch.setattr(fuzz_importers, "read", broken)
    got = fuzz_importers._outcome(tmp_path / "w", tmp_path / "out", b"x")
    assert got == "error: AssertionError no"
