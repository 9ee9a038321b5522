"""Packed images whole in memory, and how many of them a network gets right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from refq.errors import DataError


@dataclass(frozen=True)
class Images:
    """uint8 (N, rows, columns, 3) and labels int64 (N,)."""

    pixels: np.ndarray
    labels: np.ndarray
    classes: int


def read(path: Path) -> Images:
    """All images of a packed file. Raises DataError where it is missing or incomplete."""
    try:
        with h5py.File(path, "r") as file:
            classes = len(json.loads(file.attrs["classes"]))
            return Images(file["images"][:], file["labels"][:], classes)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"cannot read {path} ({error})", "packed images", "make them with tools/make_glyphs.py"
        ) from None


def accuracy(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Shares of images whose label has the highest score, or one of the five highest."""
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = order == labels[:, None]
    return {f"top{k}": round(float(hits[:, :k].any(axis=1).mean()), 4) for k in (1, 5)}
