"""`refq` by itself: its commands, streams that are closed, a place for compiled code."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import refq
from refq.__main__ import main as refq_main


def test_refq_lists_its_commands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["refq"])
    assert refq_main() == 0 and "evaluate" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["refq", "fly"])
    assert refq_main() == 2 and "unknown command 'fly'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("refq --help >/dev/full", 2, "refq: No space left on device\n"),
        ("refq --help >&-", 0, ""),
        ("refq fly 2>&-", 2, ""),
        ("refq evaluate vgg16 --images 2 >&-", 0, ""),
        ("refq evaluate vgg16 --images 2 >&- 2>&-", 0, ""),
    ],
)
def test_streams_that_nobody_reads(command: str, status: int, told: str) -> None:
    shell = f"exec {shlex.quote(sys.executable)} -m {command}"
    ended = subprocess.run(shell, shell=True, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", told)


def test_compiled_code_has_a_folder_where_none_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert refq._may_be_filled(str(tmp_path / "a" / "b"))
    assert not refq._may_be_filled(str(tmp_path / "file" / "b"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(refq, "_may_be_filled", lambda folder: False)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: str(tmp_path / prefix))
    refq._keep_compiled_code()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    refq._keep_compiled_code()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "refq-compiled-")
