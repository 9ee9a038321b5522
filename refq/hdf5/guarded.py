"""A file from outside, which another process reads."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refq.hdf5 import frames, processes
from refq.hdf5.nodes import Hdf5Error

SECONDS = 60  # until a process is ended that does not end by its own limits
SLOW = 1 << 20  # bytes a second


@dataclass(frozen=True)
class Part:
    """Rows of a dataset, all of them where that is None, which make an array of that shape."""

    path: str
    rows: tuple[int, int] | None
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Guarded:
    """Asks a worker, which is started with the first question, and anew where it had to be ended.

    Methods raise Hdf5Error for whatever goes wrong with the file. Several threads may ask.
    """

    def __init__(self, path: Path, begin: int, end: int | None) -> None:
        self.path, self.opening = path, {"path": os.path.abspath(path), "begin": begin, "end": end}
        self.lock = threading.Lock()
        self.worker: processes.Worker | None = None
        self.owner = 0  # the process that started it; one that is forked from it starts its own
        self.told: Any = None  # the tree
        self.ahead: tuple[Part, np.ndarray] | None = None  # what is asked, and not received yet

    def tree(self) -> Any:
        with self.lock:
            self._connected()
            return self.told

    def references(self, path: str) -> Any:
        with self.lock:
            self._received()
            worker = self._connected()
            with self._talking(worker):
                frames.send_json(worker, {"references": path})
                return self._content(worker)

    def read(self, part: Part) -> np.ndarray:
        if not part.nbytes:
            return np.empty(part.shape, part.dtype)
        with self.lock:
            values = self._received(part)
            if values is None:
                worker = self._connected()
                with self._talking(worker, part):
                    values = self._filled(worker, _ask(worker, part))
            return values

    def read_ahead(self, part: Part) -> None:
        """Has the worker read what will be asked for next."""
        with self.lock:
            worker = self._connected()
            if self.ahead is None and part.nbytes:
                with self._talking(worker, part):
                    self.ahead = part, _ask(worker, part)

    def _received(self, wanted: Part | None = None) -> np.ndarray | None:
        """What was asked ahead, where it is what is wanted. Otherwise it is out of the way, with
        what there is against it."""
        worker, ahead, self.ahead = self.worker, self.ahead, None
        if worker is None or ahead is None or self.owner != os.getpid():
            return None
        part, values = ahead
        try:
            with self._talking(worker, part):
                self._filled(worker, values)
        except Hdf5Error:
            if part == wanted:
                raise
        return values if part == wanted else None

    def close(self) -> None:
        with self.lock:
            self._end()

    def _connected(self) -> processes.Worker:
        if self.worker is not None and self.owner == os.getpid():
            return self.worker
        self.ahead = None
        try:
            self.worker, self.owner = processes.started(), os.getpid()
        except OSError as error:
            raise Hdf5Error(self.path, f"no process to read it: {error}") from None
        worker = self.worker
        with self._talking(worker):
            frames.send_json(worker, self.opening)
            try:
                told = self._content(worker)
                if self.told not in (None, told):
                    raise Hdf5Error(self.path, "it has changed")
            except Hdf5Error:
                self._end()
                raise
            self.told = told
        return worker

    @contextlib.contextmanager
    def _talking(self, worker: processes.Worker, part: Part | None = None) -> Iterator[None]:
        """Whatever breaks off the talk, be it Ctrl-C, ends the worker: the next would understand
        nothing."""
        worker.wait_at_most(SECONDS + (part.nbytes if part else 0) / SLOW)
        try:
            yield
            worker.wait_at_most(None)
        except Hdf5Error:
            raise
        except TimeoutError:
            self._end()
            raise Hdf5Error(self.path, "the HDF5 library takes too long") from None
        except (OSError, ValueError, frames.StreamError):
            raise Hdf5Error(self.path, self._end() or "the HDF5 library gives up") from None
        except BaseException:
            self._end()
            raise

    def _content(self, worker: processes.Worker) -> Any:
        return json.loads(frames.body(worker, self._head(worker, frames.JSON)))

    def _filled(self, worker: processes.Worker, values: np.ndarray) -> np.ndarray:
        rest = memoryview(values.reshape(-1).view(np.uint8).data)
        while rest:
            size = self._head(worker, frames.DATA)
            if not 0 < size <= len(rest):
                raise frames.StreamError
            frames.fill(worker, rest[:size])
            rest = rest[size:]
        return values

    def _head(self, worker: processes.Worker, wanted: bytes) -> int:
        """The length of the frame that comes. Raises Hdf5Error for one that says why not."""
        kind, size = frames.head(worker)
        if kind == frames.ERROR:
            told = frames.body(worker, size).decode("utf-8", "replace")
            raise Hdf5Error(self.path, told)
        if kind != wanted:
            raise frames.StreamError
        return size

    def _end(self) -> str:
        worker, self.worker, self.ahead = self.worker, None, None
        return "" if worker is None or self.owner != os.getpid() else worker.end()


def _ask(worker: processes.Worker, part: Part) -> np.ndarray:
    frames.send_json(worker, {"read": part.path, "rows": part.rows})
    return np.empty(part.shape, part.dtype)
