"""Rows of an HDF5 dataset: packed images, or an array of inputs."""

from __future__ import annotations

import threading

import numpy as np

from refq.errors import DataError
from refq.hdf5 import nodes
from refq.hdf5.file import File
from refq.hdf5.nodes import Hdf5Error

BLOCK_BYTES = 1 << 20  # of rows that are read at once


class Rows:
    """Reads rows one by one and, where they are asked for in turn, ever more at once and ahead,
    as disks are read."""

    def __init__(self, file: File, dataset: nodes.Dataset) -> None:
        self.file, self.dataset = file, dataset
        size = max(1, dataset.nbytes // dataset.shape[0])
        # a chunk is unpacked as a whole
        self.least = min(dataset.chunks[0] if dataset.chunks else 1, max(1, BLOCK_BYTES // size))
        self.most = max(self.least, BLOCK_BYTES // size // self.least * self.least)
        self.lock = threading.Lock()
        self.rows = self.least
        self.begin, self.block = 0, np.empty((0, *dataset.shape[1:]), dataset.dtype)

    def __len__(self) -> int:
        return self.dataset.shape[0]

    def __call__(self, index: int) -> np.ndarray:
        with self.lock:
            if not self.begin <= index < self.begin + len(self.block):
                self._read_block(index)
            return self.block[index - self.begin].copy()

    def _read_block(self, index: int) -> None:
        in_turn = index == self.begin + len(self.block)
        rows = self.rows if in_turn else self.least
        begin = index if in_turn else index // self.least * self.least
        self.block, self.rows = self.block[:0], min(2 * rows, self.most) if in_turn else self.least
        try:
            block = self.file.read(self.dataset, self._span(begin, rows))
            if in_turn and begin + rows < len(self):
                self.file.read_ahead(self.dataset, self._span(begin + rows, self.rows))
        except Hdf5Error as error:
            found = f"cannot read {self.file.path}, image {index} ({error.reason})"
            raise DataError(found, "a complete HDF5 file", "fetch it again") from None
        self.begin, self.block = begin, block

    def _span(self, begin: int, rows: int) -> tuple[int, int]:
        return begin, min(begin + rows, len(self))
