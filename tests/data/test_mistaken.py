"""What people give in the place of data is told as what it is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from refq.data import open_dataset
from refq.errors import DataError
from tests.data.pictures import INPUT, error_of, noise, save_image


def tar_of(path: Path) -> None:
    import tarfile

    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "a.py")


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.zip", b"PK\3\4", "a.zip is a zip archive; expected bundled, random:N, a folder or a p"),
        ("a.tar", tar_of, "a.tar is a tar archive"),
        ("a.tgz", b"\x1f\x8b", "a.tgz is a gzip archive"),
        ("a.npz", b"PK\3\4", "a.npz as .npz (File is not a zip file); expected a complete archive"),
        ("a.png", lambda path: save_image(path, noise(4, 5, 3)), "a.png is a single image (PNG)"),
        ("a.jpg", lambda path: save_image(path, noise(4, 5, 3)), "a.jpg is a single image (JPEG)"),
        ("a.h5", b"", "a.h5 is an empty file"),
        ("val.txt", b"a.png 1", "val.txt is a single file of a data set"),
        ("test_batch.bin", bytes(3073), "test_batch.bin is a single file of a data set"),
        ("test_batch", b"\x80\x02}q", "test_batch is a pickle"),
        ("notes", b"x", "notes (it is text)"),
        ("bits", b"\1\2", "bits (neither HDF5 nor NumPy's)"),
        ("a.pt", b"version https://git-lfs.github.com/spec/v1", "a.pt is a Git LFS pointer"),
    ],
)
def test_files_in_the_place_of_data(
    tmp_path: Path, name: str, content: object, wanted: str
) -> None:
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    with error_of(DataError, wanted):
        open_dataset(str(path), INPUT)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("/no/such", "no data at '/no/such'"),
        ("~nobody-has-this-name/x", "cannot read '~nobody-has-this-name/x' ("),
        ("x" * 5000, "(File name too long)"),
        ("/dev/zero", "/dev/zero is a device; expected bundled, random:N, a folder"),
    ],
)
def test_places_that_hold_no_data(spec: str, wanted: str) -> None:
    with error_of(DataError, wanted):
        open_dataset(spec, INPUT)


@pytest.mark.skipif(os.name != "posix", reason="pipes and links are made as POSIX does")
def test_pipes_and_links_in_the_place_of_data(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with error_of(DataError, "pipe is a pipe; expected bundled"):
        open_dataset(str(tmp_path / "pipe"), INPUT)
    (tmp_path / "link").symlink_to("away")
    with error_of(DataError, "(a link that leads nowhere); expected bundled"):
        open_dataset(str(tmp_path / "link"), INPUT)


def test_weights_in_the_place_of_data(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["conv1/weight"] = np.zeros((4, 3, 3, 3), np.float32)
    with error_of(DataError, "w.h5 is HDF5 with no dataset 'images'; expected a dataset") as told:
        open_dataset(str(tmp_path / "w.h5"), INPUT)
    assert "weights are given by --weights" in str(told.value)
