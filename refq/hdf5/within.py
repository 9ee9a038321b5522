"""The bytes of a regular file, or of a part of it."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

BINARY = getattr(os, "O_BINARY", 0)


def identity(told: os.stat_result) -> tuple[int, ...]:
    """What is the same as long as nobody writes a file or puts another in its place."""
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns


class Positioned(io.RawIOBase):
    """Bytes that are read from `at` on, of `size` in all."""

    at, size = 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at


class Within(Positioned):
    """The bytes of a regular file from `begin` to `end`, its own end where that is None."""

    def __init__(self, path: Path, begin: int, end: int | None) -> None:
        # a pipe is not waited for
        place = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | BINARY)
        found = os.fstat(place)
        self.identity = identity(found)
        if not stat.S_ISREG(found.st_mode):
            os.close(place)
            raise OSError("no regular file")
        self.file = os.fdopen(place, "rb", buffering=0)
        self.begin = begin
        self.size = (found.st_size if end is None else min(end, found.st_size)) - begin

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        # h5py takes what is missing for read
        if self.at + len(view) > self.size:
            raise OSError("the file ends early")
        self.file.seek(self.begin + self.at)
        done = 0
        while done < len(view):
            count = self.file.readinto(view[done:])
            if not count:
                raise OSError("the file ends early")
            done += count
        self.at += done
        return done

    def close(self) -> None:
        if not self.closed:
            self.file.close()
        super().close()
