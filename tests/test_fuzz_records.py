"""Broken plans, journals, manifests, results and dumps are refused in one line; the fuzzer notices
what does anything else."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refq.errors import DataError
from tests import fuzz_records
from tests.importers.fuzz import TooLong

INPUTS = 12
FEW = ("plan", "journal", "manifest", "result", "dump mem", "dump npz")


@pytest.mark.parametrize("reader", FEW)
def test_broken_files_are_refused(reader: str) -> None:
    if reader == "result":
        pytest.importorskip("matplotlib", reason="figures need matplotlib")
    command = [sys.executable, str(Path(fuzz_records.__file__)), "--inside", "--only", reader]
    done = subprocess.run([*command, "--inputs", str(INPUTS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = [int(count) for count in re.findall(r"(\d+) (?:read|refused)", done.stdout)]
    assert sum(counts) == INPUTS


def test_json_is_changed_as_json() -> None:
    content = {"a": [1, {"b": 2}], "c": "x", "d": {"e": {"f": [3, 4]}}}
    made = {
        str(fuzz_records.changed_json(content, np.random.default_rng(seed))) for seed in range(90)
    }
    assert len(made) > 60


def raised(error: BaseException) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("x"), "refused"),
        (KeyError("hits"), "error: KeyError 'hits'"),
        (RecursionError(), "error: RecursionError"),
        (TooLong(), "hang"),
    ],
)
def test_what_is_a_finding(tmp_path: Path, error: BaseException, told: str) -> None:
    reader = fuzz_records.Reader(raised(error), raised(error))
    assert fuzz_records.outcome(reader, tmp_path).strip() == told


def test_lines_that_are_no_lines_are_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DataError, "__str__", lambda error: "two\nlines")
    reader = fuzz_records.Reader(raised(DataError("x")), raised(DataError("x")))
    assert fuzz_records.outcome(reader, tmp_path) == "text: 'two\\nlines'"


def test_a_reader_that_hangs_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_records, "SECONDS", 1)
    before = signal.signal(signal.SIGALRM, fuzz_records._late)
    try:
        reader = fuzz_records.Reader(lambda folder: None, lambda folder: time.sleep(5))
        assert fuzz_records.timed(reader, tmp_path)[0] == "hang"
    finally:
        signal.signal(signal.SIGALRM, before)
