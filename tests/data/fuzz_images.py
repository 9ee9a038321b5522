"""Feeds broken images, lists, files of classes and CIFAR batches to their readers.

python tests/data/fuzz_images.py [--inputs N] [--seed S] [--seconds T] [--only READER ...]

The driver, what it counts as a finding and its options are those of tests/fuzz_records.py.
"""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from refq.data import open_dataset, renumbered
from refq.data.decoding import decode
from tests import fuzz_records
from tests.data.pictures import INPUT, class_folders
from tests.fuzz_records import Reader

RNG = np.random.default_rng(5)
ROWS, COLUMNS = 24, 37
# images that lists and classes are of
PLACE = Path(tempfile.mkdtemp(prefix="refq-fuzz-")) if __name__ == "__main__" else Path()
NAMES = ("cat", "dog", "hot dog", "10", "n01440764")


def _pixels() -> np.ndarray:
    """Noise on a slope, so that compressed data has all kinds of parts."""
    slope = np.add.outer(np.arange(ROWS), np.arange(COLUMNS))[:, :, None] * np.array([3, 2, 1])
    noise: np.ndarray = RNG.integers(0, 40, (ROWS, COLUMNS, 3))
    return (slope + noise).astype(np.uint8)


def _images(suffix: str, *modes: tuple[str, dict[str, Any]]) -> Callable[[Path], object]:
    """Makes an image for each mode and way to save it."""

    def make(folder: Path) -> None:
        from PIL import Image

        for number, (mode, how) in enumerate(modes):
            image = Image.fromarray(_pixels()).convert(mode)
            image.save(folder / f"{number}.{suffix}", **how)

    return make


def _decoded(folder: Path) -> None:
    for path in folder.iterdir():
        decode(path)


def _decoded_whole(folder: Path) -> None:
    """Of PNGs whose checksums are made right again: else these would stop everything at once."""
    for path in folder.iterdir():
        path.write_bytes(_checked(path.read_bytes()))
        decode(path)


def _checked(data: bytes) -> bytes:
    place, out = 8, bytearray(data)
    while place + 12 <= len(out):
        (length,) = struct.unpack_from(">I", out, place)
        end = place + 8 + length
        if end + 4 > len(out):
            break
        struct.pack_into(">I", out, end, zlib.crc32(out[place + 4 : end]))
        place = end + 4
    return bytes(out)


def _list(folder: Path) -> None:
    _place()
    lines = "".join(f"{name}/a.png {number}\r\n" for number, name in enumerate(NAMES))
    for number, raw in enumerate((lines.encode(), f"\ufeff{lines}".encode("utf-16-le"))):
        (folder / f"{number}.txt").write_bytes(raw)


def _place() -> None:
    if not any(PLACE.iterdir()):
        class_folders(PLACE, *NAMES)


def _listed(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.copy(path, PLACE / "val.txt")
        open_dataset(str(PLACE), INPUT).image(0)


def _classes(folder: Path) -> None:
    _place()
    (folder / "list").write_text("\n".join(NAMES))
    (folder / "words").write_text("\n".join(f"{name}, it is" for name in NAMES))
    (folder / "pairs").write_text("\n".join(f"{name} {len(name)}" for name in NAMES))
    (folder / "pairs.json").write_text(json.dumps({name: len(name) for name in NAMES}))
    (folder / "keras.json").write_text(json.dumps({str(n): [x, x] for n, x in enumerate(NAMES)}))


def _numbered(folder: Path) -> None:
    for path in folder.iterdir():
        renumbered(open_dataset(str(PLACE), INPUT), str(path))


def _batches(protocol: int) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        pixels = RNG.integers(0, 256, (3, 3072), dtype=np.uint8)
        content = {"labels": [3, 9, 0], "data": pixels, "filenames": ["a.png", "b.png", "c.png"]}
        (folder / "test_batch").write_bytes(pickle.dumps(content, protocol))

    return make


def _binary(folder: Path) -> None:
    pixels = RNG.integers(0, 10, (5, 3073), dtype=np.uint8)
    (folder / "test_batch.bin").write_bytes(pixels.tobytes())


def _opened(folder: Path) -> None:
    data = open_dataset(str(folder), INPUT)
    data.image(len(data) - 1)


Mode = tuple[str, dict[str, Any]]
RGB: Mode = ("RGB", {})
GREY: Mode = ("L", {})
PALETTE: Mode = ("P", {})
TIFF = [("RGB", {"compression": f"tiff_{each}"}) for each in ("lzw", "adobe_deflate", "jpeg")]
READERS = {
    "png": Reader(_images("png", RGB, GREY, PALETTE, ("RGBA", {}), ("1", {})), _decoded),
    "png checked": Reader(
        _images("png", RGB, GREY, PALETTE, ("P", {"transparency": 3})), _decoded_whole
    ),
    "jpeg": Reader(
        _images("jpg", RGB, GREY, ("RGB", {"progressive": True}), ("CMYK", {})), _decoded
    ),
    "gif": Reader(_images("gif", PALETTE, GREY), _decoded),
    "bmp": Reader(_images("bmp", RGB, PALETTE, ("1", {})), _decoded),
    "ppm": Reader(_images("ppm", RGB, GREY, ("1", {})), _decoded),
    "tiff": Reader(_images("tif", RGB, PALETTE, *TIFF, ("CMYK", {})), _decoded),
    "webp": Reader(_images("webp", RGB, ("RGBA", {"lossless": True})), _decoded),
    "list": Reader(_list, _listed),
    "classes": Reader(_classes, _numbered),
    **{f"cifar {number}": Reader(_batches(number), _opened) for number in (0, 2, 4, 5)},
    "cifar binary": Reader(_binary, _opened),
}


if __name__ == "__main__":
    # the driver starts a process for each reader: this file again
    fuzz_records.READERS, fuzz_records.__file__ = READERS, __file__
    try:
        sys.exit(fuzz_records.main())
    finally:
        shutil.rmtree(PLACE)
