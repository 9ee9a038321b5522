"""Files that come with refq are known by their bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from refq.networks import bundled

TOP = Path(__file__).parents[2]
NAMES = json.loads((TOP / "weights" / "manifest.json").read_text("utf-8"))["files"]


@pytest.mark.parametrize("name", NAMES)
def test_bundled_files_are_held(name: str) -> None:
    assert bundled.holds(bundled.path(name))


def test_what_is_not_as_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("glyphs_test.h5", "manifest.json"):
        (tmp_path / name).write_bytes(bundled.path(name).read_bytes())
    copy = tmp_path / "glyphs_test.h5"
    assert not bundled.holds(copy)  # it lies elsewhere
    monkeypatch.setattr(bundled, "FOLDERS", (tmp_path,))
    assert bundled.holds(copy)
    content = bytearray(copy.read_bytes())
    content[5000] ^= 1
    copy.write_bytes(content)
    assert not bundled.holds(copy)
    (tmp_path / "other.h5").write_bytes(content)
    assert not bundled.holds(tmp_path / "other.h5") and not bundled.holds(tmp_path / "none.h5")


def test_bundled_files_wait_for_no_process() -> None:
    code = """
from refq.data import open_dataset
from refq.hdf5 import processes
from refq.networks import bundled
from refq.networks.weights import load

load(bundled.path("squeezenet1_1.h5"), "squeezenet1_1")
open_dataset("bundled", (3, 32, 32)).image(5)
assert processes._first is None
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
