"""MatConvNet networks in MATLAB's version 7.3 files, which are HDF5.

Dimensions are stored in reverse. Cells are datasets of references, structs are groups, arrays of
structs are groups of cells.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from refq.importers import hdf5, matlab, matlab_graph
from refq.importers.contents import DEEPEST, Contents, Tensor, refuse
from refq.importers.hdf5_text import Heaps, names

FORM = "MatConvNet network (MAT version 7.3)"
VARIABLES = ("net", "layers", "params", "meta", "normalization")


def sniff(head: bytes, path: Path) -> bool:
    return head[:19] == b"MATLAB 7.3 MAT-file" and hdf5.is_hdf5(head)


class _Reader:
    """Counts what it meets: references can lead in circles."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self.file, self.path, self.count = file, path, 0
        self.heaps = Heaps(path)

    def value(self, item: h5py.Group | h5py.Dataset, depth: int) -> matlab.Value:
        self.count += 1
        matlab.counted(self.count)
        if depth > DEEPEST:
            raise refuse("structs too deep in each other", f"at most {DEEPEST}")
        stated = "MATLAB_class" in item.attrs
        category = "".join(names(item, "MATLAB_class", self.heaps)) if stated else ""
        if isinstance(item, h5py.Group):
            return self._struct(item, depth)
        if "MATLAB_empty" in item.attrs or 0 in item.shape:
            return None
        if category == "cell":
            return matlab.Cell([self.value(each, depth + 1) for each in self._referred(item)])
        if category == "char":
            if item.dtype.kind != "u":
                raise refuse(f"{item.name}: text of type {item.dtype.kind}", "numbers of letters")
            codes = self._small(item).T.reshape(-1)
            return "".join(chr(code) for code in codes.tolist() if 0 <= code < 0xD800)
        if item.dtype.kind in "iu" and item.size <= matlab_graph.LARGEST:
            values = self._small(item).T.astype(np.float32)
            return Tensor(values.shape, lambda: values)
        if item.dtype.kind != "f":
            return None
        reverse = range(len(item.shape) - 1, -1, -1)
        return hdf5.tensor(item, item.name, self.path).transposed(*reverse)

    def _small(self, item: h5py.Dataset) -> np.ndarray:
        if item.size > matlab.MOST or item.dtype.itemsize > 16:
            raise refuse(f"{item.name}: {item.nbytes:,} bytes of letters", "a network")
        hdf5.checked(item, item.name)
        return hdf5.values(item, item.name)

    def _referred(self, item: h5py.Dataset) -> list[h5py.Group | h5py.Dataset]:
        if h5py.check_dtype(ref=item.dtype) is not h5py.Reference:
            raise refuse(f"{item.name}: a cell without references")
        found = []
        for reference in self._small(item).T.reshape(-1):
            if not reference:
                raise refuse(f"{item.name}: a reference to nothing")
            found.append(hdf5.within(self.file[reference], item.name))
        return found

    def _struct(self, group: h5py.Group, depth: int) -> matlab.Struct:
        fields: dict[str, list[h5py.Group | h5py.Dataset]] = {}
        for name in group:
            item = hdf5.member(group, name)
            # a field of an array of structs is a dataset of references without a class
            many = isinstance(item, h5py.Dataset) and "MATLAB_class" not in item.attrs
            fields[name] = self._referred(item) if many else [item]
        sizes = {len(items) for items in fields.values()}
        if len(sizes) > 1:
            raise refuse(f"{group.name}: a struct array with fields of different lengths")
        return matlab.Struct(
            [
                {name: self.value(items[index], depth + 1) for name, items in fields.items()}
                for index in range(max(sizes, default=0))
            ]
        )


def read(path: Path) -> Contents:
    with hdf5.opened(path) as file:
        reader = _Reader(file, path)
        variables = {
            name: reader.value(hdf5.member(file, name), 0) for name in VARIABLES if name in file
        }
        return matlab.contents(variables, FORM)
