"""refq.convert on files that it has to refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from refq import convert


def refused(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The one line on stderr; nothing else is printed or written."""
    out = path.with_name("out.h5")
    assert convert.main([str(path), "-o", str(out), *more]) == 2
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1 and not out.exists()
    return told.err
