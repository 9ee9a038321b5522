"""The page of ONNX's operators says what the readers do."""

from __future__ import annotations

import runpy
from pathlib import Path

from refq.importers.lowering import HANDLERS

TOP = Path(__file__).parents[2]


def test_the_page_is_the_tools() -> None:
    tool = runpy.run_path(str(TOP / "tools" / "operators_page.py"))
    assert tool["PAGE"].read_text("utf-8") == tool["text"](), "run tools/operators_page.py"
    # no words of handlers that are gone
    assert set(tool["BECOMES"]) == {handler.__name__ for handler in HANDLERS.values()}
