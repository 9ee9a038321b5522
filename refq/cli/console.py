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
    try:
        with _terminable():
            status = main(parser.parse_args(arguments))
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
    if sys.stdout is None:
        return  # closed by the caller
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        _unheard()


def _unheard() -> None:
    """From here on nobody hears what is printed."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
