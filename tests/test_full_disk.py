"""A disk that is full wherever a file is written: one line with its path, and nothing left behind.

HDF5's are in tests/hdf5.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from refq.errors import OptionError
from refq.files import writing
from refq.hardware.files import file_formats
from tests.hardware import golden_set

ROOMS = (0, 1, 500, 20_000)
LINES = 3000


@contextmanager
def full(room: int) -> Iterator[None]:
    """Files longer than that cannot be written; Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refused(folder: Path, write: Callable[[Path], object]) -> None:
    """Into a new place, and over what is there."""
    target = folder / "out"
    for room in ROOMS:
        before = sorted(folder.rglob("*"))
        with full(room), pytest.raises(OptionError, match=f"cannot write {target} ") as caught:
            write(target)
        assert "\n" not in str(caught.value) and "None" not in str(caught.value)
        assert sorted(folder.rglob("*")) == before


def test_files(tmp_path: Path) -> None:
    text = "line\n" * 9 * LINES
    refused(tmp_path, lambda target: writing.write_text(str(target), text))
    refused(tmp_path, lambda target: writing.write_json(str(target), [1] * 9 * LINES))
    array = np.zeros((9, LINES))
    refused(tmp_path, lambda target: writing.write_array(str(target), [array, array]))
    (tmp_path / "out").write_text("mine")
    refused(tmp_path, lambda target: writing.write_text(str(target), text))
    assert (tmp_path / "out").read_text() == "mine"


def test_folders(tmp_path: Path) -> None:
    files = {"a.png": bytes(40_000), "index.html": b"x"}
    refused(tmp_path, lambda target: writing.write_folder(str(target), files))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("mine")
    refused(tmp_path, lambda target: writing.write_folder(str(target), files))
    assert (tmp_path / "out" / "index.html").read_text() == "mine"


@pytest.mark.parametrize("format_", sorted(set(file_formats()) - {"hdf5"}))
def test_golden_sets(tmp_path: Path, format_: str) -> None:
    rng = np.random.default_rng(4)
    large = {"conv1.sum": rng.integers(-9, 9, (2, 7, 90, 90)), "fc.sum": rng.integers(0, 9, (2, 3))}

    def write(target: Path) -> None:
        with writing.new_folder(str(target)) as folder:
            golden_set.write_files(folder, large, format_)

    refused(tmp_path, write)


def test_what_is_not_written_costs_no_other_output(tmp_path: Path) -> None:
    (tmp_path / "is").mkdir()
    evaluate = [sys.executable, "-m", "refq.evaluate", "squeezenet1_1", "--images", "1"]
    given = ["--save-outputs", "/dev/full", "--json", str(tmp_path / "is" / "r.json")]
    done = subprocess.run([*evaluate, *given], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "top-1" in done.stdout
    assert done.stderr == "refq: cannot write /dev/full (No space left on device)\n"
    assert os.listdir(tmp_path / "is") == ["r.json"]
