"""Arrays in files and in pipes."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from refq.files.writing import write_array

PARTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((1, 3), np.float32)]


def test_an_array_in_a_file(tmp_path: Path) -> None:
    write_array(str(tmp_path / "a.npy"), PARTS)
    np.save(tmp_path / "b.npy", np.concatenate(PARTS))
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_an_array_in_a_pipe() -> None:
    code = (
        "import numpy as np; from refq.files.writing import write_array;"
        "write_array('/dev/stdout', [np.ones((2, 3), np.float32)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert np.array_equal(np.load(io.BytesIO(done.stdout)), np.ones((2, 3)))
