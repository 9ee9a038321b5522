"""Changes break files where it hurts, and differ by their random numbers alone."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.fuzzing import changes
from tests.fuzzing.changes import Change

CONTENT = {"a": [1, {"b": 2}], "c": "x", "d": {"e": {"f": [3, 4]}}}
JSON = json.dumps(CONTENT).encode()


def _hdf5(folder: Path) -> bytes:
    with h5py.File(folder / "w.h5", "w") as file:
        file["a/b"] = np.arange(500.0)
        file["a/b"].attrs["c"] = "text"
    return (folder / "w.h5").read_bytes()


def _archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("w/data.pkl", bytes(range(99)))
        archive.writestr("w/data/0", bytes(50))
        archive.writestr("config.json", JSON)
    return target.getvalue()


@pytest.mark.parametrize(
    "change", [changes.in_bytes, changes.in_hdf5, changes.in_json, changes.in_zip, changes.in_png]
)
def test_changes_follow_from_the_seed(tmp_path: Path, change: Change) -> None:
    whole: dict[Change, bytes] = {
        changes.in_hdf5: _hdf5(tmp_path),
        changes.in_json: JSON,
        changes.in_zip: _archive(),
    }
    data = whole.get(change, bytes(range(256)) * 9)
    made = [change(data, np.random.default_rng(seed)) for seed in range(80)]
    assert made == [change(data, np.random.default_rng(seed)) for seed in range(80)]
    assert len({*made} - {data}) > 60


def test_json_stays_json() -> None:
    for seed in range(50):
        made = json.loads(changes.in_json(JSON, np.random.default_rng(seed)))
        assert isinstance(made, dict)


def test_lines_keep_their_checksums() -> None:
    lines = b"".join(changes._signed({"key": number, **CONTENT}) for number in range(4))
    for seed in range(50):
        made = changes.in_signed_lines(lines, np.random.default_rng(seed)).splitlines()
        assert sum(a != b for a, b in zip(made, lines.splitlines(), strict=True)) <= 1
        for line in made:
            text, _, crc = line.rpartition(b', "crc": ')
            assert json.loads(crc[:-1]) == f"{zlib.crc32(text):08x}"


def test_archives_stay_whole_and_one_part_changes() -> None:
    data, changed = _archive(), set()
    source = zipfile.ZipFile(io.BytesIO(data))
    for seed in range(50):
        archive = zipfile.ZipFile(io.BytesIO(changes.in_zip(data, np.random.default_rng(seed))))
        assert archive.testzip() is None and archive.namelist() == source.namelist()
        parts = [name for name in source.namelist() if archive.read(name) != source.read(name)]
        assert len(parts) <= 1
        changed |= {*parts}
    assert changed == {"w/data.pkl", "config.json"}


def test_pngs_keep_their_checksums() -> None:
    chunk = b"\0\0\0\5IDAThello"
    data = b"\x89PNG\r\n\x1a\n" + chunk + zlib.crc32(chunk[4:]).to_bytes(4, "big")
    for seed in range(50):
        made = changes.in_png(data, np.random.default_rng(seed))
        if len(made) == len(data) and made[8:12] == chunk[:4]:
            assert zlib.crc32(made[12:21]).to_bytes(4, "big") == made[21:25]
