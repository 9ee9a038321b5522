"""Real images and weights that do not come with refq."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PLACE = Path(os.environ.get("REFQ_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def shared(name: str) -> Path:
    """A file or folder of the shared data; skips the test where it is absent."""
    if not (PLACE / name).exists():
        pytest.skip(f"{name} is not at ../shared/data or $REFQ_SHARED_DATA")
    return PLACE / name
