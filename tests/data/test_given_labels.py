"""--labels: a whole number for each input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refq.data import Dataset, check_labels, relabelled
from refq.errors import DataError, OptionError
from tests.data.pictures import error_of, labels_of, numbered


@pytest.mark.parametrize("text", ["3\n0\n 2\t\n1\n", "3\r\n0\r\n\r\n2\r\n1", "\ufeff3\n0\n2\n1"])
def test_labels_as_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, "utf-8")
    data = relabelled(numbered(4, labels=False), str(path))
    assert labels_of(data) == [3, 0, 2, 1] and data.notes == (f"labels of {path}",)


@pytest.mark.parametrize("dtype", ["i1", ">i2", "<u4", "u8"])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_labels_as_an_array(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, np.array([30, 10, 0, 1], dtype).reshape(shape))
    data = relabelled(numbered(4), str(path))
    assert labels_of(data) == [30, 10, 0, 1]
    told = f"labels of {path} in place of the data's own, of which 3 are others"
    assert data.notes == (told,)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"1\n2\n3\n", "labels of shape (3,); expected (4,)"),
        (b"", "labels of shape (0,); expected (4,)"),
        (b"1\n2.0\n3\n4\n", "labels:2: '2.0'; expected a whole number a line"),
        (b"label\n1\n2\n3\n4\n", "labels:1: 'label'; expected a whole number"),
        (b"1 a\n2\n3\n4\n", "labels:1: '1 a'; expected a whole number"),
        (b"1\n2\n3\n9999999999\n", "labels:4: '9999999999'; expected a whole number"),
        (b"1\n\0\n", "zero bytes in it"),
        (np.zeros(4), "labels of dtype float64; expected integers"),
        (np.zeros(4, bool), "labels of dtype bool; expected integers"),
        (np.array([{}] * 4), "values of dtype object; expected numbers"),
        (np.zeros(5, int), "labels of shape (5,); expected (4,)"),
        (np.zeros((4, 7), int), "labels of shape (4, 7); expected (4,); of one score a class"),
        (np.int64(3), "labels of shape (); expected (4,)"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, content: object, text: str) -> None:
    path = tmp_path / "labels"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path.open("wb"), content)  # type: ignore[arg-type]
    with error_of(DataError, text) as told:
        relabelled(numbered(4), str(path))
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_labels_that_are_no_file(tmp_path: Path) -> None:
    with error_of(DataError, f"cannot read {tmp_path / 'none'} (No such file"):
        relabelled(numbered(4), str(tmp_path / "none"))
    with error_of(DataError, f"cannot read {tmp_path} (a folder); expected a whole number for"):
        relabelled(numbered(4), str(tmp_path))


def test_labels_of_data_with_two_splits(tmp_path: Path) -> None:
    data = Dataset("two", 4, lambda index: np.zeros((1, 1, 3), np.uint8), str, splits=True)
    with error_of(OptionError, "--labels with two; expected data of one split"):
        relabelled(data, str(tmp_path / "labels"))


def test_labels_are_those_of_the_networks_classes(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    for text, wrong in (("0\n1\n-1\n2\n", "label -1"), ("0\n1\n2\n3\n", "label 3")):
        path.write_text(text)
        with error_of(DataError, f"{wrong}; expected 0..2 for a network of 3 classes"):
            check_labels(relabelled(numbered(4), str(path)), 3)
