"""Data of every kind, written by hand and small, for the tests of this folder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from refq.data import Dataset, packed
from refq.data.preprocessing import Preprocessing

INPUT = (3, 7, 9)
PLAIN = Preprocessing(crop=(7, 9), shorter=(7, 7))
RNG = np.random.default_rng(11)  # every test begins its own (conftest.py)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def save_image(path: Path, image: np.ndarray, mode: str | None = None) -> None:
    pil = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pil.fromarray(image)
    (picture.convert(mode) if mode else picture).save(path)


def numbered(count: int, labels: bool = True) -> Dataset:
    """Images of 7x9 whose pixels are all their own index."""
    return Dataset(
        "numbered",
        count,
        lambda index: np.full((7, 9, 3), index, np.uint8),
        lambda index: f"numbered {index}",
        np.arange(count, dtype=np.int64) * 10 if labels else None,
    )


def error_of(kind: type[Exception], text: str) -> pytest.RaisesExc:
    return pytest.raises(kind, match=re.escape(text))


def write_packed(path: Path, count: int = 5, rows: int = 6, columns: int = 4) -> np.ndarray:
    images = noise(count, rows, columns, 3)
    packed.write(
        path,
        iter(images),
        count,
        name="tiny",
        labels=np.arange(count)[::-1],
        classes=("a", "b", "ü", "d", "e"),
        source="made up",
        licence="CC0",
    )
    return images


def cifar_records(count: int) -> tuple[np.ndarray, np.ndarray]:
    return RNG.integers(0, 10, count), noise(count, 3072)


def write_binary(path: Path, labels: np.ndarray, pixels: np.ndarray) -> None:
    path.write_bytes(np.hstack([labels[:, None].astype(np.uint8), pixels]).tobytes())


def check_cifar(data: Dataset, labels: np.ndarray, pixels: np.ndarray) -> None:
    assert labels_of(data) == labels.tolist()
    for index in (0, len(labels) - 1):
        image = data.image(index)
        assert image.shape == (32, 32, 3) and image.dtype == np.uint8
        for channel, row, column in ((0, 0, 1), (1, 31, 5), (2, 7, 30)):
            stored = pixels[index, channel * 1024 + row * 32 + column]
            assert image[row, column, channel] == stored


def labels_of(data: Dataset) -> list[int]:
    assert data.labels is not None and data.labels.dtype == np.int64
    return [int(label) for label in data.labels]


def listed(folder: Path, text: str) -> str:
    for name in ("a.png", "b c.png", "sub/d.png"):
        save_image(folder / name, noise(4, 5, 3))
    (folder / "val.txt").write_text(text)
    return str(folder)


def class_folders(folder: Path, *names: str) -> str:
    """A folder with a class folder of each name, of one image."""
    for name in names:
        save_image(folder / name / "a.png", noise(4, 5, 3))
    return str(folder)
