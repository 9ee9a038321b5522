"""refq.convert: what it writes destroys nothing, and is whole or not there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from refq import convert
from refq.networks.weights import load
from tests.importers import small_weights

NETWORK, WEIGHTS = small_weights.case()
# the command in a process that may write no more than 64 KiB to a file; the weights have 104
LIMITED = """
import resource, sys
from refq import convert
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
sys.exit(convert.main(sys.argv[1:]))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    small_weights.caffe_hdf5(tmp_path / "w.h5", NETWORK, WEIGHTS)
    return tmp_path / "w.h5"


def run(*arguments: Path | str) -> int:
    return convert.main([str(each) for each in arguments])


def test_no_file_is_overwritten(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, out, link = source.read_bytes(), source.with_name("out.h5"), source.with_name("l.h5")
    link.symlink_to(source)
    os.link(source, source.with_name("hard.h5"))
    for arguments, told in (
        ((source, "-o", source), f"{source} as FILE and as --out; expected two different files"),
        ((source, "-o", link), "as FILE and as --out"),
        ((source, "-o", source.with_name("hard.h5")), "as FILE and as --out"),
        ((link, "-o", source.parent / "." / source.name), "as FILE and as --out"),
        ((source, "-o", out, "--json", source), f"{source} as FILE and as --json"),
        ((source, "-o", out, "--json", out), f"{out} as --out and as --json"),
    ):
        assert run(*arguments) == 2
        heard = capsys.readouterr()
        assert told in heard.err and heard.err.count("\n") == 1 and not heard.out
        assert source.read_bytes() == content and not out.exists()


def test_a_link_stays(source: Path) -> None:
    (source.parent / "disk").mkdir()
    place, link = source.parent / "disk" / "real.h5", source.with_name("link.h5")
    link.symlink_to(place)
    for _ in range(2):  # one that leads nowhere yet, then one that leads to a file
        assert run(source, "-o", link) == 0
        assert link.is_symlink() and load(place, "vgg16")[1].sha256 == WEIGHTS.sha256
    assert sorted(path.name for path in place.parent.iterdir()) == ["real.h5"]


def test_a_pipe_stays(source: Path) -> None:
    """Nothing takes the place of a device or a pipe; the weights go through it."""
    pipe, copy = source.with_name("pipe"), source.with_name("copy.h5")
    os.mkfifo(pipe)
    with copy.open("wb") as file:
        reader = subprocess.Popen(["cat", str(pipe)], stdout=file)
        assert run(source, "-o", pipe) == 0
        reader.wait(20)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert load(copy, "vgg16")[1].sha256 == WEIGHTS.sha256


def test_a_full_disk(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = source.with_name("out.h5")
    code = LIMITED
    arguments = [sys.executable, "-c", code, str(source), "-o", str(out)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    told = f"refq: cannot write {out} (File too large)\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)
    assert [path.name for path in source.parent.iterdir()] == ["w.h5"]
    if Path("/dev/full").exists():
        assert run(source, "-o", "/dev/full") == 2
        assert "cannot write /dev/full (No space left on device)" in capsys.readouterr().err
