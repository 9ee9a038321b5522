"""The processes that read files from outside.

`start` is what the first of them does: it loads h5py and forks a worker for each file, so that only
the first file waits for Python and NumPy. It never sees a file itself. Where processes do not fork,
each worker is started by itself. The limits of a worker hold within the HDF5 library as well: they
are the system's bounds, and signals that end a process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refq.hdf5 import frames
from refq.hdf5.library import Library, reason

try:
    import resource
except ImportError:  # no Unix
    resource = None  # type: ignore[assignment]

SECONDS = 3  # of the processor, for a question about a small file
# more for a large one: a megabyte has up to 5,000 parts, of which each takes 0.1 ms
MORE, PARTS = 27, 1 << 20
WAITING = 30  # of the clock: the disk may be slow, the machine busy
FAST, SLOW = 50 << 20, 1 << 20  # bytes a second, at least: of the processor and of the disk
MEMORY = 256 << 20  # bytes beyond what an idle worker has and a block of values takes
START, END = b"S", b"E"  # what the first process is told, before the number of a worker
NUMBER = 4


def main(place: str) -> None:
    """place: the number of a socket, or empty for a worker that is told on stdin."""
    if place:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        with socket.socket(fileno=int(place)) as control:
            start(control)
    else:
        _load()
        work(_Pipes())


def start(control: socket.socket) -> None:
    """Forks workers and ends them, until whoever tells it to has gone."""
    _load()
    workers: dict[bytes, int] = {}
    try:
        while message := control.recv(1 + NUMBER, socket.MSG_WAITALL):
            number = message[1:]
            if message[:1] == END:
                code = _ended(workers.pop(number))
                control.sendall(code.to_bytes(NUMBER, "big", signed=True))
                continue
            _, (place,), _, _ = socket.recv_fds(control, 1, 1)
            with socket.socket(fileno=place) as stream:
                workers[number] = os.fork()
                if not workers[number]:
                    try:
                        control.close()
                        work(stream)
                    finally:
                        os._exit(0)
    finally:
        for process in workers.values():
            _ended(process)


def _load() -> None:
    """Has h5py and NumPy load what they load when it is first used: a worker opens no files."""
    texts = np.array([b"a"]), np.array(["a"], h5py.string_dtype()), "a", b"a"
    ascii_ = np.array([b"a"], h5py.string_dtype("ascii"))
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        for index, value in enumerate((*texts, ascii_, np.arange(2), 1.5, True)):
            file.attrs[str(index)] = value
            file[f"group/{index}"] = value
        file.create_dataset("x", data=np.zeros((2, 2), "f4"), chunks=(1, 2), compression="gzip")
        file["references"] = np.array([file["x"].ref], h5py.ref_dtype)
        library = Library(file)
        library.tree()
        list(library.read("x", None))
        library.references("references")
        with contextlib.suppress(KeyError):
            file["none"]


def _ended(process: int) -> int:
    """Ends a worker; its exit code, or the signal that ended it as a negative number."""
    os.kill(process, signal.SIGKILL)  # which one that has ended before does not notice
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def work(stream: frames.Stream) -> None:
    """Answers requests about the file that the first of them names, until nobody asks."""
    limits = _Limits()
    library: Library | None = None
    with contextlib.suppress(frames.StreamError, ConnectionError):
        while True:
            _, size = frames.head(stream)
            asked = json.loads(frames.body(stream, size))
            try:
                if library is None:
                    with limits.hold():
                        library = Library.opened(Path(asked["path"]), asked["begin"], asked["end"])
                    limits.seconds += min(MORE, library.bytes / PARTS)
                    limits.open_nothing()
                for kind, data in _answers(library, asked, limits):
                    frames.send(stream, kind, data)
            except ConnectionError:
                return
            except Exception as error:
                told = reason(error).encode("utf-8", "replace")
                frames.send(stream, frames.ERROR, told[: frames.MOST[frames.ERROR]])


def _answers(
    library: Library, asked: dict[str, Any], limits: _Limits
) -> Iterator[tuple[bytes, Any]]:
    """Frames. What is yielded is sent without a limit of time: others read when they please."""
    if "read" not in asked:
        with limits.hold():
            refers = asked.get("references")
            told = library.tree() if refers is None else library.references(refers)
            content = json.dumps(told).encode()
        yield frames.JSON, content
        return
    with limits.hold():
        size = library.sized(asked["read"])
        blocks = library.read(asked["read"], asked["rows"])
    while True:
        with limits.hold(size):
            block = next(blocks, None)
        if block is None:
            return
        yield frames.DATA, block.reshape(-1).view(np.uint8)


class _Limits:
    """What a worker may take. Without the module `resource` there are none but the patience of
    whoever asks."""

    def __init__(self) -> None:
        self.idle, self.seconds = 0, float(SECONDS)
        if resource is None:
            return
        for each in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(each, signal.SIG_DFL)
        for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
            resource.setrlimit(kind, (0, 0))
        with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as file:
            self.idle = int(file.read().split()[0]) * resource.getpagesize()

    def open_nothing(self) -> None:
        """No file that the first might lead to: the system refuses it."""
        if resource is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))

    @contextlib.contextmanager
    def hold(self, size: int = 0) -> Iterator[None]:
        """While so many bytes are read: HDF5 has a chunk as it is stored, and twice unpacked."""
        if resource is None:
            yield
            return
        if self.idle:
            _, most = resource.getrlimit(resource.RLIMIT_AS)
            wanted = self.idle + MEMORY + 4 * size
            if most == resource.RLIM_INFINITY or wanted < most:
                resource.setrlimit(resource.RLIMIT_AS, (wanted, most))
        signal.setitimer(signal.ITIMER_PROF, self.seconds + size / FAST)
        signal.setitimer(signal.ITIMER_REAL, WAITING + size / SLOW)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)


class _Pipes:
    """stdin and stdout as a stream."""

    def sendall(self, data: Any, /) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]

    def recv_into(self, buffer: Any, /) -> int:
        part = os.read(0, min(len(buffer), 1 << 20))
        buffer[: len(part)] = part
        return len(part)
