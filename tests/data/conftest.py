from __future__ import annotations

import zlib

import numpy as np
import pytest

from tests.data import pictures


@pytest.fixture(autouse=True)
def own_noise(request: pytest.FixtureRequest) -> None:
    """Each test draws the same pixels whatever ran before it."""
    pictures.RNG = np.random.default_rng(zlib.crc32(request.node.name.encode()))
