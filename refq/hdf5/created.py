"""HDF5 files that are written, on a disk that may fill up.

The HDF5 library cannot close a file that it could not write, and ends the process when it tries
again. So it writes to an object that always succeeds: after the first refusal of the disk it keeps
in memory what the library writes of its own, drops arrays, and the refusal is raised behind.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refq.hdf5.within import Positioned

KEPT = 1 << 16  # bytes of one writing, from which on they are an array's and not looked at again


class Created:
    """A new file. Methods raise OSError for what the system refuses; so does leaving its block
    without an error. What is there then is no file: whoever gave the path removes it."""

    def __init__(self, path: Path) -> None:
        self._disk = _Disk(path)
        self._file = h5py.File(self._disk, "w")
        # else HDF5 would close it after Python's end
        self._finalizer = weakref.finalize(self, _abandon, self._file, self._disk)

    def put(self, name: str, values: Any, **how: Any) -> None:
        """A dataset, whole. how: chunks, compression and others of h5py's create_dataset."""
        self._file.create_dataset(name, data=values, **how)
        self._disk.check()

    def make(self, name: str, shape: tuple[int, ...], dtype: Any, **how: Any) -> None:
        """A dataset whose values follow."""
        self._file.create_dataset(name, shape, dtype, **how)
        self._disk.check()

    def fill(self, name: str, place: Any, values: np.ndarray) -> None:
        """Values of a dataset at an index."""
        self._file[name][place] = values
        self._disk.check()

    def state(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Attributes of a dataset or a group; `/` is the file."""
        self._file[name].attrs.update(attributes)
        self._disk.check()

    def values(self, name: str) -> np.ndarray:
        """A dataset that was written."""
        return np.asarray(self._file[name][()])

    def close(self) -> None:
        if self._finalizer.detach():
            try:
                self._file.close()
            finally:
                self._disk.close()
        self._disk.check()

    def __enter__(self) -> Created:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._finalizer()


def _abandon(file: h5py.File, disk: _Disk) -> None:
    """Closes a file that is not complete, and writes no more of it."""
    disk.refused = disk.refused or OSError("not complete")
    file.close()
    disk.close()


class _Disk(Positioned):
    """A new file on the disk, and in memory what the disk did not take."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w+b", buffering=0)
        self.refused: OSError | None = None
        self.kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        if self.refused is not None:
            raise self.refused

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def write(self, content: Any, /) -> int:
        view = memoryview(content).cast("B")
        done = 0
        try:
            while self.refused is None and done < len(view):
                self.file.seek(self.at + done)
                done += self.file.write(view[done:]) or 0
        except OSError as error:
            self.refused = error
        if done < len(view) and len(view) < KEPT:
            self.kept.append((self.at, bytes(view)))
        self.at += len(view)
        self.size = max(self.size, self.at)
        return len(view)

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        self.file.seek(self.at)
        self.file.readinto(view)
        for place, content in self.kept:
            begin, end = max(place, self.at), min(place + len(content), self.at + len(view))
            if begin < end:
                view[begin - self.at : end - self.at] = content[begin - place : end - place]
        self.at += len(view)
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        self.size = self.at if size is None else size
        try:
            if self.refused is None:
                self.file.truncate(self.size)
        except OSError as error:
            self.refused = error
        return self.size

    def close(self) -> None:
        if not self.closed:
            try:
                self.file.close()
            except OSError as error:
                self.refused = self.refused or error
        super().close()
