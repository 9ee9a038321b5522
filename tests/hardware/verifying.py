"""refq.verify on the golden set that was made by hand, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from refq import verify
from tests.hardware import golden_set

ARRAYS = golden_set.arrays()
CONV, RELU = ARRAYS["conv1.sum"], np.maximum(ARRAYS["conv1.sum"], 0)
CONV2 = np.maximum(ARRAYS["conv2.sum"], 0)
BIAS = ARRAYS["conv1.bias"][:, None, None]
SHIFT = ARRAYS["conv1.bias_shift"][:, None, None]


def run(golden: Path, device: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON."""
    target = device.parent / "result.json"
    target.unlink(missing_ok=True)
    status = verify.main([str(golden), str(device), "--json", str(target), *options])
    return status, json.loads(target.read_text()) if target.exists() else {}


def first_wrong(result: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in result["arrays"] if each["result"] != "equal")


def texts(array: dict[str, Any]) -> list[str]:
    """All explanations that fit every word."""
    return [each["text"] for each in array["explanations"] if each["explained"] == each["of"]]
