"""HDF5 files of strangers: only plain datasets inside the file, of bounded size.

Links to other files, soft links, virtual datasets and external storage could read any file of the
machine, or wait for one without an end; datasets that store little and say they are large would
fill the memory.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import h5py
import numpy as np

from refq.importers.contents import DEEPEST, MOST, Tensor, checked_shape, float32, inflated, refuse
from refq.networks.layers import Shape

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SHUFFLE, DEFLATE, CHECKSUM = 2, 1, 3
PIPELINE = (SHUFFLE, DEFLATE, CHECKSUM)  # of gzip; other filters take memory as the file says
DENSEST = 64  # times that compressed weights may be smaller
MOST_CHUNKS = 4 * MOST
OTHER_LINKS = {h5py.h5l.TYPE_SOFT: "SoftLink", h5py.h5l.TYPE_EXTERNAL: "ExternalLink"}


def is_hdf5(head: bytes) -> bool:
    # MATLAB puts 512 bytes of text in front
    return head[:8] == SIGNATURE or head[512:520] == SIGNATURE


@dataclass(frozen=True)
class Part:
    """An HDF5 file that lies within another file, from byte `begin` to `end`."""

    path: Path
    begin: int
    end: int

    def open(self, mode: str = "rb") -> _Within:
        return _Within(self)


class _Within(io.RawIOBase):
    """The bytes of a part, for reading."""

    def __init__(self, part: Part) -> None:
        self.part, self.file, self.at = part, part.path.open("rb", buffering=0), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.part.end - self.part.begin}
        self.at = max(0, base[whence] + offset)
        return self.at

    def readinto(self, buffer: Any, /) -> int:
        begin = self.part.begin + self.at
        self.file.seek(begin)
        view = memoryview(buffer).cast("B")
        count = self.file.readinto(view[: max(0, self.part.end - begin)])
        self.at += count
        return count

    def close(self) -> None:
        self.file.close()
        super().close()


Source = Union[Path, Part]


def opened(path: Source) -> h5py.File:
    # locking would refuse files on read-only disks
    if isinstance(path, Path):
        return h5py.File(path, "r", locking=False)
    return h5py.File(path.open(), "r")


def top_names(path: Path) -> set[str]:
    """Names of the root's links, and of its attributes behind an @."""
    with opened(path) as file:
        if len(file) + len(file.attrs) > MOST:
            raise refuse("a file of too many groups", f"{MOST} parts")
        return {*file.keys(), *(f"@{name}" for name in file.attrs)}


def member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """What hard links lead to, part by part: behind a name with slashes may be any group.

    Raises WeightsError for any other link, and for a dataset whose values are not in the file.
    """
    place = group
    for part in name.split("/"):
        if not isinstance(place, h5py.Group):
            raise refuse(f"{name}: a part of what is no group")
        # not `get`: it opens whatever leads up to the last part
        kind = place.id.links.get_info(part.encode("utf-8", "surrogateescape")).type
        if kind != h5py.h5l.TYPE_HARD:
            other = OTHER_LINKS.get(kind, "user-defined")
            raise refuse(f"{name}: a link to elsewhere ({other})", "plain datasets")
        place = place[part]
    return within(place, name)


def within(item: h5py.Group | h5py.Dataset, name: str) -> h5py.Group | h5py.Dataset:
    """The same. Raises WeightsError for values in another file, which asking a virtual dataset for
    its shape would already open."""
    if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
        raise refuse(f"{name}: values in another file", "values in the file itself")
    return item


def walk(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """(path, dataset) of everything below a group, in the order of names."""
    waiting, count, seen = [("", group, 0)], 0, set()
    while waiting:
        prefix, place, depth = waiting.pop(0)
        for name in place:
            count += 1
            if count > MOST or depth > DEEPEST:
                raise refuse("a file of too many groups", f"{MOST} parts, {DEEPEST} deep")
            item = member(place, name)
            path = f"{prefix}{name}"
            if isinstance(item, h5py.Dataset):
                yield path, item
            elif isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    raise refuse(f"{path}: a group within itself, or twice")
                seen.add(address)
                waiting.append((f"{path}/", item, depth + 1))


def tensor(dataset: h5py.Dataset, name: str, path: Source) -> Tensor:
    """A dataset of floats, read from the file when it is asked for."""
    dtype = dataset.dtype
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise refuse(f"{name}: values of type {dtype.kind}{dtype.itemsize}", "floats")
    sizes, where = checked(dataset, name), dataset.name

    def load() -> np.ndarray:
        with opened(path) as file:
            return float32(values(member(file, where.strip("/")), name), "")

    return Tensor(sizes, load)


def checked(dataset: h5py.Dataset, name: str) -> Shape:
    """The shape. Raises WeightsError for a dataset that is too large for a layer, or for what the
    file stores of it."""
    size = dataset.dtype.itemsize
    shape = checked_shape(name, dataset.shape, size)
    if _filters(dataset) != [each for each in PIPELINE if each in _filters(dataset)]:
        raise refuse(f"{name}: compressed by other than gzip", "gzip, or no compression")
    held = dataset.id.get_storage_size()
    if held > dataset.file.id.get_filesize():
        raise refuse(f"{name}: {held:,} bytes, more than the file has", "a complete file")
    if dataset.nbytes > DENSEST * held:
        raise refuse(f"{name}: {dataset.nbytes:,} bytes, of which the file stores hardly any")
    if dataset.chunks:
        count = math.prod(-(-whole // part) for whole, part in zip(shape, dataset.chunks))
        if _chunk_bytes(dataset) > 4 * max(dataset.nbytes, 4096) or count > MOST_CHUNKS:
            raise refuse(f"{name}: chunks larger than the dataset, or too many of them")
    return shape


def _filters(dataset: h5py.Dataset) -> list[int]:
    made = dataset.id.get_create_plist()
    return [made.get_filter(index)[0] for index in range(made.get_nfilters())]


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.chunks) * dataset.dtype.itemsize


def values(dataset: h5py.Dataset, name: str) -> np.ndarray:
    """All values of a dataset that `checked` let pass. HDF5 would take memory for whatever a chunk
    inflates to, so chunks are inflated here first, piece by piece."""
    filters = _filters(dataset)
    if DEFLATE in filters:
        most = _chunk_bytes(dataset)
        for part in dataset.iter_chunks():
            place = tuple(side.start for side in part)
            stored = dataset.id.get_chunk_info_by_coord(place)
            if stored.size > 2 * most + 64:
                raise refuse(f"{name}: a chunk of {stored.size:,} bytes", f"{most:,}")
            # a chunk at which gzip failed is stored as it is
            if stored.size and not stored.filter_mask >> filters.index(DEFLATE) & 1:
                for _ in inflated([dataset.id.read_direct_chunk(place)[1]], most):
                    pass
    return np.asarray(dataset[()])


def has_floats(dataset: h5py.Dataset) -> bool:
    return dataset.dtype.kind == "f" and bool(dataset.shape)
