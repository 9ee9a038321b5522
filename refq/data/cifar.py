"""CIFAR-10 (Krizhevsky 2009) as its authors distribute it: binary or Python batches.

The Python batches are pickles, and a pickle is a program. These are read without running any
(refq/files/pickles.py): the few NumPy names that such a batch needs are known here, all others
refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refq.data.dataset import Dataset
from refq.errors import DataError, RefqError, printable
from refq.files import given, pickles

SIDE = 32
PIXELS = 3 * SIDE * SIDE
RECORD = 1 + PIXELS
TEST = ("test_batch.bin", "test_batch")
TRAINING = tuple(f"data_batch_{n}{suffix}" for n in range(1, 6) for suffix in (".bin", ""))
CLASSES = 10
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
OTHERS = ("fine_labels", "coarse_labels")  # CIFAR-100's
MOST_IMAGES = 1_000_000  # CIFAR-10 has 60,000
MOST_BYTES = 64 << 20  # a Python batch has 31 MB
MOST_WORK = 200_000  # and 50 thousand operations, for labels and names of files
LONGEST_NAME = 1000
REMEDY = "fetch CIFAR-10 again"
WANTED = "a CIFAR-10 batch, which needs only NumPy arrays"


def batch_file(folder: Path, split: str) -> Path | None:
    """The split's batch: the test batch, or the first training batch to calibrate with;
    the other where the folder has only that; None in a folder without CIFAR-10."""
    names = TEST + TRAINING if split == "test" else TRAINING + TEST
    paths = [folder / name for name in names]
    return next((path for path in paths if os.path.lexists(path) and not path.is_dir()), None)


def open_cifar(batch: Path) -> Dataset:
    """The images of one batch file, uint8 (32, 32, 3); a binary batch is not read into memory."""
    labels, pixels = _read_binary(batch) if batch.suffix == ".bin" else _read_pickled(batch)
    outside = np.flatnonzero(labels >= CLASSES)
    if len(outside):
        first = int(outside[0])
        raise DataError(f"{batch}, image {first}: label {labels[first]}", "0..9", REMEDY)

    def read(index: int) -> np.ndarray:
        channels = np.asarray(pixels[index]).reshape(3, SIDE, SIDE)
        return np.ascontiguousarray(channels.transpose(1, 2, 0))

    def where(index: int) -> str:
        return f"{batch}, image {index}"

    name = f"CIFAR-10 ({batch.name})"
    return Dataset(name, len(labels), read, where, labels, _class_names(batch.parent))


def _read_binary(batch: Path) -> tuple[np.ndarray, np.ndarray]:
    """labels int64 (N,) and pixels uint8 (N, 3072), channel by channel, still on disk."""
    try:
        with given.open_regular(batch) as file:
            size = batch.stat().st_size
            if size == 0 or size % RECORD:
                raise DataError(f"{batch}: {size} bytes", f"a multiple of {RECORD}", REMEDY)
            if size > MOST_IMAGES * RECORD:
                raise DataError(
                    f"{batch}: {size // RECORD:,} images", f"{MOST_IMAGES:,} at most", REMEDY
                )
            records = np.memmap(file, np.uint8, "r").reshape(-1, RECORD)
    except OSError as error:
        raise DataError(f"cannot read {batch} ({error.strerror})", "a readable file") from None
    return records[:, 0].astype(np.int64), records[:, 1:]


def _read_pickled(batch: Path) -> tuple[np.ndarray, np.ndarray]:
    """The same from a Python batch; its pixels, 30 MB, are in memory."""
    content = _load(batch)
    pixels = content.get("data")
    try:
        values: Any = pixels.values() if isinstance(pixels, _Array) else None
    except Exception as error:
        raise _broken(batch, error) from None
    if values is None or values.ndim != 2 or values.shape[1] != PIXELS or not len(values):
        found = "no array 'data'" if values is None else f"'data' of shape {values.shape}"
        raise DataError(f"{batch}: {found}", f"uint8 (N, {PIXELS})", REMEDY)
    labels = content.get("labels")
    if not isinstance(labels, list):
        others = [f", but {key!r}, as CIFAR-100 has" for key in OTHERS if key in content]
        raise DataError(
            f"{batch}: no list 'labels'{''.join(others[:1])}", f"{len(values)} numbers", REMEDY
        )
    if len(labels) != len(values) or not all(
        type(label) is int and 0 <= label < 256 for label in labels
    ):
        found = f"{len(labels)} 'labels'"
        raise DataError(f"{batch}: {found}", f"{len(values)} numbers of 0..9", REMEDY)
    return np.array(labels, np.int64), values


def _class_names(folder: Path) -> tuple[str, ...]:
    """From batches.meta.txt (binary version) or batches.meta (Python), where there is one; they
    are published, too."""
    text, pickled = folder / "batches.meta.txt", folder / "batches.meta"
    if os.path.lexists(text):
        try:
            names = given.text(text).split()
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or error
            raise DataError(f"cannot read {text} ({told})", "the classes' names", REMEDY) from None
        source = text
    elif os.path.lexists(pickled):
        stored = _load(pickled).get("label_names")
        if not isinstance(stored, list):
            raise DataError(f"{pickled}: no list 'label_names'", "the classes' names", REMEDY)
        try:
            names, source = [_text(name) for name in stored], pickled
        except ValueError as error:
            raise _broken(pickled, error) from None
    else:
        return tuple(NAMES)
    if len(names) != CLASSES:
        raise DataError(f"{source}: {len(names)} names of classes", f"{CLASSES}", REMEDY)
    return tuple(printable(name) for name in names)


@dataclass
class _Array:
    """What stands for a NumPy array in a pickle: its parts, of which nothing is made yet."""

    state: tuple[Any, ...] = ()

    def values(self) -> np.ndarray:
        """The array. Raises ValueError for one that is not uint8."""
        raw, dtype, shape, order = self.state
        if not isinstance(dtype, _Dtype) or dtype.name != "u1":
            raise ValueError("an array that is not uint8")
        if not isinstance(shape, tuple) or not all(type(size) is int for size in shape):
            raise ValueError("an array without a shape")
        if isinstance(raw, (str, _Encoded)):
            raw = _bytes(raw)
        return np.frombuffer(raw, np.uint8).reshape(shape, order=order)


@dataclass(frozen=True)
class _Dtype:
    """What stands for numpy.dtype: its name alone."""

    name: str


@dataclass(frozen=True)
class _Encoded:
    """Bytes that a pickle holds as text; a long text in many calls is not copied for each."""

    text: str


def _bytes(value: str | _Encoded) -> bytes:
    return (value.text if isinstance(value, _Encoded) else value).encode("latin-1")


CORES = ("numpy.core", "numpy._core")
ENCODE, NDARRAY, DTYPE = "_codecs encode", "numpy ndarray", "numpy dtype"
MAKE = {f"{core}.multiarray _reconstruct" for core in CORES}
FROM_BUFFER = {f"{core}.numeric _frombuffer" for core in CORES}
KNOWN = {ENCODE, NDARRAY, DTYPE, *MAKE, *FROM_BUFFER}


def _called(name: str, arguments: tuple[Any, ...]) -> Any:
    if name == ENCODE:
        text = _Encoded(pickles.of(arguments[0], str))
        return text if len(text.text) > LONGEST_NAME else _bytes(text)
    if name == DTYPE:
        return _Dtype(_text(arguments[0])[:LONGEST_NAME])
    if name in MAKE:
        return _Array()
    if name in FROM_BUFFER:
        return _Array(arguments)
    raise pickles.refuse(f"a pickle that calls {name.replace(' ', '.')}", WANTED)


def _built(value: Any, state: Any) -> None:
    if isinstance(value, _Array):
        _version, shape, dtype, fortran, raw = state
        value.state = (raw, dtype, shape, "F" if fortran else "C")
    else:
        pickles.of(value, _Dtype)  # byte order and fields; uint8 has none


def _stored(described: Any) -> Any:
    raise pickles.refuse("a pickle of something stored elsewhere", WANTED)


BATCH = pickles.Dialect(
    wanted=WANTED,
    remedy="it may be malicious: fetch CIFAR-10 from a source you trust",
    known=KNOWN.__contains__,
    called=_called,
    built=_built,
    stored=_stored,
    keys=(str, bytes),
    longest=MOST_BYTES,
    most=MOST_BYTES,
    work=MOST_WORK,
)


def _load(path: Path) -> dict[str, Any]:
    """A pickled dictionary with its keys as text; nothing in it is executed."""
    try:
        content, _ = pickles.load(BATCH, given.content(path, MOST_BYTES))
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}")
        return {_text(key): value for key, value in content.items()}
    except RefqError as error:
        raise DataError(
            f"{path}: {error.found}", error.wanted or WANTED, error.remedy or REMEDY
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})", "a CIFAR-10 batch") from None
    except Exception as error:  # a broken pickle fails in any way at all
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> DataError:
    reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
    return DataError(f"cannot read {path} ({reason})", "a whole CIFAR-10 Python batch", REMEDY)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):  # lists within lists would be written out again and again
        raise ValueError(f"a {type(value).__name__} as a name")
    return value
