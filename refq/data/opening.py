"""From what a user writes after --data to a data set."""

from __future__ import annotations

from pathlib import Path

from refq.data import cifar, folders
from refq.data.dataset import Dataset
from refq.data.packed import open_packed
from refq.data.random_ import open_random
from refq.errors import DataError, unknown
from refq.networks import bundled

SPLITS = {"test": "glyphs_test.h5", "calibration": "glyphs_calibration.h5"}


def open_dataset(spec: str, input_shape: tuple[int, ...], split: str = "test") -> Dataset:
    """Opens `bundled`, `random:N[:SEED]`, a folder or a packed file; see docs/data.md.

    input_shape: the network's (C, rows, columns), the size of random images.
    split: test or calibration; it chooses among bundled files and CIFAR-10 batches, other kinds
    have only one. Raises DataError that says what was found.
    """
    if split not in SPLITS:
        raise unknown("split", split, list(SPLITS))
    if spec == "bundled":
        return open_packed(bundled.path(SPLITS[split]))
    if spec.startswith("random:"):
        return open_random(spec, input_shape[1], input_shape[2])
    path = Path(spec).expanduser()
    if path.is_dir():
        return _open_folder(path, split)
    if path.is_file():
        return open_packed(path)
    raise DataError(
        f"no data at {spec!r}",
        "bundled, random:N, a folder or a packed .h5 file",
        "check the path given to --data",
    )


def _open_folder(folder: Path, split: str) -> Dataset:
    if (folder / folders.LIST_NAME).is_file():
        return folders.open_listed(folder)
    batch = cifar.batch_file(folder, split)
    if batch is not None:
        return cifar.open_cifar(batch)
    return folders.open_folder(folder)
