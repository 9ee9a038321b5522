"""Readers of images, lists, files of classes and CIFAR batches."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from refq.data import open_dataset, renumbered
from refq.data.decoding import decode
from tests.data.pictures import INPUT, class_folders
from tests.fuzzing.changes import in_bytes, in_json, in_png
from tests.fuzzing.reader import Reader

RNG = np.random.default_rng(5)
ROWS, COLUMNS = 24, 37
NAMES = ("cat", "dog", "hot dog", "10", "n01440764")
Mode = tuple[str, dict[str, Any]]  # and how it is saved
RGB: Mode = ("RGB", {})
GREY: Mode = ("L", {})
BILEVEL: Mode = ("1", {})
PALETTE: Mode = ("P", {})
TIFF = [("RGB", {"compression": f"tiff_{each}"}) for each in ("lzw", "adobe_deflate", "jpeg")]


def _pixels() -> np.ndarray:
    """Noise on a slope, so that compressed data has all kinds of parts."""
    slope = np.add.outer(np.arange(ROWS), np.arange(COLUMNS))[:, :, None] * np.array([3, 2, 1])
    noise: np.ndarray = RNG.integers(0, 40, (ROWS, COLUMNS, 3))
    return (slope + noise).astype(np.uint8)


def _images(suffix: str, *modes: Mode) -> Callable[[Path], object]:
    """Makes an image for each mode and way to save it."""

    def make(folder: Path) -> None:
        from PIL import Image

        Image.init()  # all formats, which it would import while an input is watched
        for number, (mode, how) in enumerate(modes):
            image = Image.fromarray(_pixels()).convert(mode)
            image.save(folder / f"{number}.{suffix}", **how)

    return make


def _list(spelling: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        class_folders(folder, *NAMES)
        lines = "".join(f"{name}/a.png {number}\r\n" for number, name in enumerate(NAMES))
        (folder / "val.txt").write_bytes(lines.encode(spelling))

    return make


def _listed(path: Path) -> None:
    open_dataset(str(path.parent), INPUT).image(0)


def _classes(folder: Path) -> None:
    class_folders(folder / "images", *NAMES)
    (folder / "list").write_text("\n".join(NAMES))
    (folder / "words").write_text("\n".join(f"{name}, it is" for name in NAMES))
    (folder / "pairs").write_text("\n".join(f"{name} {len(name)}" for name in NAMES))
    (folder / "pairs.json").write_text(json.dumps({name: len(name) for name in NAMES}))
    (folder / "keras.json").write_text(json.dumps({str(n): [x, x] for n, x in enumerate(NAMES)}))


def _numbered(path: Path) -> None:
    renumbered(open_dataset(str(path.parent / "images"), INPUT), str(path))


def _batches(protocol: int) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        pixels = RNG.integers(0, 256, (3, 3072), dtype=np.uint8)
        content = {"labels": [3, 9, 0], "data": pixels, "filenames": ["a.png", "b.png", "c.png"]}
        (folder / "test_batch").write_bytes(pickle.dumps(content, protocol))

    return make


def _binary(folder: Path) -> None:
    pixels = RNG.integers(0, 10, (5, 3073), dtype=np.uint8)
    (folder / "test_batch.bin").write_bytes(pixels.tobytes())


def _opened(path: Path) -> None:
    data = open_dataset(str(path.parent), INPUT)
    data.image(len(data) - 1)


READERS = {
    "png": Reader(
        _images("png", RGB, GREY, PALETTE, BILEVEL, ("RGBA", {}), ("P", {"transparency": 3})),
        decode,
        changes=(in_bytes, in_png),
    ),
    "jpeg": Reader(_images("jpg", RGB, GREY, ("RGB", {"progressive": True}), ("CMYK", {})), decode),
    "gif": Reader(_images("gif", PALETTE, GREY), decode),
    "bmp": Reader(_images("bmp", RGB, PALETTE, BILEVEL), decode),
    "ppm": Reader(_images("ppm", RGB, GREY, BILEVEL), decode),
    "tiff": Reader(_images("tif", RGB, PALETTE, *TIFF, ("CMYK", {})), decode),
    "webp": Reader(_images("webp", RGB, ("RGBA", {"lossless": True})), decode),
    "list": Reader(_list("utf-8"), _listed, "val.txt"),
    "list_utf16": Reader(_list("utf-16"), _listed, "val.txt"),
    "classes": Reader(_classes, _numbered, changes=(in_bytes, in_json)),
    **{f"cifar_{number}": Reader(_batches(number), _opened) for number in (0, 2, 4, 5)},
    "cifar_binary": Reader(_binary, _opened),
}
