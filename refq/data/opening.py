"""From what a user writes after --data to a data set."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from refq.data import cifar, folders, listing
from refq.data.arrays import Source, open_arrays
from refq.data.dataset import Dataset, shown
from refq.data.mistaken import WANTED, check_data
from refq.data.packed import is_packed, open_packed
from refq.data.random_ import open_random
from refq.data.stored import of_hdf5, of_npy, of_npz
from refq.errors import DataError, OptionError, listed, unknown
from refq.files import given
from refq.hdf5.file import File
from refq.hdf5.nodes import Hdf5Error
from refq.networks import bundled
from refq.networks.layers import Shape

NPY, ZIP = b"\x93NUMPY", b"PK"
SPLITS = {"test": "glyphs_test.h5", "calibration": "glyphs_calibration.h5"}


def open_dataset(
    spec: str,
    input_shape: tuple[int, ...],
    split: str = "test",
    order: str | None = None,
    parts: Mapping[str, Shape] = {},
) -> Dataset:
    """Opens `bundled`, `random:N[:SEED]`, a folder, packed images or a file of arrays, of which
    `FILE:NAME` says which one; see docs/data.md.

    input_shape: the network's (C, rows, columns), the size of random images and the shape
    of arrays' rows.
    split: test or calibration; it chooses among bundled files and CIFAR-10 batches, other kinds
    have only one. order: of class folders, one of folders.ORDERS, by default natural. parts: shapes
    of the network's inputs by name, where it has several: arrays of these names are joined. Raises
    DataError that says what was found, OptionError for an order where there are no such folders.
    """
    if split not in SPLITS:
        raise unknown("split", split, list(SPLITS))
    dataset = _opened(spec, input_shape, split, order or "natural", parts)
    if order is not None and not dataset.order:
        raise OptionError(f"--class-order with {dataset.name}", "class folders, which have one")
    return dataset


def _opened(
    spec: str, input_shape: Shape, split: str, order: str, parts: Mapping[str, Shape]
) -> Dataset:
    if spec == "bundled":
        return replace(open_packed(bundled.path(SPLITS[split])), splits=True)
    if spec.startswith("random:"):
        return open_random(spec, input_shape)
    path, mode, name = _place(spec)
    if stat.S_ISDIR(mode):
        return _open_folder(path, split, order)
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is {given.kind_of(mode)}", WANTED)
    return _open_file(path, name, input_shape, parts)


def _open_file(path: Path, name: str, input_shape: Shape, parts: Mapping[str, Shape]) -> Dataset:
    """Packed images, or arrays."""
    head = check_data(path)
    if head.startswith(NPY):
        if name:
            raise DataError(f"{path} is a single array, and has no {shown(name)}", str(path))
        return open_arrays(Source(path, of_npy(path)), input_shape)
    if head.startswith(ZIP):
        return open_arrays(_named(Source(path, of_npz(path), parts=parts), name), input_shape)
    file = File(path, trusted=bundled.holds(path))
    if not name and is_packed(file):
        return open_packed(path, file)
    try:
        arrays = of_hdf5(file, name.strip("/") or None)
    except Hdf5Error as error:
        told = f"cannot read {path} ({error.reason})"
        raise DataError(told, "a complete HDF5 file", "fetch it again") from None
    if not arrays:
        raise DataError(
            f"{path} is HDF5 with no dataset {name or 'images'!r}",
            "a dataset of images or other inputs",
            "weights are given by --weights; images are packed by tools/pack_images.py",
        )
    source = Source(path, arrays, parts=parts)
    return open_arrays(_named(source, name.strip("/")), input_shape)


def _named(source: Source, name: str) -> Source:
    """The source with an array that is asked for."""
    if name and name not in source.arrays:
        raise DataError(f"{source.path} has no array {shown(name)}", f"{listed(source.arrays)}")
    return replace(source, name=name)


def file_of(spec: str) -> str:
    """The path alone of what a user wrote after --data: X.npz of `X.npz:NAME`."""
    path, colon, name = spec.rpartition(":")
    return path if colon and name and not os.path.lexists(spec) and os.path.isfile(path) else spec


def _place(spec: str) -> tuple[Path, int, str]:
    """(path, what it is, name of an array in it) of what a user wrote. Raises DataError for what
    cannot be reached."""
    file = file_of(spec)
    path = Path(file)
    try:
        path = path.expanduser()
        return path, path.stat().st_mode, spec[len(file) + 1 :]
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: ~ of a stranger
        if isinstance(error, FileNotFoundError) and not os.path.islink(path):
            found = f"no data at {spec!r}"
        else:
            nowhere = os.path.islink(path) and not isinstance(error, PermissionError)
            reason = "a link that leads nowhere" if nowhere else getattr(error, "strerror", error)
            found = f"cannot read {spec!r} ({reason})"
        raise DataError(found, WANTED, "check the path given to --data") from None


def _open_folder(folder: Path, split: str, order: str) -> Dataset:
    try:
        if listing.listed_in(folder):
            return listing.open_listed(folder)
    except OSError as error:
        raise DataError(f"cannot list {folder} ({error.strerror})", "a readable folder") from None
    batch = cifar.batch_file(folder, split)
    if batch is not None:
        return replace(cifar.open_cifar(batch), splits=True)
    return folders.open_folder(folder, order)
