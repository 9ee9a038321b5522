"""What all commands share: exit codes, one-line errors, lines on stdout."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

from refq.errors import BAD_INPUT, INTERNAL, OptionError, RefqError, clipped, printable
from refq.kernels import compiling

Parsed = TypeVar("Parsed")
Made = TypeVar("Made", covariant=True)

INTERRUPTED = 130
# what could not be written of what was told, to be said at the end
_unwritten: list[OSError] = []


class Parser(argparse.ArgumentParser):
    """A parser whose refusals are OptionErrors, and whose help is told as all else."""

    lighter = ""

    def error(self, message: str) -> NoReturn:
        raise OptionError(message, remedy="see --help")

    def print_help(self, file: object = None) -> None:
        tell(self.format_help().rstrip())

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        super().exit(heard(status), message)


class Parsing(Protocol[Made]):
    """Makes what a command works on of its arguments; raises OptionError. lighter: options of
    which less takes less memory."""

    @property
    def lighter(self) -> str: ...
    def parse_args(self, arguments: Sequence[str] | None, /) -> Made: ...


def run(
    main: Callable[[Parsed], int],
    parser: Parsing[Parsed],
    arguments: Sequence[str] | None,
    command: str = "refq",
) -> int:
    """Parses and runs; bad input becomes one line on stderr and exit code 2."""

    def work() -> int:
        parsed = parser.parse_args(arguments)
        compiling.start_threads()
        return main(parsed)

    return ending(work, command, parser.lighter)


def ending(work: Callable[[], int], command: str = "refq", lighter: str = "") -> int:
    """The exit code of a command's work, its refusals told in a line that begins with its name.
    lighter: options of which less takes less memory."""
    _open_closed()
    with contextlib.redirect_stderr(_Lasting(sys.stderr)):
        return _ending(work, command, lighter)


def _ending(work: Callable[[], int], command: str, lighter: str) -> int:
    _unwritten.clear()
    try:
        _tell_of_compiled_code()
        with _terminable():
            status = work()
        _tell_of_compiled_code()  # a disk may be full by now
        tell()
        return heard(status, command)
    except RefqError as error:
        told, status = str(error), error.status
    except MemoryError:
        told = "out of memory; expected more of it" + (lighter and f", or a smaller {lighter}")
        status = BAD_INPUT
    except RecursionError:
        told, status = "an input is nested too deeply; expected a flatter one", BAD_INPUT
    except KeyboardInterrupt as interrupt:
        told = str(interrupt) or "interrupted before the first batch was done"
        status = INTERRUPTED
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        told, status = f"{place}{error.strerror or error}", BAD_INPUT
    except Exception as error:
        _say(traceback.format_exc().rstrip())
        kind = f"{type(error).__name__} {error}".rstrip()
        told = f"internal error ({clipped(kind, 200)}); please report it with the lines above"
        status = INTERNAL
    _say(f"{command}: {printable(' '.join(told.split()))}")
    return status


def heard(status: int, command: str = "refq") -> int:
    """The exit code of a command that ended so: another where stdout could not be written, which
    is told."""
    if not _unwritten:
        return status
    _say(f"{command}: cannot write stdout ({_unwritten[0].strerror or _unwritten[0]})")
    return BAD_INPUT


def tell(*lines: str) -> None:
    """Prints lines. A reader of stdout that went away, as `head` does and a terminal that is
    closed, changes no exit code; what else keeps stdout from being written is told at the end, and
    the work goes on."""
    try:
        for line in lines:
            print(printable(line))
        sys.stdout.flush()
    except OSError as error:
        if not (isinstance(error, BrokenPipeError) or _closed_terminal(error)):
            _unwritten.append(error)
        _nowhere("stdout")


def _closed_terminal(error: OSError) -> bool:
    """Whether stdout was a terminal; what fails so and is a file stands on a damaged disk."""
    with contextlib.suppress(OSError):  # a stream of a test's has no number
        return error.errno == errno.EIO and stat.S_ISCHR(os.fstat(sys.stdout.fileno()).st_mode)
    return False


def _tell_of_compiled_code() -> None:
    if told := compiling.not_kept():
        note(told)


def note(line: str) -> None:
    """A line on stderr of what a person should know, though it ends nothing."""
    _say(f"refq: {clipped(printable(' '.join(line.split())))}")


def _say(line: str) -> None:
    """A line on stderr; where that leads nowhere, the exit code has to do."""
    print(line, file=_Lasting(sys.stderr), flush=True)


class _Lasting:
    """stderr, that ends nothing by going away: neither progress nor a line is worth a result."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
        except OSError:
            _nowhere("stderr")
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            _nowhere("stderr")


def _nowhere(name: str) -> None:
    """From here on nobody hears what is printed there, nor what Python flushes at its end."""
    with contextlib.suppress(OSError):  # a stream of a test's has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys, name).fileno())


def _open_closed() -> None:
    """What the caller closed (`2>&-`) leads nowhere: progress finds a stream, and no file that a
    command writes takes its number. What a stream's encoding lacks is spelled."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        with contextlib.suppress(AttributeError):  # a stream of a test's own
            getattr(sys, name).reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, and a terminal that hangs up, end a command as Ctrl-C does: what is half written
    goes, what is kept stays. A signal that the caller ignores, as `nohup` does, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    taken = {each: old for each, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
