"""Inputs from files of arrays: which array, in which order of axes, and what is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.data import Dataset, digest, open_dataset
from refq.data.fitting import fit
from refq.errors import DataError
from tests.data.pictures import error_of, labels_of, noise
from tests.shared_data import shared

INPUT = (3, 7, 9)
RNG = np.random.default_rng(17)
X = RNG.normal(0, 50, (5, *INPUT))


def saved(path: Path, **arrays: Any) -> str:
    """A file of arrays, of the kind that its name says."""
    if path.suffix == ".npy":
        np.save(path, arrays["x"])
    elif path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
    return str(path)


def all_of(data: Dataset) -> np.ndarray:
    return np.stack([data.image(index) for index in range(len(data))])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", ">f8", "i1", ">i2", "u2", "i8", "?"])
def test_numbers_of_any_type_become_float32(tmp_path: Path, suffix: str, dtype: str) -> None:
    values = (X > 0 if dtype == "?" else np.abs(X) if dtype[-2] == "u" else X).astype(dtype)
    if suffix == ".h5" and dtype == "?":
        values = values.astype("u1")
    data = open_dataset(saved(tmp_path / f"a{suffix}", x=values), INPUT)
    got = all_of(data)
    assert got.dtype == (np.uint8 if values.dtype == np.uint8 else np.float32)
    assert (got == values.astype(np.float32)).all() and len(data) == 5 and data.labels is None
    assert got[0].flags.c_contiguous and data.array == values.dtype


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_bytes_stay_bytes_and_files_of_each_kind_are_one_data_set(
    tmp_path: Path, suffix: str
) -> None:
    data = open_dataset(saved(tmp_path / f"a{suffix}", x=noise(5, *INPUT)), INPUT)
    other = open_dataset(saved(tmp_path / "b.npy", x=all_of(data)), INPUT)
    assert all_of(data).dtype == np.uint8
    assert digest(data, 5) == digest(other, 5)
    signed = saved(tmp_path / "c.npy", x=all_of(data).astype(np.float32))
    assert digest(data, 5) != digest(open_dataset(signed, INPUT), 5)


@pytest.mark.parametrize(
    ("row", "wanted", "axes"),
    [
        ((3, 7, 9), (3, 7, 9), None),
        ((7, 9, 3), (3, 7, 9), (2, 0, 1)),
        ((3, 3, 3), (3, 3, 3), None),  # either would do: channels first
        ((7, 9), (1, 7, 9), None),
        ((7, 9, 1), (1, 7, 9), None),
        ((5, 11), (5, 1, 11), None),
        ((11, 5), (5, 1, 11), (1, 0)),
        ((11, 1, 5), (5, 1, 11), (2, 1, 0)),
        ((1, 11, 5), (5, 1, 11), (2, 0, 1)),
        ((11, 11), (11, 1, 11), None),
        ((6,), (6,), None),
        ((6, 1, 1), (6,), None),
        ((6,), (6, 1, 1), None),
        ((), (1,), None),
        ((2, 5, 6, 4), (4, 2, 5, 6), (3, 0, 1, 2)),
    ],
)
def test_rows_that_fit(
    row: tuple[int, ...], wanted: tuple[int, ...], axes: tuple[int, ...] | None
) -> None:
    how = fit(row, wanted)
    values = RNG.integers(0, 99, row)
    moved = values if axes is None else values.transpose(axes)
    assert how is not None and how.channels_last == (axes is not None)
    got = how(np.asarray(values))
    assert got.reshape(wanted).shape == wanted
    assert (got.reshape(wanted) == moved.reshape(wanted)).all()


def test_rows_that_do_not_fit() -> None:
    for row in ((9, 7, 3), (7, 3, 9), (189,), (3, 63), (3, 7, 9, 2), (3, 7), ()):
        assert fit(row, INPUT) is None


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_channels_last_and_orders_of_axes(tmp_path: Path, suffix: str, order: Any) -> None:
    values = np.asarray(X.transpose(0, 2, 3, 1), np.float32, order=order)
    data = open_dataset(saved(tmp_path / f"a{suffix}", x=values), INPUT)
    assert (all_of(data) == X.astype(np.float32)).all()
    assert data.notes == ("rows of 7x9x3, channels last, taken as 3x7x9",)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_which_array_and_its_labels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    saved(path, codes=noise(5, *INPUT), X=X, labels=np.array([4, 0, 1, 1, 3], ">i2"), scale=0.5)
    data = open_dataset(str(path), INPUT)
    assert (all_of(data) == X.astype(np.float32)).all()
    assert labels_of(data) == [4, 0, 1, 1, 3]
    assert data.notes == ("arrays that are not read: codes, scale",)
    assert data.name == f"a{suffix}: X (float64)" and data.where(3) == f"{path}, row 3"
    assert (all_of(open_dataset(f"{path}:codes", INPUT)) != all_of(data)).any()
    with error_of(DataError, "no array other" if suffix == ".npz" else "other: not in the file"):
        open_dataset(f"{path}:other", INPUT)
    saved(path, first=X, other=X[:, 0], labels=np.zeros((5, 1), int))
    with error_of(DataError, "; expected one array named images, inputs, x, data, or one alone of"):
        open_dataset(str(path), INPUT)
    assert labels_of(open_dataset(f"{path}:first", INPUT)) == [0] * 5
    saved(path, features=X, labels=np.arange(5))
    assert len(open_dataset(str(path), INPUT)) == 5


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([{}] * 5), "values of dtype object; expected numbers of at most 64 bits"),
        (np.array([{}] * 5), "objects are pickles, which may hold any program"),
        (np.zeros(5, "f4,i2"), "expected numbers of at most 64 bits"),
        (np.zeros(5, "U3"), "values of dtype <U3; expected numbers"),
        (np.zeros((5, 3, 7, 9), "c8"), "values of dtype complex64; expected numbers"),
        (np.zeros((5, 3, 7, 9), "M8[s]"), "values of dtype datetime64[s]; expected numbers"),
        (X[:0], "shape (0, 3, 7, 9); expected 1 or more inputs"),
        (X[0], "shape (3, 7, 9); expected (N, 3, 7, 9), or channels last; of a single input, sav"),
        (X[:, :2], "expected (N, 3, 7, 9), or channels last; the network has 3 channels"),
        (X[:, :, :6], "expected (N, 3, 7, 9), or channels last; scale or crop the inputs"),
        (X.reshape(5, -1), "shape (5, 189); expected (N, 3, 7, 9), or channels last; reshape it"),
        (np.zeros(5), "shape (5,); expected (N, 3, 7, 9)"),
        (np.float32(1), "shape (); expected (N, 3, 7, 9)"),
    ],
)
def test_arrays_that_are_no_inputs(tmp_path: Path, values: Any, text: str) -> None:
    for name in ("a.npy", "a.npz"):
        with error_of(DataError, text) as told:
            open_dataset(saved(tmp_path / name, x=values), INPUT)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_values_that_float32_does_not_hold(tmp_path: Path, suffix: str, value: float) -> None:
    values = X.copy()
    values[3, 1, 2, 8] = value
    path = tmp_path / f"a{suffix}"
    data = open_dataset(saved(path, x=values), INPUT)
    data.image(2), data.image(4)
    with error_of(DataError, f"{path}, row 3: {value} at [1, 2, 8]; expected finite numbers"):
        data.image(3)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.zeros(5), "labels of dtype float64; expected integers"),
        (np.zeros(5, bool), "labels of dtype bool; expected integers"),
        (np.zeros(4, int), "labels of shape (4,); expected (5,)"),
        (np.eye(5, dtype=int), "labels of shape (5, 5); expected (5,); of one score a class, save"),
        (
            np.array([0, 1, 2, 3, 2**64 - 1], np.uint64),
            "label 18446744073709551615; expected int64",
        ),
    ],
)
def test_labels_in_the_file_that_are_none(tmp_path: Path, labels: np.ndarray, text: str) -> None:
    path = tmp_path / "a.npz"
    with error_of(DataError, f"{path}: labels: {text}"):
        open_dataset(saved(path, x=X, labels=labels), INPUT)


def test_files_that_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    whole = Path(saved(path, x=X)).read_bytes()
    for cut, text in (
        (whole[:-1], "7,559 bytes of values, where 7,560 are those of float64 (5, 3, 7, 9)"),
        (whole + b"more", "7,564 bytes of values"),
        (whole[:50], "no .npy header of version 1 or 2"),
        (whole.replace(b"(5, 3", b"(-5,3"), "no .npy header of version 1 or 2 (shape (-5, 3"),
        (whole.replace(b"(5, 3, 7", b"(5e9,3,7"), "no .npy header of version 1 or 2"),
        (whole[:6] + b"\x03" + whole[7:], "no .npy header of version 1 or 2"),
    ):
        path.write_bytes(cut)
        with error_of(DataError, text):
            open_dataset(str(path), INPUT)
    path.write_bytes(whole)
    data = open_dataset(str(path), INPUT)
    path.write_bytes(whole[:-9])
    data.image(3)
    with error_of(DataError, f"{path} has become shorter"):
        data.image(4)
    with error_of(DataError, "a.npy is a single array, and has no x"):
        open_dataset(f"{path}:x", INPUT)


def entry(path: Path, change: Callable[[bytes], bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        out = io.BytesIO()
        np.save(out, X)
        archive.writestr("x.npy", change(out.getvalue()))
    return str(path)


def test_archives_that_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for change, text in (
        (lambda data: data[:-1], "x: 7,559 bytes of values, where 7,560 are"),
        (lambda data: data.replace(b"(5, 3", b"(9, 3"), "7,560 bytes of values, where 13,608 are"),
        (lambda data: data[:9], "x: no .npy header of version 1 or 2"),
    ):
        with error_of(DataError, text):
            open_dataset(entry(path, change), INPUT)
    with error_of(
        DataError, "cannot read a.npz as .npz (compressed by method 12)".partition("a.n")[0]
    ):
        open_dataset(entry(path, lambda data: data, zipfile.ZIP_BZIP2), INPUT)
    whole = bytearray(Path(entry(path, lambda data: data)).read_bytes())
    whole[len(whole) // 2] ^= 0x55
    path.write_bytes(whole)
    with error_of(DataError, f"cannot read {path} as .npz"):
        open_dataset(str(path), INPUT)
    np.savez(path)
    with error_of(DataError, f"{path} holds no arrays; expected one array named images, inputs"):
        open_dataset(str(path), INPUT)


def test_too_large_to_be_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refq.data.stored.MOST_WHOLE", 7559)
    with error_of(DataError, "7,560 bytes in an archive; expected at most 7,559; a .npy file in C"):
        open_dataset(saved(tmp_path / "a.npz", x=X), INPUT)
    with error_of(DataError, "7,560 bytes in Fortran's order; expected at most 7,559"):
        open_dataset(saved(tmp_path / "a.npy", x=np.asfortranarray(X)), INPUT)
    assert len(open_dataset(saved(tmp_path / "b.npy", x=X), INPUT)) == 5


def test_a_folder_named_like_an_array(tmp_path: Path) -> None:
    (tmp_path / "x.npy").mkdir()
    with error_of(DataError, "no images in"):
        open_dataset(str(tmp_path / "x.npy"), INPUT)
    np.save(tmp_path / "a:b.npy", X)
    assert len(open_dataset(str(tmp_path / "a:b.npy"), INPUT)) == 5


def test_real_arrays() -> None:
    data = open_dataset(str(shared("models/kws01_1000.npz")), (1, 49, 10))
    assert data.image(7).shape == (1, 49, 10) and len(data) == 1000
    assert data.notes[1] == "arrays that are not read: codes, scale, zero_point"
    digits = open_dataset(str(shared("models/mnist_test_2000.npz")), (1, 28, 28))
    assert digits.image(0).dtype == np.uint8 and labels_of(digits)[:3] == [7, 2, 1]
