"""Disks that fill up while HDF5 is written: one line, nothing left, no crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from refq.hdf5.created import Created
from tests.importers import small_weights

TOP = Path(__file__).parents[2]

# leaves the block behind a refusal of the disk at any place, and at last Python
WRITING = """
import resource, sys
from pathlib import Path
import numpy as np
from refq.hdf5.created import Created

path = Path(sys.argv[1])

def many(file):
    for index in range(150):
        file.put(f"layer{index}/weight", np.random.random(40))
        file.state(f"layer{index}", {"name": "n" * 50})

def large(file):
    file.put("x", np.random.random(50_000))
    file.put("y", np.arange(5))

def chunks(file):
    how = {"chunks": (4, 30, 20), "compression": "gzip", "shuffle": True}
    file.make("images", (150, 30, 20), np.uint8, **how)
    rng = np.random.default_rng(3)
    for index in range(150):
        file.fill("images", index, rng.integers(0, 256, (30, 20)))

def written(fill, room):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        with Created(path) as file:
            fill(file)
            file.state("/", {"end": "e" * 500})
    except OSError as error:
        return error.strerror
    return path.stat().st_size

for fill in (many, large, chunks):
    size = written(fill, resource.RLIM_INFINITY)
    for room in (0, 50, 900, 3000, size // 3, size // 2 + 7, size - 600, size - 1):
        assert written(fill, room) == "File too large", (fill, room)
    assert written(fill, size) == size
print("done")
"""


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITING, str(tmp_path / "x.h5")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TOP, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_what_is_written_is_there(tmp_path: Path) -> None:
    with Created(tmp_path / "x.h5") as file:
        file.put("a/b", np.arange(7.0))
        file.make("c", (3, 4), "<i2", chunks=(1, 4))
        file.fill("c", (slice(1, 3), slice(None)), np.full((2, 4), 5))
        file.state("c", {"unit": "m"})
        file.state("/", {"name": "n"})
        np.testing.assert_array_equal(file.values("a/b"), np.arange(7.0))
    with h5py.File(tmp_path / "x.h5") as found:
        assert found["a/b"][()].tolist() == list(range(7)) and found.attrs["name"] == "n"
        assert found["c"][()].tolist() == [[0] * 4, [5] * 4, [5] * 4]
        assert found["c"].attrs["unit"] == "m"


def test_a_block_that_ends_otherwise(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="own"), Created(tmp_path / "x.h5") as file:
        file.put("x", np.arange(1000))
        raise KeyError("own")
    left = Created(tmp_path / "y.h5")
    left.put("x", np.arange(1000))
    del left  # as after an error that its owner does not hear of
    for name in ("x.h5", "y.h5"):
        with pytest.raises(OSError, match=r"signature not found|truncated|Unable"):
            h5py.File(tmp_path / name)


# the room on the disk ends where HDF5 begins to write: what Numba keeps has its place
COMMAND = """
import resource, runpy, sys
from refq.hdf5 import created

room, sys.argv = int(sys.argv[1]), sys.argv[2:]
disk = created._Disk.__init__

def small(self, path):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    disk(self, path)

created._Disk.__init__ = small
if sys.argv[0].endswith(".py"):
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
EXPORT = "refq.export squeezenet1_1 --scheme enq --images 1 --calibrate 1 --format hdf5 --out OUT"


PACK = "tools/pack_images.py random:30 OUT --size 40x30"


@pytest.mark.parametrize(
    ("command", "room"),
    [(PACK, 0), (PACK, 30_000), ("refq.convert IN -o OUT", 30_000), (EXPORT, 30_000)],
)
def test_commands_on_a_full_disk(tmp_path: Path, command: str, room: int) -> None:
    source, out = tmp_path / "w.caffemodel.h5", tmp_path / "out"
    small_weights.caffe_hdf5(source, *small_weights.case())
    out.mkdir()
    names = {"IN": str(source), "OUT": str(out / "result")}
    words = [names.get(word, word) for word in command.split()]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(room), *words],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done
    assert f"cannot write {out / 'result'} (File too large)" in done.stderr.splitlines()[-1]
    assert list(out.iterdir()) == []
