"""What is being written: a folder of a hidden name beside its target, which goes with its process.

A process that is killed leaves its folder behind. Whoever writes holds a lock in it, which the
system gives up with the process, so that the next one that writes the same target can tell what
is left of a dead process from what a living one still fills.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: nothing is known of other processes, and nothing removed
    fcntl = None  # type: ignore[assignment]

LOCK, CONTENT, SUFFIX = "lock", "content", ".part"
# what tells this machine since it was started: its name alone may be another container's
BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextlib.contextmanager
def partial_folder(target: Path, beside: Path) -> Iterator[Path]:
    """An empty folder in `beside` for what is to become `target`; it is gone after the block, and
    so is what killed processes left of the same target. Raises OSError."""
    _remove_dead(target, beside)
    folder, lock = _locked(target, beside)
    content = folder / CONTENT
    try:
        content.mkdir()
        yield content
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def longest(target: Path) -> str:
    """A name of such a folder, to see whether the file system takes one so long."""
    return f".{target.name}.{'x' * 8}{SUFFIX}"


def _locked(target: Path, beside: Path) -> tuple[Path, BinaryIO]:
    """A new folder and the lock in it, held."""
    while True:
        folder = Path(tempfile.mkdtemp(SUFFIX, f".{target.name}.", beside))
        try:
            lock = (folder / LOCK).open("xb", buffering=0)
        except FileNotFoundError:  # taken for a dead process's before it had its lock
            continue
        try:
            lock.write(_machine().encode())
            if fcntl:
                with contextlib.suppress(OSError):  # a file system without locks: nobody removes
                    fcntl.flock(lock, fcntl.LOCK_EX)
            if os.stat(folder / LOCK).st_ino == os.fstat(lock.fileno()).st_ino:
                return folder, lock
        except FileNotFoundError:
            pass
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()
            raise
        lock.close()


def _remove_dead(target: Path, beside: Path) -> None:
    """Removes what killed processes of this machine left of a target."""
    begin = f".{target.name}."
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(beside)):
            stem = entry.name[len(begin) : -len(SUFFIX)]
            own = entry.name == f"{begin}{stem}{SUFFIX}" and "." not in stem
            if own and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):  # it is another's, or gone by now
                    _remove_if_dead(Path(entry.path))


def _remove_if_dead(folder: Path) -> None:
    """Removes a folder whose lock nobody holds. Raises OSError where that cannot be known."""
    if fcntl is None:
        return
    try:
        lock = (folder / LOCK).open("r+b", buffering=0)
    except FileNotFoundError:
        folder.rmdir()  # where it is empty
        return
    with lock:
        machine = lock.read(1000).decode(errors="replace")
        if machine and not set(machine.split()) & set(_machine().split()):
            return  # another machine's, on a shared disk: its locks may not be seen here
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)


@functools.cache
def _machine() -> str:
    """What this machine is called, and its boot, which containers on it share."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {BOOT.read_text().strip()}"
    return platform.node()
