"""Arrays that arrive in parts, in turns, and leave as one file each; bounds of what is read."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from refq.errors import DataError
from refq.files import given
from refq.hardware.files.array import Array
from refq.hardware.files.words import Packing, Words

# codes that become text at a time: temporaries stay in the cache
CODES_AT_A_TIME = 1 << 16
# a file may hold more words than are asked for, but not endlessly more
SPARE_WORDS = 1 << 20
# of text: a word with its address, blanks and a comment, and what comes before all words
BYTES_OF_A_WORD, SPARE_BYTES = 256, 1 << 24


class Writer(Protocol):
    """Files of one format in a folder, while they are written."""

    def append(self, array: Array, codes: np.ndarray) -> None:
        """The next words of an array, integers in C order. Raises DataError for words beyond the
        array or beyond a word's bits."""

    def close(self) -> None:
        """Raises DataError where an array is not complete."""


@dataclass
class Progress:
    """How far an array is: words that came, and those of them that wait for a line to be full."""

    array: Array
    words: int = 0
    waiting: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def taken(self, codes: np.ndarray, group: int) -> np.ndarray:
        """The words that can be written now: whole groups, and at the end all."""
        self.words += codes.size
        joined = np.concatenate([self.waiting, codes]) if self.waiting.size else codes
        rest = 0 if self.words == self.array.words else joined.size % group
        self.waiting = joined[joined.size - rest :].astype(np.int64)
        return joined[: joined.size - rest]


class Ledger:
    """What came of every array, checked."""

    def __init__(self) -> None:
        self.progress: dict[str, Progress] = {}

    def enter(self, array: Array, codes: np.ndarray) -> tuple[Progress, np.ndarray, bool]:
        """(progress, the codes as a flat array, whether these are the array's first)."""
        first = array.name not in self.progress
        progress = self.progress.setdefault(array.name, Progress(array))
        if progress.words + codes.size > array.words:
            raise DataError(
                f"{array.name}: {progress.words + codes.size} words", f"{array.words}, its shape's"
            )
        return progress, checked(array, codes), first

    def close(self) -> None:
        for name, progress in self.progress.items():
            if progress.words != progress.array.words:
                raise DataError(
                    f"{name}: {progress.words} of {progress.array.words} words were written"
                )


def checked(array: Array, codes: np.ndarray) -> np.ndarray:
    """Integer codes as a flat array; DataError where one has more bits than a word."""
    if codes.dtype.kind not in "iu":
        raise DataError(f"{array.name}: codes of dtype {codes.dtype}", "integers")
    if codes.size:
        low, high = int(codes.min()), int(codes.max())
        half = 1 << (array.bits - 1)
        least, most = (-half, half - 1) if array.signed else (0, 2 * half - 1)
        if low < least or high > most:
            raise DataError(
                f"{array.name}: codes from {low} to {high}",
                f"{least} to {most} in {array.bits} bits",
            )
    return codes.reshape(-1)


def _nothing(array: Array, packing: Packing) -> bytes:
    return b""


def _one_word(array: Array, packing: Packing) -> int:
    return 1


@dataclass(frozen=True)
class ArrayFile:
    """A format with one file an array. Each function gets the array and the packing.

    body: codes and the number of the line that the first of them begins -> bytes, as a uint8 array
    of any shape. header, footer: text before and after all words. group: words of a line.
    """

    suffix: str
    body: Callable[[np.ndarray, int, Array, Packing], np.ndarray]
    header: Callable[[Array, Packing], bytes] = _nothing
    footer: Callable[[Array, Packing], bytes] = _nothing
    group: Callable[[Array, Packing], int] = _one_word


class FileWriter:
    """One file an array, which is open only while words are appended to it."""

    def __init__(self, file: ArrayFile, folder: Path, packing: Packing) -> None:
        self.file, self.folder, self.packing = file, folder, packing
        self.ledger = Ledger()

    def append(self, array: Array, codes: np.ndarray) -> None:
        text, packing = self.file, self.packing
        progress, flat, first = self.ledger.enter(array, codes)
        group = text.group(array, packing)
        done = progress.words - progress.waiting.size
        ready = progress.taken(flat, group)
        step = max(1, CODES_AT_A_TIME // group) * group
        with (self.folder / (array.name + text.suffix)).open("wb" if first else "ab") as file:
            if first:
                file.write(text.header(array, packing))
            for begin in range(0, ready.size, step):
                part = ready[begin : begin + step]
                file.write(text.body(part, (done + begin) // group, array, packing).tobytes())
            if progress.words == array.words and (codes.size or first):
                file.write(text.footer(array, packing))

    def close(self) -> None:
        self.ledger.close()


def within(folder: Path, name: str) -> Path:
    """A file of a folder. Raises DataError for a name, or a link, that leads out of it."""
    path, root = folder / name, os.path.realpath(folder)
    real = os.path.realpath(path)
    if os.path.commonpath([root, real]) != root:
        raise DataError(f"{path} leads out of {folder}", "files of its own", "copy it there")
    return path


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to read. Raises DataError where it cannot be, and for pipes and devices, at once."""
    try:
        number = os.open(path, given.FLAGS)
        with open(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise DataError(f"{path} is a pipe or a device", "a file")
            yield file
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error})") from None


def content(path: Path, array: Array) -> bytes:
    """A file's bytes; DataError where it cannot be read, or has more than any spelling of so many
    words takes."""
    most = SPARE_BYTES + BYTES_OF_A_WORD * array.words
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise DataError(f"{path} has {size:,} bytes", f"at most {most:,}")
        return file.read(most)


def text_content(path: Path, array: Array) -> bytes:
    """The same of a text file: without a byte order mark, lines ended by LF whatever ended them."""
    data = content(path, array).removeprefix(codecs.BOM_UTF8)
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes; DataError where it cannot be read."""
    digest = hashlib.sha256()
    with opened(path) as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def bounded(words: int, array: Array, path: Path) -> int:
    """A number of words that a file says it has; DataError where it is beyond all reason."""
    if not 0 <= words <= 2 * array.words + SPARE_WORDS:
        raise DataError(f"{path}: {words} words", f"{array.words}")
    return words


def integers(numbers: np.ndarray, path: Path) -> np.ndarray:
    """An array of any integer type and byte order as int64 (words,), in C order. Raises DataError
    for other types and for numbers beyond int64."""
    if numbers.dtype.kind not in "iub":
        raise DataError(f"{path}: numbers of dtype {numbers.dtype}", "integer codes")
    if numbers.dtype.kind == "u" and numbers.dtype.itemsize == 8 and numbers.size:
        most = int(numbers.max())
        if most >= 1 << 63:
            raise DataError(f"{path}: {most}", "numbers below 2**63")
    return numbers.reshape(-1).astype(np.int64)


def cut_fill(words: Words, array: Array, packing: Packing) -> Words:
    """Words without those that only fill up the last line of lanes."""
    if not 0 < words.codes.size - array.words < packing.lanes:
        return words
    return Words(words.codes[: array.words], words.unknown[words.unknown < array.words])
