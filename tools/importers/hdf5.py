"""HDF5 files of strangers: only plain datasets inside the file, of bounded size.

Links to other files, soft links, virtual datasets and external storage could read any file of the
machine; datasets that store little and say they are large would fill the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from importers.contents import DEEPEST, MOST, Tensor, checked_shape, float32, refuse

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# deflate, shuffle, Fletcher's checksum, szip, nbit, scale-offset, lzf; others are code to be loaded
FILTERS = {1, 2, 3, 4, 5, 6, 32000}
DENSEST = 64  # times that compressed weights may be smaller


def is_hdf5(head: bytes) -> bool:
    # MATLAB puts 512 bytes of text in front
    return head[:8] == SIGNATURE or head[512:520] == SIGNATURE


def opened(path: Path) -> h5py.File:
    # locking would refuse files on read-only disks
    return h5py.File(path, "r", locking=False)


def top_names(path: Path) -> set[str]:
    """Names of the root's links, and of its attributes behind an @."""
    with opened(path) as file:
        return {*file.keys(), *(f"@{name}" for name in file.attrs)}


def member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """What a hard link leads to. Raises WeightsError for any other link."""
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise refuse(f"{name}: a link to elsewhere ({type(link).__name__})", "plain datasets")
    return group[name]


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


def tensor(dataset: h5py.Dataset, name: str, path: Path) -> Tensor:
    """A dataset of floats, read from the file when it is asked for."""
    dtype, shape = dataset.dtype, dataset.shape
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise refuse(f"{name}: values of type {dtype.kind}{dtype.itemsize}", "floats")
    sizes = checked_shape(name, shape, dtype.itemsize)
    if dataset.is_virtual or dataset.external:
        raise refuse(f"{name}: values in another file", "values in the file itself")
    made = dataset.id.get_create_plist()
    if not {made.get_filter(index)[0] for index in range(made.get_nfilters())} <= FILTERS:
        raise refuse(f"{name}: a compression that is no part of HDF5", "gzip, szip or lzf")
    if dataset.nbytes > DENSEST * dataset.id.get_storage_size():
        raise refuse(f"{name}: {dataset.nbytes:,} bytes, of which the file stores hardly any")
    if dataset.chunks and np.prod(dataset.chunks) * dtype.itemsize > 4 * max(dataset.nbytes, 4096):
        raise refuse(f"{name}: chunks larger than the dataset")
    where = dataset.name

    def load() -> np.ndarray:
        with opened(path) as file:
            return float32(np.asarray(file[where][()]), "")

    return Tensor(sizes, load)


def has_floats(dataset: h5py.Dataset) -> bool:
    return dataset.dtype.kind == "f" and bool(dataset.shape)


def text(value: object) -> str:
    """An attribute or an element of one as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
