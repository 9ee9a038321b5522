"""Files that users give: opened without waiting, bounded; text with any byte order mark.

What these functions raise is an OSError whose strerror says what was found, or a ValueError; who
knows what was wanted makes one line of it.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MOST_TEXT = 64 << 20  # bytes; ILSVRC's 1.3 million training images take 55 MB of list
# a pipe that took the file's place since it was looked at keeps nobody waiting, either
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
# the longer ones first: UTF-16's begins UTF-32's
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def open_regular(path: Path) -> BinaryIO:
    """The file, opened to read bytes. A pipe, a socket or a device is an OSError at once, where
    opening it would wait for somebody."""
    _check(path, os.stat(path).st_mode)
    file = os.fdopen(os.open(path, FLAGS), "rb")
    try:
        _check(path, os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, kind_of(mode), str(path))


def kind_of(mode: int) -> str:
    """What is no regular file, in words: `a pipe`."""
    return KINDS.get(stat.S_IFMT(mode), "no regular file")


def content(path: Path, most: int) -> bytes:
    """A whole file of at most so many bytes."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))
        return file.read()


def text(path: Path, most: int = MOST_TEXT) -> str:
    """A whole text file."""
    return decoded(content(path, most))


def decoded(raw: bytes) -> str:
    """Text as its byte order mark says, by default UTF-8, without the mark. Bytes that are not
    UTF-8 become what os.fsencode makes the same bytes of: names of files may have such."""
    encoding = next((encoding for mark, encoding in MARKS if raw.startswith(mark)), None)
    text = raw.decode(encoding) if encoding else raw.decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise ValueError("zero bytes in it: it is no text, or UTF-16 without a byte order mark")
    return text


def lines(text: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of all lines with something in them, without white space around it;
    they end as any system ends them: LF, CR LF or CR."""
    number, end = 1, 0
    for found in re.finditer(r"[^\r\n]+", text):
        between = text[end : found.start()]
        number += between.count("\n") + between.count("\r") - between.count("\r\n")
        end = found.end()
        line = found[0].strip(" \t\v\f")
        if line:
            yield number, line


def split_last(line: str, between: str) -> tuple[str, str]:
    """(what is before, what is behind) the last of such letters of a line; before: nothing where
    there is none."""
    place = max(line.rfind(each) for each in between)
    return line[: max(place, 0)].rstrip(between), line[place + 1 :]
