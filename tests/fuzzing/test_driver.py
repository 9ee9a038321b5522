"""What a reader must not do is a finding."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from refq.errors import DataError
from tests.fuzzing import driver, watching
from tests.fuzzing.reader import Reader

TOP = Path(__file__).parents[2]


def _outcome(read: Callable[[Path], object], folder: Path, *writes: str) -> str:
    reader = Reader(lambda _: None, read, writes=writes)
    return driver.outcome(reader, folder / "w", b"x", watching.Watch(folder))


def _raised(error: BaseException) -> Callable[[Path], object]:
    def read(path: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("x"), "refused"),
        (KeyError("hits"), "error: KeyError 'hits'"),
        (AssertionError("no\nmore"), "error: AssertionError no more"),
        (RecursionError(), "error: RecursionError "),
        (MemoryError(), "error: MemoryError "),
        (watching.TooLong(), "hang"),
        (watching.CodeRan("open"), "code: open"),
    ],
)
def test_errors_are_findings(tmp_path: Path, error: BaseException, told: str) -> None:
    assert _outcome(_raised(error), tmp_path) == told


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "\u202e", "n" * 401])
def test_lines_that_are_no_lines_are_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(DataError, "__str__", lambda error: text)
    assert _outcome(_raised(DataError("x")), tmp_path) == f"text: {text[:200]!r}"


def test_what_is_left_behind_is_a_finding(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        read(path)
        raise DataError("x")

    def read(path: Path) -> None:
        path.with_name(name).write_bytes(bytes(2000))

    name = "out"
    assert _outcome(read, tmp_path, "out") == "read"
    assert _outcome(refuse, tmp_path, "out") == "rest: out"
    assert _outcome(read, tmp_path, "w") == "rest: out"
    name = "w"
    assert _outcome(read, tmp_path) == "rest: w"
    assert _outcome(refuse, tmp_path, "w") == "refused"
    assert _outcome(lambda path: path.unlink(), tmp_path) == "rest: w"
    assert _outcome(lambda path: (tmp_path / "more").mkdir(), tmp_path) == "rest: more"


# in a process of its own: what watches stays for ever
HARMFUL = """
import os, signal, subprocess, sys, tempfile, time
from pathlib import Path

import numba
import numpy as np

from tests.fuzzing import driver, watching
from tests.fuzzing.reader import Reader

calls = []


def make(folder):
    (folder / "w").write_bytes(bytes(range(99)))
    (folder / "beside").write_bytes(b"y")
    os.mkfifo(folder / "pipe")


def read(path):
    calls.append(path)
    if len(calls) > 4:  # before, nobody watches
        {harm}


watching.STUCK = 2
reader = Reader(make, read, "w", writes=("out",), seconds={seconds})
with tempfile.TemporaryDirectory() as top, tempfile.TemporaryDirectory() as keep:
    told = driver.fuzz("r", reader, driver.Job(2, 99, 5, Path(keep)), Path(top))
print(dict(told.outcomes), *told.findings[:1])
"""


def _driven(harm: str, seconds: int = 20) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HARMFUL.format(harm=harm, seconds=seconds)]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("exec('1')", "code: exec (<code object"),
        ("eval('1')", "code: exec (<code object"),
        ("exec(read.__code__)", "code: exec (<code object read"),
        ("import colorsys", "code: import ('colorsys',)"),
        ("os.system('true')", "code: os.system ("),
        ("subprocess.run(['true'])", "code: "),
        ("open('/etc/hostname').close()", "code: open ('/etc/hostname',)"),
        ("os.close(os.open(str(path.parent.parent), os.O_RDONLY))", "code: open ("),
        ("path.with_name('more').touch()", "code: open ("),
        ("path.with_name('beside').write_bytes(b'z')", "code: open ("),
        ("path.write_bytes(b'z')", "code: open ("),
        ("open(path.with_name('pipe'))", "code: open ("),
        ("path.with_name('more').mkdir()", "rest: more"),
        ("tempfile.mkstemp()", "rest: tmp"),
        ("np.ones(300 << 17)", "memory: "),
        ("raise AssertionError('no')", "error: AssertionError no"),
    ],
)
def test_the_alarm_rings(harm: str, told: str) -> None:
    done = _driven(harm)
    assert done.returncode == 0, done.stderr
    assert f"r seed 5 input 0, w: {told}" in done.stdout


def test_the_alarm_rings_in_time() -> None:
    assert "{'hang': 2} r seed 5 input 0, w: hang" in _driven("time.sleep(9)", 1).stdout


@pytest.mark.parametrize(
    "harmless",
    [
        "path.read_bytes()",
        "path.with_name('beside').read_bytes()",
        "path.with_name('out').write_bytes(b'z')",
        "tempfile.TemporaryFile().close()",
        "np.ones(100 << 17)",
    ],
)
def test_what_readers_may_do_rings_no_alarm(harmless: str) -> None:
    assert _driven(harmless).stdout == "{'read': 2}\n"


def test_compilation_rings_no_alarm() -> None:
    """Numba imports, opens and runs what it needs for it."""
    assert _driven("numba.njit(lambda x: x**0.5)(2.0)").stdout == "{'read': 2}\n"


def test_memory_is_an_inputs_own() -> None:
    """What one took the next has not taken."""
    done = _driven("np.ones(300 << 17 if len(calls) == 5 else 1)")
    assert done.stdout.startswith("{'memory': 1, 'read': 1} r seed 5 input 0, w: memory: ")


def test_what_nothing_interrupts_ends_the_process() -> None:
    """HDF5 goes on to look for a file behind a link after the signal."""
    harm = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); time.sleep(40)"
    done = _driven(harm, 1)
    assert done.returncode == 1 and "Timeout (0:00:03)!" in done.stderr
