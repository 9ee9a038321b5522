"""tools/convert_weights.py on files that it has to refuse."""

from __future__ import annotations

from pathlib import Path

import convert_weights
import pytest


def refused(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The one line on stderr; nothing else is printed or written."""
    out = path.with_name("out.h5")
    assert convert_weights.main([str(path), "-o", str(out), *more]) == 2
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1 and not out.exists()
    return told.err
