"""Readers of arrays of inputs, and of labels that are given beside data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from refq.data import Dataset, open_dataset, relabelled
from tests.fuzzing.changes import in_bytes, in_hdf5, in_zip
from tests.fuzzing.reader import Reader

SHAPE = (3, 8, 9)
ROWS = 12
RNG = np.random.default_rng(31)
SECONDS = 40  # of HDF5, which another process reads


def _values(dtype: str = "f4", order: str = "C") -> np.ndarray:
    made = RNG.normal(0, 50, (ROWS, *SHAPE)).astype(dtype)
    return np.asfortranarray(made) if order == "F" else made


def _npy(folder: Path) -> None:
    np.save(folder / "a.npy", _values())
    np.save(folder / "b.npy", _values("u1").transpose(0, 2, 3, 1))
    np.save(folder / "c.npy", _values(">f8", "F"))


def _npz(save: Callable[..., None]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        save(folder / "a.npz", x=_values("f2"), labels=np.arange(ROWS), other=np.float32(1))

    return make


def _hdf5(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("inputs", data=_values(), chunks=(3, *SHAPE), compression="gzip")
        file["labels"] = np.arange(ROWS, dtype=">i4")


def _read(path: Path) -> None:
    data = open_dataset(str(path), SHAPE)
    for index in {*range(min(len(data), 20)), len(data) - 1}:
        data.image(index)


def _labels(folder: Path) -> None:
    (folder / "text").write_text("\n".join(map(str, range(ROWS))))
    (folder / "wide").write_text("\r\n".join(map(str, range(ROWS))), "utf-16")
    np.save(folder / "a.npy", np.arange(ROWS))


def _relabel(path: Path) -> None:
    relabelled(Dataset("rows", ROWS, lambda index: np.zeros(SHAPE), str), str(path))


def _objects(path: Path) -> None:
    """Objects, whose pickle would run a command."""
    made = np.empty(ROWS, object)
    made[:] = [_Command()] * ROWS
    with path.open("wb") as file:
        np.save(file, made, allow_pickle=True)


class _Command:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("true",)


def _immense(path: Path) -> None:
    """More rows than any disk holds."""
    with path.open("wb") as file:
        entries = {"descr": "<f4", "fortran_order": True, "shape": (1 << 50, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, entries)


READERS = {
    "array_npy": Reader(_npy, _read, constructed=(_objects, _immense)),
    "array_npz": Reader(_npz(np.savez), _read, changes=(in_bytes, in_zip)),
    "array_npz_packed": Reader(_npz(np.savez_compressed), _read, changes=(in_bytes, in_zip)),
    "array_hdf5": Reader(_hdf5, _read, changes=(in_bytes, in_hdf5), seconds=SECONDS),
    "labels": Reader(_labels, _relabel, constructed=(_objects,)),
}
