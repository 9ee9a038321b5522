"""A file for reading: its nodes by path, its arrays."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from refq.hdf5.guarded import Guarded, Part
from refq.hdf5.nodes import Dataset, Foreign, Group, Hdf5Error, Node, parsed
from refq.hdf5.within import Within, identity

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NUMBERS = "biuf"
LARGEST = 1 << 30  # bytes that are read at once; VGG's fc6 has 411 MB, 822 in double precision


def is_hdf5(head: bytes) -> bool:
    # MATLAB puts 512 bytes of text in front
    return head[:8] == SIGNATURE or head[512:520] == SIGNATURE


class _Reader(Protocol):
    def tree(self) -> Any: ...

    def references(self, path: str) -> Any: ...

    def read(self, part: Part) -> np.ndarray: ...

    def read_ahead(self, part: Part) -> None: ...

    def close(self) -> None: ...


class File:
    """Reads a file from byte `begin` to `end`. Another process says what is in it, and reads what
    has to be unpacked or converted; values that lie in it as they are, are copied from there.

    trusted: it comes with refq, and is read in this process. Methods raise Hdf5Error, in one line,
    for whatever is wrong with the file; so does opening it, which may be later than this.
    """

    def __init__(
        self, path: Path, begin: int = 0, end: int | None = None, trusted: bool = False
    ) -> None:
        self.path, self.begin, self.end = path, begin, end
        self._place = Path(os.path.abspath(path))  # the current folder may change
        self._identity: tuple[int, ...] = ()
        self.reader: _Reader
        if trusted:
            from refq.hdf5.trusted import Trusted  # loads h5py

            self.reader = Trusted(path)
        else:
            self.reader = Guarded(path, begin, end)
        self._finalizer = weakref.finalize(self, self.reader.close)

    def close(self) -> None:
        self._finalizer()

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @functools.cached_property
    def nodes(self) -> Mapping[str, Node]:
        """{path: node}, a group before what is in it."""
        try:
            self._identity = identity(os.stat(self.path))
            return parsed(self.reader.tree())
        except OSError as error:
            raise Hdf5Error(self.path, error.strerror or str(error)) from None
        except (ValueError, TypeError, KeyError):
            raise Hdf5Error(self.path, "its structure makes no sense") from None

    @property
    def root(self) -> Group:
        return self.group("")

    def node(self, path: str) -> Group | Dataset:
        node = self.nodes.get(path)
        if isinstance(node, Foreign):
            raise Hdf5Error(self.path, f"{path}: {node.why}")
        if node is None:
            # behind a link there may be anything: what it is says more than that it is not there
            for end in range(len(path)):
                if path[end] == "/" and isinstance(self.nodes.get(path[:end]), Foreign):
                    return self.node(path[:end])
            raise Hdf5Error(self.path, f"{path}: not in the file")
        return node

    def group(self, path: str) -> Group:
        node = self.node(path)
        if not isinstance(node, Group):
            raise Hdf5Error(self.path, f"{path}: a dataset, and no group")
        return node

    def dataset(self, path: str) -> Dataset:
        node = self.node(path)
        if not isinstance(node, Dataset):
            raise Hdf5Error(self.path, f"{path}: a group, and no dataset")
        return node

    def datasets(self, group: Group) -> Iterator[tuple[str, Dataset]]:
        """(path within the group, dataset) of everything below it, level by level."""
        waiting = [group.path]
        begin = len(group.path) + 1 if group.path else 0
        while waiting:
            place = waiting.pop(0)
            for name in self.group(place).names:
                node = self.node(f"{place}/{name}" if place else name)
                if isinstance(node, Group):
                    waiting.append(node.path)
                else:
                    yield node.path[begin:], node

    def read(self, dataset: Dataset, rows: tuple[int, int] | None = None) -> np.ndarray:
        """Its values, as stored; or those of rows first..last-1 of its first axis."""
        part = self._part(dataset, rows)
        try:
            if dataset.place is not None:
                return self._copied(dataset.place, part)
            return self.reader.read(part)
        except Hdf5Error as error:
            if error.reason.startswith(dataset.path):
                raise
            raise Hdf5Error(self.path, f"{dataset.path}: {error.reason}") from None

    def _copied(self, place: int, part: Part) -> np.ndarray:
        """Bytes of the file, which need no library."""
        values = np.empty(part.shape, part.dtype)
        first = part.rows[0] if part.rows else 0
        try:
            with Within(self._place, self.begin, self.end) as file:
                file.seek(place + first * (values[:1].nbytes if values.ndim else 0))
                file.readinto(values.reshape(-1).view(np.uint8).data)
                if file.identity != self._identity:
                    raise OSError("it has changed")
        except OSError as error:
            raise Hdf5Error(self.path, error.strerror or str(error)) from None
        return values

    def read_ahead(self, dataset: Dataset, rows: tuple[int, int]) -> None:
        """Begins to read what will be asked for next, and returns."""
        if dataset.place is None:
            self.reader.read_ahead(self._part(dataset, rows))

    def _part(self, dataset: Dataset, rows: tuple[int, int] | None) -> Part:
        shape = dataset.shape if rows is None else (rows[1] - rows[0], *dataset.shape[1:])
        part = Part(dataset.path, rows, shape, dataset.dtype)
        if dataset.dtype.kind not in NUMBERS:
            raise Hdf5Error(self.path, f"{dataset.path}: values of type {dataset.dtype.kind}")
        if part.nbytes > LARGEST:
            raise Hdf5Error(self.path, f"{dataset.path}: {part.nbytes:,} bytes at once")
        return part

    def references(self, dataset: Dataset) -> list[Group | Dataset]:
        """What a dataset of references refers to, in C order."""
        told = self.reader.references(dataset.path)
        if not isinstance(told, list) or not all(isinstance(each, str) for each in told):
            raise Hdf5Error(self.path, "its structure makes no sense")
        return [self.node(each) for each in told]


# what is read array by array, by functions that know no more than its path
_RECENT: dict[object, File] = {}
MOST_RECENT = 4


def opened(path: Path, begin: int = 0, end: int | None = None) -> File:
    """The same File for the same bytes, as long as few others are asked for."""
    try:
        told = os.stat(path)
    except OSError as error:
        raise Hdf5Error(path, error.strerror or str(error)) from None
    key = (os.path.abspath(path), identity(told), begin, end)
    file = _RECENT.pop(key, None) or File(path, begin, end)
    _RECENT[key] = file
    for old in list(_RECENT)[:-MOST_RECENT]:
        del _RECENT[old]
    return file
