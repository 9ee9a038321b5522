"""Broken files: every reader refuses them in one line, and the fuzzer notices if one does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.importers import fuzz, hostile_files, small_weights

TOOL = Path(fuzz.__file__)
INPUTS = 40


@pytest.mark.parametrize("reader", fuzz.READERS)
def test_broken_files_are_refused(reader: str) -> None:
    command = [sys.executable, str(TOOL), "--inside", "--only", reader, "--inputs", str(INPUTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {what: int(count) for count, what in re.findall(r"(\d+) (read|refused)", done.stdout)}
    assert sum(counts.values()) == INPUTS and counts["refused"] > INPUTS // 3


def test_mutations_change_something() -> None:
    data = bytes(range(256)) * 9
    made = {fuzz.mutated(data, np.random.default_rng(seed)) for seed in range(50)}
    assert len(made) > 45


def test_an_unexpected_error_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise AssertionError("no")

    monkeypatch.setattr(fuzz, "read", broken)
    got = fuzz._outcome(fuzz._converter("keras"), tmp_path / "w", b"x")
    assert got == "error: AssertionError no"


def test_constructed_files_are_among_the_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = {reader for reader, _, _ in hostile_files.FILES.values()}
    most = max(
        sum(own == reader for own, _, _ in hostile_files.FILES.values()) for reader in readers
    )
    assert readers <= set(small_weights.WRITERS) and most <= INPUTS // 4


# a reader that does what it must not, in a process of its own: audit hooks stay for ever
HARMFUL = """
import sys, tempfile, time
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parents[2]))
from tests.importers import fuzz as tool
import os
import signal
import numpy as np

good, calls = tool.read, []
tool.SECONDS, tool.STUCK = {limits}


def read(path):
    calls.append(path)
    if len(calls) > 4:  # before, nobody watches
        {harm}
    return good(path)


tool.read = read
outcomes, findings = tool.fuzz("safetensors", 2, 5, None)
print(dict(outcomes), findings[0])
"""


@pytest.mark.parametrize(
    "harm, told",
    [
        ("exec('1')", "code: compile (b'1',)"),
        ("exec(read.__code__)", "code: exec (<code object read"),
        ("os.system('true')", "code: os.system ("),
        ("open('/etc/hostname').close()", "code: open ('/etc/hostname',)"),
        ("os.close(os.open(str(path.parent.parent), os.O_RDONLY))", "code: open ("),
        ("path.with_name('more').touch()", "code: open ("),
        ("time.sleep(9)", "hang"),
        ("open(path.with_name('pipe'))", "code: open ("),
        ("np.ones(300 << 17)", "memory: "),
        ("raise AssertionError('no')", "error: AssertionError no"),
    ],
)
def test_the_alarm_rings(harm: str, told: str) -> None:
    code = HARMFUL.format(harm=harm, limits=(1 if told == "hang" else 20, 40))
    command = [sys.executable, "-c", code, str(TOOL)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"safetensors seed 5 input 0: {told}" in done.stdout


def test_what_nothing_interrupts_ends_the_process() -> None:
    """HDF5 goes on to look for a file behind a link after the signal."""
    harm = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); time.sleep(40)"
    command = [sys.executable, "-c", HARMFUL.format(harm=harm, limits=(1, 3)), str(TOOL)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Timeout (0:00:03)!" in done.stderr
