"""`refq` by itself: its commands, streams that are closed."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from refq.__main__ import main as refq_main


def test_refq_lists_its_commands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["refq"])
    assert refq_main() == 0 and "evaluate" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["refq", "fly"])
    assert refq_main() == 2 and "unknown command 'fly'" in capsys.readouterr().err


FULL = "refq: cannot write stdout (No space left on device)\n"


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("refq --help >/dev/full", 2, FULL),
        ("refq evaluate --help >/dev/full", 2, FULL),
        ("benchmarks.bench_engine --help >/dev/full", 2, FULL),
        ("refq --help >&-", 0, ""),
        ("refq fly 2>&-", 2, ""),
        ("refq fly 2>/dev/full", 2, ""),
        ("refq --help <&- >&- 2>&-", 0, ""),
    ],
)
def test_streams_that_nobody_reads(command: str, status: int, told: str) -> None:
    shell = f"exec {shlex.quote(sys.executable)} -m {command}"
    ended = subprocess.run(shell, shell=True, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", told)
