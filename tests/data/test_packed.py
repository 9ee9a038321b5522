"""Packed HDF5 files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.data import open_dataset, packed
from refq.errors import DataError, OptionError
from refq.networks import bundled
from tests.data.pictures import INPUT, error_of, labels_of, noise, write_packed


def test_packed_round_trip(tmp_path: Path) -> None:
    images = write_packed(tmp_path / "tiny.h5")
    data = open_dataset(str(tmp_path / "tiny.h5"), INPUT)
    assert (data.name, len(data), data.classes) == ("tiny", 5, ("a", "b", "ü", "d", "e"))
    assert labels_of(data) == [4, 3, 2, 1, 0]
    for index in (0, 3, 4, 1):
        assert (data.image(index) == images[index]).all()
    with h5py.File(tmp_path / "tiny.h5") as file:
        stored = file["images"]
        assert (stored.dtype, stored.compression, stored.shuffle) == (np.uint8, "gzip", True)
        assert stored.chunks[1:] == (6, 4, 3)
        assert json.loads(file.attrs["classes"]) == ["a", "b", "ü", "d", "e"]
        assert (file.attrs["source"], file.attrs["licence"]) == ("made up", "CC0")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.h5"]


def test_large_packed_images_have_a_chunk_each(tmp_path: Path) -> None:
    packed.write(tmp_path / "large.h5", noise(2, 300, 301, 3), 2, name="large")
    with h5py.File(tmp_path / "large.h5") as file:
        assert file["images"].chunks == (1, 300, 301, 3)
    data = open_dataset(str(tmp_path / "large.h5"), INPUT)
    assert data.labels is None and data.classes is None


def test_bundled_splits_are_packed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("glyphs_test.h5", 4), ("glyphs_calibration.h5", 3)):
        packed.write(tmp_path / name, noise(count, 6, 4, 3), count, name=name)
    monkeypatch.setattr(bundled, "path", lambda name: tmp_path / name)
    assert len(open_dataset("bundled", INPUT)) == 4
    assert len(open_dataset("bundled", INPUT, split="calibration")) == 3
    with error_of(OptionError, "unknown split 'train'; expected one of calibration, test"):
        open_dataset("bundled", INPUT, split="train")


def packed_with(path: Path, **datasets: object) -> str:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return str(path)


@pytest.mark.parametrize(
    ("datasets", "text"),
    [
        ({"images": noise(0, 4, 5, 3)}, "'images' of shape (0, 4, 5, 3); expected"),
        (
            {"images": noise(2, 4, 5, 3), "labels": np.array([1, 2**64 - 1], np.uint64)},
            "label 18446744073709551615; expected int64",
        ),
        (
            {"images": noise(2, 4, 5, 3), "labels": np.zeros(2)},
            "'labels' of dtype float64; expected int64; make it with tools/pack_images.py",
        ),
        (
            {"images": noise(2, 4, 5, 3), "labels": np.zeros(3, np.int64)},
            "'labels' of shape (3,); expected (2,)",
        ),
    ],
)
def test_wrong_packed_files(tmp_path: Path, datasets: dict[str, Any], text: str) -> None:
    with error_of(DataError, text):
        open_dataset(packed_with(tmp_path / "wrong.h5", **datasets), INPUT)


def test_wrong_class_names_in_a_packed_file(tmp_path: Path) -> None:
    spec = packed_with(tmp_path / "wrong.h5", images=noise(2, 4, 5, 3))
    for value in ("a, b", '"a"'):
        with h5py.File(spec, "a") as file:
            file.attrs["classes"] = value
        with error_of(DataError, "attribute 'classes'"):
            open_dataset(spec, INPUT)


def test_truncated_or_foreign_packed_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.h5"
    write_packed(path)
    path.write_bytes(path.read_bytes()[:-700])
    with error_of(DataError, "expected a complete packed HDF5 file; make it with tools/pack_im"):
        open_dataset(str(path), INPUT)
    path.write_text("not HDF5")
    with error_of(DataError, f"cannot read {path} ("):
        open_dataset(str(path), INPUT)


def test_damaged_pixels_are_told_with_the_image(tmp_path: Path) -> None:
    path = tmp_path / "large.h5"
    packed.write(path, noise(3, 300, 301, 3), 3, name="large")
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset + 100)
        raw.write(bytes(5000))
    data = open_dataset(str(path), INPUT)
    data.image(0)
    with error_of(DataError, f"cannot read {path}, image 1 ("):
        data.image(1)
    data.image(2)


def test_packed_write_leaves_nothing_behind_on_errors(tmp_path: Path) -> None:
    mixed = [noise(4, 5, 3), noise(5, 4, 3)]
    with error_of(DataError, "image 1 is 5x4; expected 4x5 like those before it; give --size"):
        packed.write(tmp_path / "mixed.h5", mixed, 2, name="mixed")
    with error_of(DataError, "1 images; expected 2"):
        packed.write(tmp_path / "short.h5", mixed[:1], 2, name="short")
    with error_of(DataError, "expected a file's name in a folder that exists"):
        packed.write(tmp_path / "no" / "folder.h5", mixed[:1], 1, name="none")
    assert list(tmp_path.iterdir()) == []
