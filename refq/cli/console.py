"""What all commands share: exit codes, one-line errors, lines on stdout."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, Protocol, TypeVar

from refq.errors import OptionError, RefqError
from refq.kernels import compiling

Parsed = TypeVar("Parsed")
Made = TypeVar("Made", covariant=True)

BAD_INPUT = 2
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """A parser whose refusals are OptionErrors."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(message, remedy="see --help")


class Parsing(Protocol[Made]):
    """Makes what a command works on of its arguments; raises OptionError."""

    def parse_args(self, arguments: Sequence[str] | None, /) -> Made: ...


def run(
    main: Callable[[Parsed], int], parser: Parsing[Parsed], arguments: Sequence[str] | None
) -> int:
    """Parses and runs; bad input becomes one line on stderr and exit code 2."""

    def work() -> int:
        parsed = parser.parse_args(arguments)
        compiling.start_threads()
        return main(parsed)

    return ending(work)


def ending(work: Callable[[], int]) -> int:
    """The exit code of a command's work, its refusals told."""
    _open_closed()
    try:
        _tell_of_compiled_code()
        with _terminable():
            status = work()
        _tell_of_compiled_code()  # a disk may be full by now
        tell()
        return status
    except RefqError as error:
        print(f"refq: {error}", file=sys.stderr)
        return BAD_INPUT
    except MemoryError:
        print(
            "refq: out of memory; expected more of it, or a smaller --batch-size or --input-size",
            file=sys.stderr,
        )
        return BAD_INPUT
    except KeyboardInterrupt as interrupt:
        told = str(interrupt) or "interrupted before the first batch was done"
        print(f"refq: {told}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _unheard()
        return 0
    except OSError as error:
        _unheard()
        print(f"refq: {error.strerror or error}", file=sys.stderr)
        return BAD_INPUT


def tell(*lines: str) -> None:
    """Prints lines. A reader of stdout that went away, as `head` does, changes no exit code."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        _unheard()


def _tell_of_compiled_code() -> None:
    if told := compiling.not_kept():
        print(f"refq: {told}", file=sys.stderr)


def _unheard() -> None:
    """From here on nobody hears what is printed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed() -> None:
    """What the caller closed (`2>&-`) leads nowhere: progress finds a stream, and no file that a
    command writes takes its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: what is half written goes, what is kept stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
