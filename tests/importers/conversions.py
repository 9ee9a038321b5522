"""refq.convert on files that it has to refuse, and on others."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from refq import convert
from refq.importers import models


def of_known_networks() -> contextlib.AbstractContextManager[Any]:
    """Within it files are weights of networks that refq knows by name, and no models of others."""
    return mock.patch.object(models, "fitting", lambda path: [])


def refused(path: Path, capsys: pytest.CaptureFixture[str], *more: str, whole: bool = False) -> str:
    """The one line on stderr; nothing else is printed or written. The command runs in the file's
    folder: a line has 400 characters at most, also where a path is long.

    whole: of a model of any network; otherwise of weights of those that refq knows by name, as no
    file were more than that."""
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with contextlib.nullcontext() if whole else of_known_networks():
            assert convert.main([path.name, "-o", "out.h5", *more]) == 2
    finally:
        os.chdir(here)
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1
    assert [each for each in path.parent.iterdir() if ".h5" in each.name and each != path] == []
    return told.err


def converted(path: Path, *more: str) -> dict[str, Any]:
    """The report; the weights lie in out.h5."""
    out, told = path.with_name("out.h5"), path.with_name("report.json")
    assert convert.main([str(path), "-o", str(out), "--json", str(told), *more]) == 0
    report: dict[str, Any] = json.loads(told.read_text("utf-8"))
    return report
