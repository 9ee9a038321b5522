"""Packed data: images of one size in an HDF5 file, with what there is to say about them.

Datasets `images` uint8 (N, rows, columns, 3) RGB and, optionally, `labels` int64 (N,);
root attributes `name`, `classes` (JSON list), `source`, `licence`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from refq.data.dataset import Dataset
from refq.data.rows import Rows
from refq.errors import DataError, OptionError
from refq.files import json_, writing
from refq.hdf5 import nodes
from refq.hdf5.created import Created
from refq.hdf5.file import File
from refq.hdf5.nodes import Hdf5Error
from refq.networks import bundled
from refq.networks.layers import Shape

CHUNK_BYTES = 1 << 18  # a quarter of the cache that HDF5 keeps of decompressed chunks
LARGEST = 1 << 28  # bytes of one image: 89 million pixels
REMEDY = "make it with tools/pack_images.py, or fetch it again"


def is_packed(file: File) -> bool:
    """Whether an HDF5 file has images as refq packs them, or cannot be read; it may have other
    arrays else."""
    try:
        images = file.nodes.get("images")
    except Hdf5Error:
        return True
    if isinstance(images, nodes.Dataset):
        return images.dtype == np.uint8 and len(images.shape) == 4 and images.shape[3] == 3
    return images is not None


def open_packed(path: Path, opened: File | None = None) -> Dataset:
    """The images of a packed file, decompressed as they are read. opened: the file, if it is."""
    file = opened or File(path, trusted=bundled.holds(path))
    try:
        stored, labels = file.nodes.get("images"), file.nodes.get("labels")
        images = Rows(file, _checked_images(path, stored))
        count = len(images)
        classes = _classes(path, file.root.attributes.get("classes"))
        name = file.root.attributes.get("name")
        return Dataset(
            nodes.shown(name) if isinstance(name, str) else path.stem,
            count,
            images,
            lambda index: f"{path}, image {index}",
            None if labels is None else _labels(file, labels, count),
            classes,
        )
    except Hdf5Error as error:
        told = f"cannot read {path} ({error.reason})"
        raise DataError(told, "a complete packed HDF5 file", REMEDY) from None


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
    texts = {"name": name, "source": source, "licence": licence}

    def write_hdf5(partial: Path) -> None:
        with Created(partial) as file:
            _write_images(file, images, count)
            if labels is not None:
                file.put("labels", np.asarray(labels, np.int64))
            if classes is not None:
                file.state("/", {"classes": json.dumps(list(classes))})
            file.state("/", texts)

    try:
        writing.write_whole(str(path), write_hdf5)
    except OptionError as error:
        raise DataError(error.found, "a writable folder with room for it") from None


def _write_images(file: Created, images: Iterable[np.ndarray], count: int) -> None:
    shape, written = (0, 0, 3), 0
    for image in images:
        if not written:
            shape = image.shape
            together = max(1, min(count, CHUNK_BYTES // image.size))
            file.make(
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
        file.fill("images", written, image)
        written += 1
    if written != count:
        raise DataError(f"{written} images", str(count))


def _checked_images(path: Path, images: nodes.Node | None) -> nodes.Dataset:
    wanted = "dataset 'images', uint8 (N, rows, columns, 3)"
    if isinstance(images, nodes.Foreign):
        raise DataError(f"{path}: 'images' cannot be read ({images.why})", wanted, REMEDY)
    if images is None or not isinstance(images, nodes.Dataset):
        raise DataError(f"{path}: no dataset 'images'", wanted, REMEDY)
    if images.dtype != np.uint8:
        raise DataError(f"{path}: 'images' of dtype {images.dtype}", wanted, REMEDY)
    shape: Shape = images.shape
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise DataError(f"{path}: 'images' of shape {shape}", wanted, REMEDY)
    if images.nbytes // shape[0] > LARGEST:
        raise DataError(
            f"{path}: images of {shape[1]}x{shape[2]}", f"{LARGEST // 3:,} pixels or less", REMEDY
        )
    return images


def _labels(file: File, stored: nodes.Node, count: int) -> np.ndarray:
    if not isinstance(stored, nodes.Dataset) or stored.dtype.kind not in "iu":
        found = getattr(stored, "dtype", getattr(stored, "why", "group"))
        raise DataError(f"{file.path}: 'labels' of dtype {found}", "int64", REMEDY)
    if stored.shape != (count,):
        raise DataError(f"{file.path}: 'labels' of shape {stored.shape}", f"({count},)", REMEDY)
    labels = file.read(stored)
    if labels.size and int(labels.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{file.path}: label {labels.max()}", "int64", REMEDY)
    return labels.astype(np.int64)


def _classes(path: Path, stored: nodes.Value | None) -> tuple[str, ...] | None:
    if stored is None:
        return None
    told = stored.why if isinstance(stored, nodes.Foreign) else str(stored)
    try:
        names = json_.parse(told.encode())
    except ValueError:
        names = None
    if not isinstance(names, list):
        told = told[:80]
        raise DataError(f"{path}: attribute 'classes' {told!r}", "a JSON list", REMEDY)
    return tuple(str(name) for name in names)
