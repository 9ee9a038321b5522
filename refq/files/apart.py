"""No output is an input or another output, nor lies within one: nothing is written over."""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from refq.errors import OptionError


@dataclass(frozen=True)
class Named:
    """A path of a command line. role: what it is given as, `--json`; written: whether it is an
    output. several: an output whose files' names begin with its own and a dot."""

    role: str
    path: str
    written: bool = False
    several: bool = False


def check_apart(named: Iterable[Named]) -> None:
    """Raises OptionError where an output is an input, another output, or lies in one, whatever its
    name: through links, `./x`, or in other letters where the file system does not tell them apart.
    Devices and pipes hold nothing that could be lost."""
    every = [(each, _ways(each.path)) for each in named if not _flows(each.path)]
    for at, (one, ways) in enumerate(every):
        for other, others in every[at + 1 :]:
            if one.written or other.written:
                _check(one, ways, other, others)
                _check(other, others, one, ways)
    for one, ways in every:
        if one.written and os.path.isfile(one.path):
            for other, _ in every:
                if not other.written and ways[0] in _led_to(other.path):
                    raise OptionError(
                        f"{one.path} as {one.role}, where a link in {other.path} leads",
                        f"an output that is no part of {other.role}",
                    )


def _check(one: Named, ways: list[object], other: Named, others: list[object]) -> None:
    """Raises OptionError where the one is the other or lies in it."""
    if others[0] == ways[0]:
        told = f"{one.path} as {one.role} and as {other.role}"
        raise OptionError(told, "two different files", "each output needs a name of its own")
    if others[0] in ways:
        raise OptionError(
            f"{one.path} as {one.role}, within {other.path}",
            f"a place outside of {other.role}",
            "inputs stay as they are, and each output has a place of its own",
        )
    if other.several and _begins(one.path, other.path):
        told = f"{one.path} as {one.role}, where {other.role} has files"
        raise OptionError(told, f"a name that does not begin with {other.path}.")


def _ways(path: str) -> list[object]:
    """What is told apart by: the place itself, then the folders around it, the nearest first. What
    is there is known by its number, however it is spelled; what is not, by the nearest folder and
    the names from there, in letters that hold on every file system."""
    missing: list[str] = []
    place = os.path.realpath(path)
    while not os.path.lexists(place):
        place, name = os.path.split(place)
        missing.insert(0, _folded(name))
    around = [_number(place)]
    while os.path.dirname(place) != place:
        place = os.path.dirname(place)
        around.append(_number(place))
    beyond = [(around[0], *missing[:count]) for count in range(len(missing), 0, -1)]
    return [*beyond, *around]


def _number(place: str) -> tuple[int, int]:
    told = os.lstat(place)
    return told.st_dev, told.st_ino


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _begins(path: str, family: str) -> bool:
    above, name = os.path.split(os.path.realpath(path))
    folder, stem = os.path.split(os.path.realpath(family))
    return _folded(above) == _folded(folder) and _folded(name).startswith(_folded(stem) + ".")


def _flows(path: str) -> bool:
    """Whether it is a device, a pipe or a socket."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _led_to(folder: str) -> Iterator[object]:
    """Numbers of the files that links in a folder lead to, and of those in folders that they lead
    to; each folder once, as links may lead round."""
    waiting, seen = [(folder, False)], {_number(os.path.realpath(folder))}
    while waiting:
        place, linked = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # a link that leads nowhere
                    led = linked or entry.is_symlink()
                    if entry.is_dir():
                        told = entry.stat()
                        number = told.st_dev, told.st_ino
                        waiting += [] if number in seen else [(entry.path, led)]
                        seen.add(number)
                    elif led:
                        told = entry.stat()
                        yield told.st_dev, told.st_ino


def check_streams(named: Iterable[Named]) -> None:
    """Raises OptionError where an output is the file that the shell has standard output or error
    written to: what is printed would be lost with it."""
    written = [each for each in named if each.written and os.path.isfile(each.path)]
    for stream, number in (("standard output", 1), ("standard error", 2)):
        with contextlib.suppress(OSError):  # a stream that is closed
            told = os.fstat(number)
            for each in written:
                if stat.S_ISREG(told.st_mode) and os.path.samestat(told, os.stat(each.path)):
                    raise OptionError(
                        f"{each.path} as {each.role} and as {stream}", "two different files"
                    )


def check_flows(named: Iterable[Named]) -> None:
    """Raises OptionError for two outputs that go into one pipe, socket or terminal, where whoever
    reads could not tell them apart. The null device takes any number."""
    seen: dict[tuple[int, int], Named] = {}
    for each in named:
        if each.written and _flows(each.path) and not os.path.samefile(each.path, os.devnull):
            told = os.stat(each.path)
            one = seen.setdefault((told.st_dev, told.st_ino), each)
            if one is not each:
                raise OptionError(
                    f"{each.path} as {one.role} and as {each.role}", "a stream of its own for each"
                )
