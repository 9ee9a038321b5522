"""MatConvNet networks in MATLAB's version 7.3 files, which are HDF5.

Dimensions are stored in reverse. Cells are datasets of references, structs are groups, arrays of
structs are groups of cells.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refq.hdf5.file import File, is_hdf5, opened
from refq.hdf5.nodes import Dataset, Group
from refq.importers import hdf5, matlab, matlab_graph
from refq.importers.contents import DEEPEST, Contents, Tensor, refuse

FORM = "MatConvNet network (MAT version 7.3)"
VARIABLES = ("net", "layers", "params", "meta", "normalization")


def sniff(head: bytes, path: Path) -> bool:
    return head[:19] == b"MATLAB 7.3 MAT-file" and is_hdf5(head)


class _Reader:
    """Counts what it meets: references can lead in circles."""

    def __init__(self, file: File) -> None:
        self.file, self.count = file, 0

    def value(self, item: Group | Dataset, depth: int) -> matlab.Value:
        self.count += 1
        matlab.counted(self.count)
        if depth > DEEPEST:
            raise refuse("structs too deep in each other", f"at most {DEEPEST}")
        stated = "MATLAB_class" in item.attributes
        category = "".join(hdf5.names(item, "MATLAB_class")) if stated else ""
        if isinstance(item, Group):
            return self._struct(item, depth)
        if "MATLAB_empty" in item.attributes or 0 in item.shape:
            return None
        if category == "cell":
            return matlab.Cell([self.value(each, depth + 1) for each in self._referred(item)])
        if category == "char":
            if item.dtype.kind != "u":
                raise refuse(f"{item.path}: text of type {item.dtype.kind}", "numbers of letters")
            codes = self._small(item).T.reshape(-1)
            return "".join(chr(code) for code in codes.tolist() if 0 <= code < 0xD800)
        if item.dtype.kind in "iu" and item.size <= matlab_graph.LARGEST:
            values = self._small(item).T.astype(np.float32)
            return Tensor(values.shape, lambda: values)
        if item.dtype.kind != "f":
            return None
        reverse = range(len(item.shape) - 1, -1, -1)
        return hdf5.tensor(self.file, item, item.path).transposed(*reverse)

    def _small(self, item: Dataset) -> np.ndarray:
        return hdf5.numbers(self.file, item, matlab.MOST)

    def _referred(self, item: Dataset) -> list[Group | Dataset]:
        if not item.references:
            raise refuse(f"{item.path}: a cell without references")
        if item.size > matlab.MOST:
            raise refuse(f"{item.path}: {item.size:,} references", "a network")
        found = np.array([*self.file.references(item), None], object)[:-1]
        return list(found.reshape(item.shape).T.reshape(-1))

    def _struct(self, group: Group, depth: int) -> matlab.Struct:
        fields: dict[str, list[Group | Dataset]] = {}
        for name in group.names:
            item = self.file.node(f"{group.path}/{name}")
            # a field of an array of structs is a dataset of references without a class
            if isinstance(item, Dataset) and "MATLAB_class" not in item.attributes:
                fields[name] = self._referred(item)
            else:
                fields[name] = [item]
        sizes = {len(items) for items in fields.values()}
        if len(sizes) > 1:
            raise refuse(f"{group.path}: a struct array with fields of different lengths")
        return matlab.Struct(
            [
                {name: self.value(items[index], depth + 1) for name, items in fields.items()}
                for index in range(max(sizes, default=0))
            ]
        )


def read(path: Path) -> Contents:
    return matlab.contents(variables_of(path), FORM)


def variables_of(path: Path) -> dict[str, matlab.Value]:
    """What the file holds of a network, by name."""
    file = opened(path)
    reader = _Reader(file)
    return {name: reader.value(file.node(name), 0) for name in VARIABLES if name in file.root.names}
