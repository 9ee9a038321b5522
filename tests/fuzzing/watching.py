"""What a reader must not do to its process: run code, open other files, fill the memory, stay."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from refq.files import partial
from refq.hdf5 import processes

MEMORY = 4 << 30
SCRATCH = "scratch"
STUCK = 30  # seconds after its time until a process is ended that nothing can interrupt
# what Python tells of code that runs; importing has happened before the first input
ALARMS = {
    "exec",
    "import",
    "os.exec",
    "os.posix_spawn",
    "os.system",
    "pickle.find_class",
    "socket.connect",
    "subprocess.Popen",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class CodeRan(BaseException):
    """Something tried to run code, or opened a file; no handler of the readers catches this."""


class TooLong(BaseException):
    """A reader took more than its time."""


@dataclass
class Watch:
    """An audit hook, once `set` for as long as the process lives, that raises CodeRan while `on`.

    top: the folder of all that is tried, with a folder `scratch` for what is temporary.
    read, written: files that may be opened so. half: what names of half-written ones begin with.
    It sees what Python opens, not what HDF5's library does: for that stands a pipe that nobody
    writes to. What Numba does as it compiles is let pass.
    """

    top: Path
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    half: tuple[str, ...] = ()
    on: bool = False

    def set(self) -> None:
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        rings = event in ALARMS or (event == "open" and not self._may_open(*arguments))
        if rings and not _compiling():
            raise CodeRan(f"{event} {arguments[:1]}")

    def _may_open(self, place: object, mode: object = None, flags: object = 0) -> bool:
        if not isinstance(place, (str, bytes)):
            return True  # a descriptor, of what was opened before
        path = os.fsdecode(place)
        if {path, os.path.dirname(path)} & {str(self.top / SCRATCH), partial.CONTENT}:
            return True
        if self.half and path.startswith(self.half):
            return True
        writes = isinstance(flags, int) and flags & WRITING
        return path in self.written or (not writes and path in self.read)


def _compiling() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame and frame.f_globals.get("__name__") != "numba.core.dispatcher":
        frame = frame.f_back
    return frame is not None


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TooLong after that time; ends the process where that is not heard."""

    def late(*_: object) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, late)
    faulthandler.dump_traceback_later(seconds + STUCK, exit=True)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def peak() -> int:
    """MB that this process has taken at most, since `level` where the system forgets."""
    return _megabytes("VmHWM")


def level() -> int:
    """MB from which on the peak rises: what there is now, or what there was at most."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return _megabytes("VmRSS")
    return peak()


def _megabytes(what: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) >> 10


def of_workers() -> int:
    """MB that those took at most that read HDF5, or this process when it started them."""
    processes._drop()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
