"""What h5py reads of a file: its tree as lists and dictionaries, its arrays block by block.

Links to other files, soft links, virtual datasets, external storage and filters other than gzip's
are told and not followed: they could read any file of the machine, wait for one without an end, or
run a plugin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import h5py
import numpy as np

from refq.hdf5.within import Within

SHUFFLE, DEFLATE, CHECKSUM = 2, 1, 3
PIPELINE = (SHUFFLE, DEFLATE, CHECKSUM)  # of gzip; other filters take memory as the file says
LINKS = {h5py.h5l.TYPE_SOFT: "SoftLink", h5py.h5l.TYPE_EXTERNAL: "ExternalLink"}
NUMBERS = "biuf"

MOST_NODES = 100_000  # a MatConvNet network has some ten thousand
DEEPEST = 32  # groups within groups
LONGEST_TEXT = 16 << 20  # bytes of an attribute; a model's configuration has up to a megabyte
MOST_TEXT = 64 << 20  # bytes of all attributes
DENSEST = 1032  # times that gzip can shorten
SPARE = 1 << 20  # bytes that need not be stored: biases that are all zero
BLOCK = 1 << 24  # bytes that are read at a time

Item = Union[h5py.Group, h5py.Dataset]


class RefusedError(Exception):
    """Why something is not read."""


def reason(error: Exception) -> str:
    """A line about what Library raises."""
    if isinstance(error, MemoryError):
        return "it takes too much memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@dataclass(frozen=True)
class _Readable:
    """A dataset that may be read, and what h5py would ask the library for at each turn: its shape
    (None for an empty one), how many rows are read at once, and their bytes."""

    dataset: h5py.Dataset
    dtype: np.dtype
    shape: tuple[int, ...] | None
    rows: int
    block: int


class Library:
    """An open file. Methods raise RefusedError, or what h5py raises on a damaged one."""

    def __init__(self, file: h5py.File) -> None:
        self.file = file
        self.paths: dict[int, str] = {}  # of nodes, by their addresses
        self.readable: dict[str, _Readable] = {}
        self.text, self.count = 0, 0  # bytes of attributes, and how many there are

    @classmethod
    def opened(cls, path: Path, begin: int = 0, end: int | None = None) -> Library:
        return cls(h5py.File(Within(path, begin, end), "r"))

    @property
    def bytes(self) -> int:
        """Of the file."""
        return int(self.file.id.get_filesize())

    def close(self) -> None:
        self.file.close()

    def tree(self) -> list[dict[str, Any]]:
        """Every node once, groups before what is in them; `nodes.parsed` says how it is told."""
        self.paths, self.text, self.count = {_address(self.file): ""}, 0, 0
        nodes: list[dict[str, Any]] = []
        waiting = [("", self.file, 0)]
        while waiting:
            path, group, depth = waiting.pop(0)
            names = list(group)
            if len(nodes) + len(waiting) + len(names) > MOST_NODES or depth > DEEPEST:
                raise RefusedError(f"more than {MOST_NODES:,} parts, or more than {DEEPEST} deep")
            nodes.append({"path": path, "names": names, "attributes": self._attributes(group)})
            for name in names:
                whole = f"{path}/{name}" if path else name
                item = _member(group, name)
                if isinstance(item, h5py.Group):
                    address = _address(item)
                    if address not in self.paths:
                        self.paths[address] = whole
                        waiting.append((whole, item, depth + 1))
                        continue
                    item = "a group within itself, or twice"
                nodes.append(self._described(whole, item))
        return nodes

    def _described(self, path: str, item: h5py.Dataset | str) -> dict[str, Any]:
        if isinstance(item, str) or (why := _unusual(item)):
            return {"path": path, "why": item if isinstance(item, str) else why}
        self.paths.setdefault(_address(item), path)
        dtype = _dtype(item)
        return {
            "path": path,
            "attributes": self._attributes(item),
            "shape": [0] if item.shape is None else list(item.shape),
            "dtype": dtype.str,
            "references": h5py.check_ref_dtype(dtype) is h5py.Reference,
            "chunks": None if item.chunks is None else list(item.chunks),
            "stored": item.id.get_storage_size(),
            "place": _place(item, dtype),
        }

    def _attributes(self, item: Item) -> dict[str, Any]:
        names = list(item.attrs)
        self.count += len(names)
        if self.count > MOST_NODES:
            raise RefusedError(f"more than {MOST_NODES:,} attributes")
        return {name: self._attribute(item, name) for name in names}

    def _attribute(self, item: Item, name: str) -> Any:
        stored = h5py.h5a.open(item.id, name.encode("utf-8", "surrogateescape"))
        count, kind = stored.get_space().get_simple_extent_npoints(), stored.get_type()
        if not count:
            return []
        is_text = isinstance(kind, h5py.h5t.TypeStringID)
        # the length of text of variable length is known once it is read
        size = count * (1 if is_text and kind.is_variable_str() else kind.get_size())
        if size > LONGEST_TEXT:
            return {"why": f"{size:,} bytes"}
        if not is_text and not isinstance(kind, (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)):
            return {"why": "no text and no number"}
        try:
            value = np.asarray(item.attrs[name])
        except Exception as error:
            return {"why": reason(error)}  # which is told to who wants to know it
        values = [_plain(each) for each in value.reshape(-1).tolist()]
        size = sum(len(str(each)) for each in values) if is_text else size
        self.text += size
        if size > LONGEST_TEXT or self.text > MOST_TEXT:
            return {"why": f"{size:,} bytes"}
        return values if value.shape else values[0]

    def sized(self, path: str) -> int:
        """The bytes of a dataset that are in memory at a time, but for what HDF5 takes."""
        return self._readable(path).block

    def _readable(self, path: str) -> _Readable:
        if path not in self.readable:
            dataset = _checked(self._dataset(path))
            rows = _rows_at_a_time(dataset)
            self.readable[path] = _Readable(
                dataset, dataset.dtype, dataset.shape, rows, rows * _row_bytes(dataset)
            )
        return self.readable[path]

    def _dataset(self, path: str) -> h5py.Dataset:
        item: Item | str = self.file
        for name in path.split("/"):
            if not isinstance(item, h5py.Group):
                break
            item = _member(item, name)
        if isinstance(item, str):
            raise RefusedError(f"{path}: {item}")
        if not isinstance(item, h5py.Dataset):
            raise RefusedError(f"{path}: no dataset")
        return item

    def read(self, path: str, rows: tuple[int, int] | None) -> Iterator[np.ndarray]:
        """Blocks of a dataset of numbers in C order, of all or of some of the first axis' rows."""
        found = self._readable(path)
        if found.dtype.kind not in NUMBERS:
            raise RefusedError(f"{path}: values of type {found.dtype.kind}")
        if not found.shape:
            yield np.asarray(found.dataset[()])
            return
        first, last = (0, found.shape[0]) if rows is None else rows
        while first < last:
            # up to the end of a chunk: no chunk is unpacked twice
            after = min(last, (first // found.rows + 1) * found.rows)
            yield np.ascontiguousarray(found.dataset[first:after])
            first = after

    def references(self, path: str) -> list[str]:
        """Paths of what a dataset of references refers to, in C order."""
        if not self.paths:
            self.tree()
        dataset = self._readable(path).dataset
        if h5py.check_ref_dtype(dataset.dtype) is not h5py.Reference:
            raise RefusedError(f"{path}: no references")
        found = []
        for reference in np.asarray(dataset[()]).reshape(-1):
            if not reference:
                raise RefusedError(f"{path}: a reference to nothing")
            place = self.paths.get(_address(self.file[reference]))
            if place is None:
                raise RefusedError(f"{path}: a reference to what has no name")
            found.append(place)
        return found


def _address(item: Item) -> int:
    return h5py.h5o.get_info(item.id).addr


def _member(group: h5py.Group, name: str) -> Item | str:
    """What a hard link leads to; in words why it is not read."""
    stored = name.encode("utf-8", "surrogateescape")
    kind = group.id.links.get_info(stored).type
    if kind != h5py.h5l.TYPE_HARD:
        return f"a link to elsewhere ({LINKS.get(kind, 'user-defined')})"
    place = h5py.h5o.open(group.id, stored)
    if isinstance(place, h5py.h5g.GroupID):
        return h5py.Group(place)
    if not isinstance(place, h5py.h5d.DatasetID):
        return "a type, and no dataset"
    # asking a virtual dataset for its shape would open the other file
    made = place.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
        return "values in another file"
    return h5py.Dataset(place)


def _dtype(dataset: h5py.Dataset) -> np.dtype:
    try:
        return dataset.dtype
    except (TypeError, ValueError):
        return np.dtype("V1")  # of no type that NumPy has


def _place(dataset: h5py.Dataset, dtype: np.dtype) -> int | None:
    """Where its values lie in the file, one after the other and as NumPy has them; None where they
    do not."""
    offset = dataset.id.get_offset() if dtype.kind in "iuf" else None
    as_they_are = offset is not None and dataset.id.get_type() == h5py.h5t.py_create(dtype)
    return offset if as_they_are else None


def _unusual(dataset: h5py.Dataset) -> str:
    """Why a dataset is not read; empty where it is."""
    made = dataset.id.get_create_plist()
    filters = [made.get_filter(index)[0] for index in range(made.get_nfilters())]
    if filters != [each for each in PIPELINE if each in filters]:
        return "compressed by other than gzip"
    held = dataset.id.get_storage_size()
    if held > dataset.file.id.get_filesize():
        return f"{held:,} bytes, more than the file has"
    if dataset.chunks and _chunk_bytes(dataset) > 4 * dataset.nbytes + SPARE:
        return "chunks larger than the dataset"
    return ""


def _checked(dataset: h5py.Dataset) -> h5py.Dataset:
    """The same. Raises RefusedError for what `tree` tells why not, and for sizes without values."""
    name, why = dataset.name.strip("/"), _unusual(dataset)
    if not why and dataset.nbytes > DENSEST * dataset.id.get_storage_size() + SPARE:
        why = f"{dataset.nbytes:,} bytes, of which the file stores hardly any"
    if why:
        raise RefusedError(f"{name}: {why}")
    return dataset


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return int(np.prod([*dataset.chunks, dataset.dtype.itemsize], dtype=object))


def _row_bytes(dataset: h5py.Dataset) -> int:
    return int(np.prod([*dataset.shape[1:], dataset.dtype.itemsize], dtype=object))


def _rows_at_a_time(dataset: h5py.Dataset) -> int:
    rows = max(1, BLOCK // max(1, _row_bytes(dataset)))
    together = dataset.chunks[0] if dataset.chunks else 1
    return min(-(-rows // together) * together, max(1, *dataset.shape[:1])) if dataset.shape else 1


def _plain(value: Any) -> str | int | float:
    """Text without what no text may have: bytes that are no UTF-8."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
