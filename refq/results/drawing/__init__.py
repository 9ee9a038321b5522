"""Figures as PNG, through matplotlib (the extra `report`): one file a kind of figure."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from refq.errors import OptionError
from refq.results.drawing import style


def require() -> None:
    """Raises OptionError where matplotlib is missing."""
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        raise OptionError(
            "matplotlib is not installed; figures need it", remedy="pip install 'refq[report]'"
        ) from None


def draw(figure: Mapping[str, Any]) -> bytes:
    """A PNG of a figure as charts.check_figure returns it."""
    kind = importlib.import_module(f"refq.results.drawing.{figure['kind']}")
    with style.settings():
        return style.png(kind.draw(figure))
