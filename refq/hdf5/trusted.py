"""A file that comes with refq, read in this process: it is trusted as refq's code is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from refq.hdf5.guarded import Part
from refq.hdf5.library import Library, reason
from refq.hdf5.nodes import Hdf5Error


class Trusted:
    """As `guarded.Guarded`. Opens the file when it is first asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.library: Library | None = None

    @contextlib.contextmanager
    def _open(self) -> Iterator[Library]:
        with self.lock:
            try:
                self.library = self.library or Library.opened(self.path)
                yield self.library
            except Exception as error:
                raise Hdf5Error(self.path, reason(error)) from None

    def tree(self) -> Any:
        with self._open() as library:
            return library.tree()

    def references(self, path: str) -> Any:
        with self._open() as library:
            return library.references(path)

    def read(self, part: Part) -> np.ndarray:
        with self._open() as library:
            blocks = list(library.read(part.path, part.rows))
            whole = blocks[0] if len(blocks) == 1 else np.concatenate(blocks or [np.empty(0)])
            return whole.astype(part.dtype, copy=False).reshape(part.shape)

    def read_ahead(self, part: Part) -> None:
        """Nobody else could do it."""

    def close(self) -> None:
        with self.lock:
            if self.library is not None:
                self.library.close()
            self.library = None
