"""How a command ends: its exit code, its last line, and what streams that fail change."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from refq.cli import console, progress
from refq.errors import BAD_INPUT, INTERNAL, OptionError
from refq.hardware.golden.agreement import DisagreementError


def failing(error: BaseException) -> Callable[[], int]:
    def work() -> NoReturn:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (OptionError("found", "wanted", "do"), BAD_INPUT, "found; expected wanted; do"),
        (DisagreementError("conv1"), INTERNAL, "conv1; expected the same integers"),
        (MemoryError(), BAD_INPUT, "out of memory; expected more of it"),
        (RecursionError("maximum"), BAD_INPUT, "an input is nested too deeply"),
        (OSError(28, "No space left on device", "a/b"), BAD_INPUT, "a/b: No space left on device"),
        (KeyboardInterrupt("interrupted; so"), console.INTERRUPTED, "interrupted; so"),
    ],
)
def test_the_last_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, told: str
) -> None:
    assert console.ending(failing(error), "tool") == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"tool: {told}") and err.count("\n") == 1


@pytest.mark.parametrize(
    "error", [KeyError("x" * 999), AssertionError(), ZeroDivisionError("a\nb")]
)
def test_an_error_of_refqs_own(capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    assert console.ending(failing(error)) == INTERNAL == 70
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback") and len(lines[-1]) < 400
    assert lines[-1].startswith(f"refq: internal error ({type(error).__name__}")
    assert lines[-1].endswith("please report it with the lines above")


class Full(io.StringIO):
    """A stream on a full disk, or whose reader went away."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(("number", "status"), [(28, BAD_INPUT), (32, 1), (5, BAD_INPUT)])
def test_work_goes_on_without_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    monkeypatch.setattr(sys, "stdout", Full(number))
    done = []

    def work() -> int:
        for line in "abc":
            console.tell(line)
            done.append(line)
        return 1

    assert console.ending(work) == status and done == ["a", "b", "c"]
    told = "" if number == 32 else f"refq: cannot write stdout ({os.strerror(number)})\n"
    assert capsys.readouterr().err == told
    monkeypatch.undo()
    assert console.ending(lambda: 0) == 0


def test_a_stderr_that_fails_changes_no_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full(28))
    assert console.ending(failing(OptionError("x"))) == BAD_INPUT
    assert console.ending(failing(ValueError("x"))) == INTERNAL
    console.note("x")


def test_what_an_encoding_lacks_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    stream: Any = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)

    def work() -> int:
        console.tell("caf\xe9 \u4e2d \x1b[2J\nnext")
        return 0

    assert console.ending(work) == 0
    assert stream.buffer.getvalue() == b"caf\\xe9 \\u4e2d \\x1b[2J\nnext\n"


class Terminal(Full):
    """A terminal that was closed."""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.write("")


@pytest.mark.parametrize("number", [5, 28, 32])
def test_progress_ends_nothing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal(number))

    def work() -> int:
        with progress.bar(3, "images") as bar:
            assert not bar.disable
            for _ in range(3):
                bar.update(1)
                bar.refresh()
        told = progress.telling(1, "images")
        told(1)
        progress.trying().refresh()
        return 1

    assert console.ending(work) == 1


PROGRAM = """
import sys, time
from refq.cli import console, progress

def work():
    with progress.bar(40, "images") as bar:
        bar.refresh()
        for image in range(40):
            time.sleep(0.02)
            bar.update(1)
            bar.refresh()
    console.note("noted")
    console.tell("result")
    return 1

sys.exit(console.ending(work))
"""


@pytest.mark.parametrize("stdout", ["file", "terminal"])
def test_a_terminal_that_is_closed_ends_nothing(tmp_path: Path, stdout: str) -> None:
    own, other = pty.openpty()
    fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with (tmp_path / "out").open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.DEVNULL,
            stdout=file if stdout == "file" else other,
            stderr=other,
        )
    os.close(other)
    assert b"images" in os.read(own, 1 << 10)  # the bar is drawn
    os.close(own)
    assert process.wait() == 1
    assert (tmp_path / "out").read_text() == ("result\n" if stdout == "file" else "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("ignored", [False, True])
def test_signals_end_a_command_as_ctrl_c_does(name: str, ignored: bool) -> None:
    number = getattr(signal, name)
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    before = signal.signal(number, handler)

    def work() -> int:
        os.kill(os.getpid(), number)
        return 1

    try:
        assert console.ending(work) == (1 if ignored else console.INTERRUPTED)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
