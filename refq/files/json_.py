"""JSON of files, read in one place: only what means the same to every reader, within bounds."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from refq.errors import RefqError

# bytes of a file; a plan of formats by filter takes some hundred million
LONGEST = 1 << 30
# objects and lists inside each other, and digits of a number: far beyond what refq writes
DEEPEST, MOST_DIGITS = 64, 40
MARK = b"\xef\xbb\xbf"


def parse(data: bytes) -> Any:
    """What JSON text in UTF-8 holds, with or without a byte order mark. Raises ValueError, with a
    reason in a few words, for what is none, and for what readers do not agree on or cannot bear:
    keys given twice, NaN and numbers beyond floats, half surrogates, endless digits and nesting.
    """
    if b"\0" in data[:4]:
        raise ValueError("text in UTF-16 or binary data, not UTF-8")
    try:
        text = data.removeprefix(MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from None
    try:
        content = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_number,
            parse_int=_whole,
            parse_float=_real,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check(content, "\\u" in text)
    return content


def load(path: str | Path, kind: str, error: type[RefqError], wanted: str) -> dict[str, Any]:
    """The object that a file holds. kind: what the file is for, `plan`. Raises the error for a file
    that is missing, no JSON, or anything but an object."""
    try:
        data = _content(path)
    except OSError as told:
        raise error(f"cannot read {kind} {path} ({told.strerror})", wanted) from None
    except ValueError as told:
        raise error(f"{kind} {path}: {told}", wanted) from None
    try:
        content = parse(data)
    except ValueError as told:
        raise error(f"{kind} {path} is no JSON ({told})", wanted) from None
    if not isinstance(content, dict):
        raise error(f"{kind} {path} holds a {type(content).__name__}", wanted)
    return content


def _content(path: str | Path) -> bytes:
    """A file's bytes, or those of a pipe that the shell names. Raises OSError, and ValueError for
    what has no end."""
    mode = os.stat(path).st_mode
    piped = stat.S_ISFIFO(mode) and str(path).startswith(("/dev/", "/proc/"))
    if not (stat.S_ISREG(mode) or piped):
        raise ValueError("a folder" if stat.S_ISDIR(mode) else "no file: a pipe or a device")
    with open(path, "rb") as file:
        data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise ValueError(f"more than {LONGEST >> 20} MiB")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in made if names.count(name) > 1)
        raise ValueError(f"{twice[:40]!r} twice in an object")
    return made


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond all floats")
    return value


def _check(content: Any, escapes: bool) -> None:
    """Raises ValueError for nesting, and for text that no file could hold. escapes: whether there
    may be such text."""
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
                texts = list(value)
            elif isinstance(value, list):
                below += value
                continue
            else:
                texts = [value] if isinstance(value, str) else []
            if escapes and any("\ud800" <= each <= "\udfff" for text in texts for each in text):
                raise ValueError("half a surrogate pair")
        level = below
