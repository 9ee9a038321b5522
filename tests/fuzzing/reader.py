"""What is tried: a reader of files from outside, its whole files, and what it may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzzing.changes import Change, in_bytes

PIPE = "pipe"  # beside inputs; where it is a named pipe, whoever opens it waits for ever


@dataclass(frozen=True)
class Reader:
    """make: whole files, and what lies beside them, in an empty folder.
    read: all that a command reads of one of them, given its path.
    inputs: which files are changed, as a pattern; each is tried without the others.
    changes: what is done to them, one after the other.
    constructed: makers of hostile files, given a path; with their changes a quarter of the inputs.
    writes: files of the folder that `read` may write.
    compiles: whether an input may be the first that needs a kernel, which takes time.
    seconds, memory: limits for an input, the memory in MB."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    inputs: str = "*"
    changes: tuple[Change, ...] = (in_bytes,)
    constructed: tuple[Callable[[Path], object], ...] = ()
    writes: tuple[str, ...] = ()
    compiles: bool = False
    seconds: int = 10
    memory: int = 256
