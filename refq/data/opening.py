"""From what a user writes after --data to a data set."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from refq.data import cifar, folders, listing
from refq.data.dataset import Dataset
from refq.data.mistaken import WANTED, check_packed
from refq.data.packed import open_packed
from refq.data.random_ import open_random
from refq.errors import DataError, OptionError, unknown
from refq.files import given
from refq.networks import bundled

SPLITS = {"test": "glyphs_test.h5", "calibration": "glyphs_calibration.h5"}


def open_dataset(
    spec: str, input_shape: tuple[int, ...], split: str = "test", order: str | None = None
) -> Dataset:
    """Opens `bundled`, `random:N[:SEED]`, a folder or a packed file; see docs/data.md.

    input_shape: the network's (C, rows, columns), the size of random images.
    split: test or calibration; it chooses among bundled files and CIFAR-10 batches, other kinds
    have only one. order: of class folders, one of folders.ORDERS, by default natural. Raises
    DataError that says what was found, OptionError for an order where there are no such folders.
    """
    if split not in SPLITS:
        raise unknown("split", split, list(SPLITS))
    dataset = _opened(spec, input_shape, split, order or "natural")
    if order is not None and not dataset.order:
        raise OptionError(f"--class-order with {dataset.name}", "class folders, which have one")
    return dataset


def _opened(spec: str, input_shape: tuple[int, ...], split: str, order: str) -> Dataset:
    if spec == "bundled":
        return replace(open_packed(bundled.path(SPLITS[split])), splits=True)
    if spec.startswith("random:"):
        return open_random(spec, input_shape[1], input_shape[2])
    path, mode = _place(spec)
    if stat.S_ISDIR(mode):
        return _open_folder(path, split, order)
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is {given.kind_of(mode)}", WANTED)
    check_packed(path)
    try:
        return open_packed(path)
    except DataError as error:
        if "no dataset 'images'" not in error.found:
            raise
        raise DataError(
            f"{path} is HDF5 with {error.found.partition(': ')[2]}",
            error.wanted,
            "weights are given by --weights; images are packed by tools/pack_images.py",
        ) from None


def _place(spec: str) -> tuple[Path, int]:
    """(path, what it is) of what a user wrote. Raises DataError for what cannot be reached."""
    path = Path(spec)
    try:
        path = path.expanduser()
        return path, path.stat().st_mode
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
