"""CIFAR-10 (Krizhevsky 2009) as its authors distribute it: binary or Python batches.

The Python batches are pickles, and a pickle is a program. These are read without running any:
the few NumPy names that such a batch needs stand for functions here, all others are refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from refq.data.dataset import Dataset
from refq.errors import DataError

SIDE = 32
PIXELS = 3 * SIDE * SIDE
RECORD = 1 + PIXELS
TEST = ("test_batch.bin", "test_batch")
TRAINING = tuple(f"data_batch_{n}{suffix}" for n in range(1, 6) for suffix in (".bin", ""))
REMEDY = "fetch CIFAR-10 again"


def batch_file(folder: Path, split: str) -> Path | None:
    """The split's batch: the test batch, or the first training batch to calibrate with;
    the other where the folder has only that; None in a folder without CIFAR-10."""
    names = TEST + TRAINING if split == "test" else TRAINING + TEST
    return next((folder / name for name in names if (folder / name).is_file()), None)


def open_cifar(batch: Path) -> Dataset:
    """The images of one batch file, uint8 (32, 32, 3); a binary batch is not read into memory."""
    labels, pixels = _read_binary(batch) if batch.suffix == ".bin" else _read_pickled(batch)

    def read(index: int) -> np.ndarray:
        channels = np.asarray(pixels[index]).reshape(3, SIDE, SIDE)
        return np.ascontiguousarray(channels.transpose(1, 2, 0))

    def where(index: int) -> str:
        return f"{batch}, image {index}"

    name = f"CIFAR-10 ({batch.name})"
    return Dataset(name, len(labels), read, where, labels, _class_names(batch.parent))


def _read_binary(batch: Path) -> tuple[np.ndarray, np.ndarray]:
    """labels int64 (N,) and pixels uint8 (N, 3072), channel by channel, still on disk."""
    size = batch.stat().st_size
    if size == 0 or size % RECORD:
        raise DataError(f"{batch}: {size} bytes", f"a multiple of {RECORD}", REMEDY)
    try:
        records = np.memmap(batch, np.uint8, "r").reshape(-1, RECORD)
    except OSError as error:
        raise DataError(f"cannot read {batch} ({error.strerror})", "a readable file") from None
    return records[:, 0].astype(np.int64), records[:, 1:]


def _read_pickled(batch: Path) -> tuple[np.ndarray, np.ndarray]:
    """The same from a Python batch; its pixels, 30 MB, are in memory."""
    content = _load(batch)
    pixels = content.get("data")
    values: Any = pixels.values if isinstance(pixels, _Array) else None
    if values is None or values.ndim != 2 or values.shape[1] != PIXELS or not len(values):
        found = "no array 'data'" if values is None else f"'data' of shape {values.shape}"
        raise DataError(f"{batch}: {found}", f"uint8 (N, {PIXELS})", REMEDY)
    labels = content.get("labels")
    if (
        not isinstance(labels, list)
        or len(labels) != len(values)
        or not all(isinstance(label, int) and 0 <= label < 256 for label in labels)
    ):
        found = f"{len(labels)} 'labels'" if isinstance(labels, list) else "no list 'labels'"
        raise DataError(f"{batch}: {found}", f"{len(values)} numbers of 0..255", REMEDY)
    return np.array(labels, np.int64), values


def _class_names(folder: Path) -> tuple[str, ...] | None:
    """From batches.meta.txt (binary version) or batches.meta (Python), where there is one."""
    text, pickled = folder / "batches.meta.txt", folder / "batches.meta"
    if text.is_file():
        names = text.read_text("utf-8", "replace").split()
    elif pickled.is_file():
        stored = _load(pickled).get("label_names")
        if not isinstance(stored, list):
            raise DataError(f"{pickled}: no list 'label_names'", "the classes' names", REMEDY)
        names = [_text(name) for name in stored]
    else:
        return None
    return tuple(names)


class _Array:
    """Stands for numpy.ndarray while unpickling: takes uint8 values and nothing else."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: np.ndarray = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, raw = state
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: bytes, dtype: object, shape: tuple[int, ...], order: Any) -> None:
        if not isinstance(dtype, _Dtype) or dtype.name != "u1":
            raise ValueError("an array that is not uint8")
        self.values = np.frombuffer(raw, np.uint8).reshape(shape, order=order)


class _Dtype:
    """Stands for numpy.dtype: its name alone."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Byte order and fields; uint8 has none."""


def _make_array(*_: object) -> _Array:
    return _Array()


def _make_from_buffer(raw: bytes, dtype: object, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.fill(raw, dtype, shape, order)
    return array


def _make_dtype(name: str | bytes, *_: object) -> _Dtype:
    return _Dtype(_text(name))


def _encode(text: str, _encoding: object) -> bytes:
    return text.encode("latin-1")


# As functions, not classes: a pickle can set attributes on what it names.
STAND_INS = {
    ("numpy", "ndarray"): _make_array,
    ("numpy", "dtype"): _make_dtype,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _make_array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _make_from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise DataError(
                f"asks for {module}.{name}",
                "a CIFAR-10 batch, which needs only NumPy arrays",
                "it may be malicious: fetch CIFAR-10 from a source you trust",
            )
        return STAND_INS[module, name]


def _load(path: Path) -> dict[str, Any]:
    """A pickled dictionary with its keys as text; nothing in it is executed."""
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}")
        return {_text(key): value for key, value in content.items()}
    except DataError as error:
        raise DataError(f"{path}: {error.found}", error.wanted, error.remedy) from None
    except Exception as error:  # a broken pickle fails in any way at all
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"cannot read {path} ({reason})", "a whole CIFAR-10 Python batch", REMEDY
        ) from None


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
