"""Errors a user can act on: what was found, what was wanted, what to do."""

from __future__ import annotations

import difflib

# names that fit a line, and how many of more are told
MANY, NEAREST = 20, 5


class RefqError(Exception):
    """Bad input, told in one line.

    found: what refq met. wanted: what it needed instead. remedy: what the user can do.
    Commands print the line on stderr and exit with code 2.
    """

    def __init__(self, found: str, wanted: str = "", remedy: str = "") -> None:
        self.found, self.wanted, self.remedy = found, wanted, remedy
        parts = [found]
        if wanted:
            parts.append(f"expected {wanted}")
        if remedy:
            parts.append(remedy)
        super().__init__(" ".join("; ".join(parts).split()))


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


def unknown(kind: str, name: str, known: list[str] | tuple[str, ...]) -> OptionError:
    """The answer to an unknown name: the known ones, or of many those that are spelled alike."""
    wanted = ", ".join(sorted(known))
    if len(known) > MANY:
        near = difflib.get_close_matches(name, known, NEAREST, 0.0)
        wanted = f"{len(known)}: {', '.join(near)} ..."
    return OptionError(f"unknown {kind} {name!r}", f"one of {wanted}")
