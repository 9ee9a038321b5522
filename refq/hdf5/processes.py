"""Starting and ending the processes of `worker`."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

from refq.hdf5 import frames

PIECE = 1 << 20  # bytes that may wait in a socket, or are taken out of a pipe
CODE = "import sys; sys.path[:] = eval(sys.argv[1]); from refq.hdf5.worker import main; main({!r})"
START, END, NUMBER = b"S", b"E", 4
# no threads beside those that fork, no plugins for filters
SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_PLUGIN_PATH": "::"}
FORKS = hasattr(os, "fork") and hasattr(socket, "send_fds")


class Worker(frames.Stream, Protocol):
    """A process that reads one file."""

    def wait_at_most(self, seconds: float | None) -> None:
        """From here on, the other methods give up after that: they raise OSError, or the process
        ends."""

    def end(self) -> str:
        """Ends the process; in words how it ended, where it did so itself."""


def started() -> Worker:
    """Raises OSError where the system has no process to give."""
    return _forked() if FORKS else _Spawned()


def _command(place: str) -> list[str]:
    folders = [os.path.abspath(each) for each in sys.path]
    own = str(Path(__file__).resolve().parents[2])
    folders += [] if own in folders else [own]
    return [sys.executable, "-I", "-S", "-c", CODE.format(place), repr(folders)]


def _open(place: str, **how: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        _command(place),
        stderr=subprocess.DEVNULL,
        cwd=os.path.abspath(os.sep),  # holds no disk that somebody wants to remove
        env={**os.environ, **SETTINGS},
        start_new_session=True,  # Ctrl-C is for the process that asked
        **how,
    )


def _words(code: int) -> str:
    if code >= 0:
        return ""
    if -code in (getattr(signal, "SIGALRM", 0), getattr(signal, "SIGPROF", 0)):
        return "the HDF5 library takes too long"
    return f"the HDF5 library ends by {signal.Signals(-code).name}"


class _First:
    """The process that forks workers."""

    def __init__(self) -> None:
        self.control, other = socket.socketpair()
        with other:
            self.process = _open(
                str(other.fileno()),
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self.count = 0

    def fork(self) -> tuple[socket.socket, bytes]:
        """(a stream to a new worker, its number)."""
        own, other = socket.socketpair()
        with other:
            self.count += 1
            number = self.count.to_bytes(NUMBER, "big")
            try:
                self.control.sendall(START + number)
                socket.send_fds(self.control, [b"F"], [other.fileno()])
            except BaseException:
                own.close()
                raise
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        return own, number

    def end(self, number: bytes) -> int:
        self.control.sendall(END + number)
        content = bytearray(NUMBER)
        frames.fill(self.control, content)
        return int.from_bytes(content, "big", signed=True)

    def close(self) -> None:
        self.control.close()
        self.process.wait()


_lock = threading.Lock()
_first: _First | None = None


def _forked() -> Worker:
    global _first
    with _lock:
        for _ in range(2):
            if _first is None:
                _first = _First()
            try:
                return _Forked(_first, *_first.fork())
            except ConnectionError:  # somebody has ended it
                _drop()
            except BaseException:
                _drop()
                raise
    raise OSError("the process that reads HDF5 does not start")


def _drop() -> None:
    """Ends the first process, and with it all workers."""
    global _first
    if _first is not None:
        _first.close()
    _first = None


def _forget() -> None:
    """In a process that was forked from this one: the workers are not its own."""
    global _first, _lock
    _lock = threading.Lock()
    if _first is not None:
        _first.control.close()
        _first.process.returncode = 0  # nothing that this process could wait for
    _first = None


if FORKS:
    os.register_at_fork(after_in_child=_forget)
    atexit.register(_drop)


class _Forked:
    def __init__(self, first: _First, stream: socket.socket, number: bytes) -> None:
        self.first, self.stream, self.number = first, stream, number
        self.sendall, self.recv_into = stream.sendall, stream.recv_into
        self.wait_at_most = stream.settimeout

    def end(self) -> str:
        self.stream.close()
        with _lock:
            if self.first is not _first:
                return ""
            try:
                return _words(_first.end(self.number))
            except (ConnectionError, frames.StreamError):
                _drop()
                return ""
            except BaseException:
                _drop()
                raise


class _Spawned:
    """A worker by itself, where no process forks."""

    def __init__(self) -> None:
        self.process = _open("", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.input, self.output = self.process.stdin, self.process.stdout
        self.timer: threading.Timer | None = None

    def wait_at_most(self, seconds: float | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None
        if seconds is not None:
            self.timer = threading.Timer(seconds, self.process.kill)
            self.timer.daemon = True
            self.timer.start()

    def sendall(self, data: Any, /) -> None:
        if self.input is not None:
            self.input.write(data)
            self.input.flush()

    def recv_into(self, buffer: Any, /) -> int:
        part = b"" if self.output is None else self.output.read(min(len(buffer), PIECE))
        buffer[: len(part)] = part
        return len(part)

    def end(self) -> str:
        self.wait_at_most(None)
        for stream in (self.input, self.output):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self.process.kill()
        return _words(self.process.wait())
