"""Arrays with every corner of their range, as files of words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refq.hardware.files import file_format
from refq.hardware.files.array import Array
from refq.hardware.files.words import BIG, Packing

TEXTS = ("mem", "hex", "coe", "mif")
BINARY = ("raw", "npy", "npz", "hdf5")
PLAIN = Packing(byte_order=BIG)
SHAPE = (2, 3, 5, 7)


def array(
    bits: int, signed: bool, shape: tuple[int, ...] = SHAPE, name: str = "conv1.sum"
) -> Array:
    kind = "s" if signed else "u"
    text = f"fxp-{kind}{bits}/-3 = ap_{'' if signed else 'u'}fixed<{bits},{bits + 3}>"
    return Array(name, shape, ("N", "C", "H", "W")[: len(shape)], bits, signed, text)


def codes_of(own: Array, seed: int = 1) -> np.ndarray:
    """Random codes, with the ends of the range among them."""
    half = 1 << (own.bits - 1)
    low, high = (-half, half) if own.signed else (0, 2 * half)
    out = np.random.default_rng(seed).integers(low, high, own.shape, np.int64)
    out.reshape(-1)[:4] = [low, high - 1, 0, max(low, -1)]
    return out


def place(folder: Path, format_: str, own: Array) -> Path:
    module = file_format(format_)
    return folder / (module.SINGLE or own.name + module.SUFFIX)


def written(
    folder: Path,
    format_: str,
    own: Array,
    codes: np.ndarray,
    packing: Packing,
    parts: tuple[int, ...] = (),
) -> Path:
    """A file, made in parts that end at those words."""
    folder.mkdir(exist_ok=True)
    writer = file_format(format_).writer(folder, packing)
    for part in np.split(codes.reshape(-1), parts):
        writer.append(own, part)
    writer.close()
    return place(folder, format_, own)


SMALL = array(12, True, (2, 3), "a.sum")
SMALL_CODES = np.array([1, -2, 3, -2048, 2047, 100])
