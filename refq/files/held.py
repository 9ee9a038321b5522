"""A file that one process at a time adds to: its lock goes with the process, however it ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: nothing is known of other processes
    fcntl = None  # type: ignore[assignment]


def hold(path: Path) -> BinaryIO:
    """A file, made where it is missing, and held until it is closed. Raises BlockingIOError where
    another holds it, OSError where it cannot be opened. Where there are no locks, as on some
    network's disks, nobody holds it."""
    while True:
        file = path.open("ab")
        try:
            _lock(file)
            if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                return file
            file.close()  # another has its place by now
        except FileNotFoundError:  # who held it has removed it
            file.close()
        except BaseException:
            file.close()
            raise


def _lock(file: BinaryIO) -> None:
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # no locks here
        pass
