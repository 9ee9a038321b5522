"""The papers' printed tables, as data."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def tables(paper: str) -> dict[str, Any]:
    """What a paper printed, by its name here (`ilnq`): a JSON object, never adjusted."""
    text = resources.files(__name__).joinpath(f"{paper}.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
