"""What tests of figures share: some to draw, and a PNG's pixels."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

import numpy as np
import pytest

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None,
    reason="figures need matplotlib, which is not installed",
)


def pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return np.asarray(image.convert("RGB"))


def histogram_panels(count: int) -> list[dict[str, Any]]:
    return [
        {"name": f"layer {i}", "edges": [0, 1, 2, 4 + i], "counts": [0.5, 0.4, 0.1]}
        for i in range(count)
    ]
