"""refq.convert on files that it has to refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from refq import convert


def refused(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The one line on stderr; nothing else is printed or written."""
    assert convert.main([str(path), "-o", str(path.with_name("out.h5")), *more]) == 2
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1
    assert [each for each in path.parent.iterdir() if ".h5" in each.name and each != path] == []
    return told.err
