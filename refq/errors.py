"""Errors a user can act on: what was found, what was wanted, what to do."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

# exit codes: bad input; an error of refq's own, as sysexits.h numbers it
BAD_INPUT, INTERNAL = 2, 70
# names that fit a line, and how many of more are told
MANY, NEAREST = 20, 5
# characters that a line tells, and those of a name in a list
LINE, NAME = 360, 60


class RefqError(Exception):
    """Bad input, told in one line.

    found: what refq met. wanted: what it needed instead. remedy: what the user can do.
    Commands print the line on stderr and exit with code 2. It has 400 characters at most, whatever
    names and values from files it tells, and none that steers a terminal.
    """

    # a command's exit code
    status = BAD_INPUT

    def __init__(self, found: str, wanted: str = "", remedy: str = "") -> None:
        self.found, self.wanted, self.remedy = found, wanted, remedy
        parts = [found, f"expected {wanted}" if wanted else "", remedy]
        lines = [printable(" ".join(part.split())) for part in parts if part]
        super().__init__("; ".join(_fitted(lines)))


class ShapeError(RefqError):
    """An array or a layer whose dimensions do not fit."""


class FormatError(RefqError):
    """A number format, rounding mode or numeric value that has no meaning."""


class WeightsError(RefqError):
    """A weight file that is unreadable or does not fit the network."""


class DataError(RefqError):
    """Images or labels that are missing or unreadable."""


class OptionError(RefqError):
    """A command-line value or a name that refq does not know."""


def printable(text: str) -> str:
    """Text whose control characters are spelled, but for ends of lines: what turns colours on,
    clears a screen or reverses a line's direction, and half surrogates."""
    if text.isprintable():
        return text
    return "".join(map(_spelled, text))


def _spelled(character: str) -> str:
    kind = unicodedata.category(character)
    if character == "\n" or (kind[0] != "C" and kind not in ("Zl", "Zp")):
        return character
    return character.encode("unicode_escape").decode()


def clipped(text: str, most: int = LINE) -> str:
    """Text of about so many characters at most: of longer text both ends, and how many characters
    are left out between."""
    if len(text) <= most:
        return text
    end = most // 3
    begin = most - end
    return f"{text[:begin]}[{len(text) - most:,} more]{text[-end:]}"


def _fitted(parts: Sequence[str]) -> list[str]:
    """Parts of a line; where they are too long together, the long ones share what room there is."""
    room, most = LINE, LINE
    for left, part in zip(range(len(parts), 0, -1), sorted(parts, key=len)):
        most = room // left
        room -= min(len(part), most)
    return [clipped(part, most) for part in parts]


def listed(names: Iterable[object], most: int = 8) -> str:
    """Names between commas: the first so many, and how many more there are."""
    every = [clipped(str(name), NAME) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def unknown(kind: str, name: str, known: list[str] | tuple[str, ...]) -> OptionError:
    """The answer to an unknown name: the known ones, or of many those that are spelled alike."""
    wanted = ", ".join(sorted(known))
    if len(known) > MANY:
        near = difflib.get_close_matches(name, known, NEAREST, 0.0)
        wanted = f"{len(known)}: {', '.join(near)} ..."
    return OptionError(f"unknown {kind} {clipped(name, NAME)!r}", f"one of {wanted}")
