"""What all tests share: code compiled anew, and commands that answer or refuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import pytest

# Tests start without machine code of yesterday, whatever keeps it. Workers of pytest-xdist inherit
# the variable and share the folder.
COMPILED = ""
if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = COMPILED = tempfile.mkdtemp(prefix="refq-compiled-")

# a shell starts what runs in its background deaf to Ctrl-C, which tests raise
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    if COMPILED:
        shutil.rmtree(COMPILED, ignore_errors=True)


@pytest.fixture
def evaluation(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """evaluation(*arguments): what refq.evaluate writes as JSON."""

    def evaluation(*arguments: object) -> dict[str, Any]:
        from refq.evaluate import main

        assert main([*map(str, arguments), "--json", "-"]) == 0
        content: dict[str, Any] = json.loads(capsys.readouterr().out)
        return content

    return evaluation


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """refusal(main, *arguments): the one line that a command says which refuses its arguments."""

    def refusal(main: Callable[[list[str]], int], *arguments: object) -> str:
        assert main([*map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("refq: "), err
        return err

    return refusal
