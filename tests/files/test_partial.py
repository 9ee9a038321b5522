"""What killed processes leave is removed by the next run, what living ones write is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from refq.errors import OptionError
from refq.files import partial, writing

WRITES = """
import sys
from pathlib import Path
from refq.files import writing

def write(path):
    path.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()

if sys.argv[1] == "file":
    writing.write_whole(sys.argv[2], write)
else:
    with writing.new_folder(sys.argv[2]) as folder:
        write(folder / "a")
"""


def writer(kind: str, target: Path) -> subprocess.Popen[str]:
    """A process that is half done with a target, and goes on once its stdin ends."""
    command = [sys.executable, "-c", WRITES, kind, str(target)]
    process = subprocess.Popen(command, stdin=-1, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


def parts(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(partial.SUFFIX)]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_goes(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    killed, alive = writer(kind, target), writer(kind, target)
    other = writer(kind, tmp_path / "other")
    for process in (killed, other):
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert len(parts(tmp_path)) == 3
    if kind == "file":
        writing.write_text(str(target), "mine")
    else:
        with writing.new_folder(str(target)) as folder:
            (folder / "mine").touch()
    # what the living one writes, and what is another target's, stays
    assert len(parts(tmp_path)) == 2
    if kind == "folder":
        (target / "mine").unlink()
    alive.communicate()
    assert alive.returncode == 0
    left = target if kind == "file" else target / "a"
    assert left.read_text() == "half" and len(parts(tmp_path)) == 1


def test_what_cannot_be_judged_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".out.12345678.part", ".out.mine", ".out.a.b.part", ".out.87654321.part"):
        (tmp_path / name).mkdir()
    (tmp_path / ".out.12345678.part" / partial.LOCK).write_text("elsewhere 0-0")
    (tmp_path / ".out.87654321.part" / "mine").touch()
    (tmp_path / ".out.file0000.part").touch()
    before = sorted(os.listdir(tmp_path))
    writing.write_text(str(tmp_path / "out"), "text")
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "out"])
    monkeypatch.setattr(partial, "_machine", lambda: "elsewhere 1-1")
    writing.write_text(str(tmp_path / "out"), "text")
    before.remove(".out.12345678.part")
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "out"])


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".out.12345678.part").mkdir()
    (tmp_path / ".out.12345678.part" / partial.LOCK).touch()

    def refused(*given: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(partial.fcntl, "flock", refused)
    writing.write_text(str(tmp_path / "out"), "text")
    assert sorted(os.listdir(tmp_path)) == [".out.12345678.part", "out"]


def test_every_step_is_taken() -> None:
    taken = []

    def fails(name: str) -> None:
        taken.append(name)
        raise OptionError(f"cannot write {name}")

    with pytest.raises(OptionError, match="cannot write a"):
        writing.every(lambda: fails("a"), lambda: taken.append("b"), lambda: fails("c"))
    assert taken == ["a", "b", "c"]
