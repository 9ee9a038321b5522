"""Packed data: images of one size in an HDF5 file, with what there is to say about them.

Datasets `images` uint8 (N, rows, columns, 3) RGB and, optionally, `labels` int64 (N,);
root attributes `name`, `classes` (JSON list), `source`, `licence`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from refq import writing
from refq.data.dataset import Dataset
from refq.errors import DataError
from refq.networks.layers import Shape

CHUNK_BYTES = 1 << 18  # a quarter of the cache that HDF5 keeps of decompressed chunks
BROKEN = (OSError, RuntimeError, KeyError, ValueError)  # what h5py raises on a damaged file
REMEDY = "make it with tools/pack_images.py, or fetch it again"


def open_packed(path: Path) -> Dataset:
    """The images of a packed file, decompressed as they are read."""
    try:
        file = h5py.File(path, "r")
        images, stored = file.get("images"), file.get("labels")
        _check_images(path, images)
        labels = None if stored is None else _labels(path, stored, len(images))
        name = str(file.attrs.get("name", path.stem))
        classes = _classes(path, file.attrs.get("classes"))
    except BROKEN as error:
        raise _unreadable(str(path), error) from None

    def where(index: int) -> str:
        return f"{path}, image {index}"

    def read(index: int) -> np.ndarray:
        try:
            return images[index]
        except BROKEN as error:
            raise _unreadable(where(index), error) from None

    return Dataset(name, len(images), read, where, labels, classes)


def write(
    path: Path,
    images: Iterable[np.ndarray],
    count: int,
    *,
    name: str,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] | None = None,
    source: str = "",
    licence: str = "",
) -> None:
    """Writes `count` images, uint8 (rows, columns, 3) of one size, and labels, int64 (count,).

    One image is in memory at a time; the file appears only when it is complete.
    Raises DataError for an image of another size, OptionError for a path that cannot be written.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise DataError(f"cannot write {path}", "a file's name in a folder that exists")

    def whole(partial: Path) -> None:
        with h5py.File(partial, "w") as file:
            _write_images(file, images, count)
            if labels is not None:
                file.create_dataset("labels", data=np.asarray(labels, np.int64))
            if classes is not None:
                file.attrs["classes"] = json.dumps(list(classes))
            for key, text in (("name", name), ("source", source), ("licence", licence)):
                file.attrs[key] = text

    writing.write_whole(str(path), whole)


def _write_images(file: h5py.File, images: Iterable[np.ndarray], count: int) -> None:
    target, shape, written = None, (0, 0, 3), 0
    for image in images:
        if target is None:
            shape = image.shape
            together = max(1, min(count, CHUNK_BYTES // image.size))
            target = file.create_dataset(
                "images",
                (count, *shape),
                np.uint8,
                chunks=(together, *shape),
                compression="gzip",
                shuffle=True,
            )
        if image.shape != shape:
            raise DataError(
                f"image {written} is {image.shape[0]}x{image.shape[1]}",
                f"{shape[0]}x{shape[1]} like those before it",
                "give --size ROWSxCOLUMNS to scale and crop all to one size",
            )
        target[written] = image
        written += 1
    if written != count:
        raise DataError(f"{written} images", str(count))


def _check_images(path: Path, images: object) -> None:
    wanted = "dataset 'images', uint8 (N, rows, columns, 3)"
    if not isinstance(images, h5py.Dataset):
        raise DataError(f"{path}: no dataset 'images'", wanted, REMEDY)
    if images.dtype != np.uint8:
        raise DataError(f"{path}: 'images' of dtype {images.dtype}", wanted, REMEDY)
    shape: Shape = images.shape or ()
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise DataError(f"{path}: 'images' of shape {shape}", wanted, REMEDY)


def _labels(path: Path, stored: object, count: int) -> np.ndarray:
    if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "iu":
        found = getattr(stored, "dtype", "group")
        raise DataError(f"{path}: 'labels' of dtype {found}", "int64", REMEDY)
    if stored.shape != (count,):
        raise DataError(f"{path}: 'labels' of shape {stored.shape}", f"({count},)", REMEDY)
    return stored[()].astype(np.int64)


def _classes(path: Path, stored: object) -> tuple[str, ...] | None:
    if stored is None:
        return None
    try:
        names = json.loads(str(stored))
    except ValueError:
        names = None
    if not isinstance(names, list):
        raise DataError(f"{path}: attribute 'classes' {stored!r}", "a JSON list", REMEDY)
    return tuple(str(name) for name in names)


def _unreadable(what: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"cannot read {what} ({reason})", "a complete packed HDF5 file", REMEDY)
