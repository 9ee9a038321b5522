"""What all tests share: code compiled anew, and commands that answer or refuse."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable

import pytest

# Numba does not see an edit in what a kernel inlines: machine code of yesterday would pass today.
# Workers of pytest-xdist inherit the variable and share the folder.
COMPILED = ""
if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = COMPILED = tempfile.mkdtemp(prefix="refq-compiled-")


def pytest_unconfigure() -> None:
    if COMPILED:
        shutil.rmtree(COMPILED, ignore_errors=True)


Command = Callable[..., int]  # main() of a command, given its arguments


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """answer(main, *arguments): what a command prints that does what it was asked."""

    def answer(main: Command, *arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return answer


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """refusal(main, *arguments): the one line that a command says which refuses its arguments."""

    def refusal(main: Command, *arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("refq: "), err
        return err

    return refusal
