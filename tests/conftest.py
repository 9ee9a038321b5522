"""What all tests share: code compiled anew, and commands that answer or refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
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


# messages that were refused with, for docs/refused.md (tools/refusals.py)
TOLD: set[str] = set()


def pytest_configure() -> None:
    if "REFQ_REFUSALS" in os.environ:
        record_refusals()


def record_refusals() -> None:
    from refq.errors import RefqError

    making = RefqError.__init__

    def told(self: RefqError, *parts: str, **named: str) -> None:
        making(self, *parts, **named)
        # whatever folder a test made
        TOLD.add(re.sub(r"/[^ ,;:()'\"]*/(?=[^/])", "", str(self)))

    RefqError.__init__ = told  # type: ignore[method-assign]


def pytest_unconfigure() -> None:
    if TOLD:
        folder = Path(os.environ["REFQ_REFUSALS"])
        folder.mkdir(exist_ok=True)
        (folder / f"{os.getpid()}.txt").write_text(
            "\n".join(sorted(TOLD)) + "\n", "utf-8", "backslashreplace"
        )
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
