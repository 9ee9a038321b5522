"""Workers that crash, hang, take memory or say nonsense; who ends them; what stays behind."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.hdf5 import frames, guarded, processes, worker
from refq.hdf5.file import File
from refq.hdf5.library import Library
from refq.hdf5.nodes import Hdf5Error

TOP = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not processes.FORKS, reason="needs fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=np.arange(99), chunks=(40,))  # which is not copied
    return tmp_path / "x.h5"


class Forked:
    """A worker forked from this process, so that it has what a test has changed."""

    def __init__(self) -> None:
        self.stream, other = socket.socketpair()
        self.sendall, self.recv_into = self.stream.sendall, self.stream.recv_into
        self.wait_at_most = self.stream.settimeout
        self.process = os.fork()
        if not self.process:
            try:
                faulthandler.disable()  # of pytest, which tells of crashes
                self.stream.close()
                worker.work(other)
            finally:
                os._exit(7)
        other.close()

    def end(self) -> str:
        self.stream.close()
        return processes._words(worker._ended(self.process))


def _in_circles(*_: object) -> None:
    """Within a library that hears no signal handler of Python."""
    while True:
        ctypes.PyDLL(None).sleep(1)


def _computing(*_: object) -> None:
    sum(iter(int, 1))


def _crashing(*_: object) -> None:
    ctypes.string_at(0)


def _aborting(*_: object) -> None:
    os.abort()


def _large(*_: object) -> None:
    np.ones(1 << 29)


def _opening(*_: object) -> None:
    os.open("/dev/null", os.O_RDONLY)


def _raising(*_: object) -> None:
    raise RecursionError


def _leaving(*_: object) -> None:
    os._exit(0)


HARM: dict[str, tuple[Callable[..., Any], str]] = {
    "waits": (_in_circles, "the HDF5 library takes too long"),
    "computes": (_computing, "the HDF5 library takes too long"),
    "crashes": (_crashing, "the HDF5 library ends by SIGSEGV"),
    "aborts": (_aborting, "the HDF5 library ends by SIGABRT"),
    "leaves": (_leaving, "the HDF5 library gives up"),
    "takes memory": (_large, "it takes too much memory"),
    "opens": (_opening, "Too many open files"),
    "raises": (_raising, "RecursionError"),
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "started", Forked)
    monkeypatch.setattr(worker, "SECONDS", 0.3)
    monkeypatch.setattr(worker, "WAITING", 0.6)


@pytest.mark.parametrize("case", HARM)
def test_harm_is_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, short: None, case: str
) -> None:
    harm, told = HARM[case]
    file = File(path)
    dataset = file.dataset("x")
    file.close()
    monkeypatch.setattr(Library, "sized", harm)
    begin = time.monotonic()
    for _ in range(2):  # the second by a worker that is started anew
        with pytest.raises(Hdf5Error) as caught:
            file.read(dataset)
        assert caught.value.reason == f"x: {told}"
    assert time.monotonic() - begin < 5
    monkeypatch.setattr(Library, "tree", harm)
    if case != "opens":
        with pytest.raises(Hdf5Error) as caught:
            _ = File(path).nodes
        assert caught.value.reason == told


@pytest.mark.parametrize(
    "told", [[{"path": 1}], {}, [{"path": "x", "names": [3], "attributes": {}}], [[]], "x", None]
)
def test_nonsense_is_not_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch, short: None, told: Any
) -> None:
    monkeypatch.setattr(Library, "tree", lambda *_: told)
    with pytest.raises(Hdf5Error, match="its structure makes no sense"):
        _ = File(path).nodes


@pytest.mark.parametrize(
    "frame",
    [
        b"X\0\0\0\0",
        b"J\xff\xff\xff\xff",
        b"J\4\0\0\0{{{{",
        b"D\4\0\0\0aaaa",
        b"J\1",
        b"E\xff\xff\0\0",
    ],
)
def test_other_frames_end_the_worker(
    path: Path, monkeypatch: pytest.MonkeyPatch, short: None, frame: bytes
) -> None:
    def talk(stream: Any) -> None:
        stream.sendall(frame)
        stream.recv(1)

    monkeypatch.setattr(worker, "work", talk)
    with pytest.raises(Hdf5Error, match=r"\(the HDF5 library (gives up|ends by SIGKILL)\)"):
        _ = File(path).nodes


def test_a_worker_that_never_answers(
    path: Path, monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    monkeypatch.setattr(worker, "work", lambda stream: time.sleep(60))
    monkeypatch.setattr(guarded, "SECONDS", 0.4)
    with pytest.raises(Hdf5Error, match="the HDF5 library takes too long"):
        _ = File(path).nodes


def test_a_spawned_worker_that_never_answers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FORKS", False)
    monkeypatch.setattr(guarded, "SECONDS", 0.02)  # less than Python takes to start
    with pytest.raises(Hdf5Error, match=r"the HDF5 library (ends by SIGKILL|gives up)"):
        _ = File(path).nodes


def test_what_goes_wrong_ahead_is_told_when_it_is_wanted(
    path: Path, monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    read = Library.read

    def harmed(self: Library, name: str, rows: Any) -> Any:
        return _crashing() if tuple(rows) == (5, 9) else read(self, name, rows)

    monkeypatch.setattr(Library, "read", harmed)
    file = File(path)
    dataset = file.dataset("x")
    file.read_ahead(dataset, (5, 9))
    np.testing.assert_array_equal(file.read(dataset, (0, 4)), np.arange(4))
    file.read_ahead(dataset, (5, 9))
    with pytest.raises(Hdf5Error, match="ends by SIGSEGV"):
        file.read(dataset, (5, 9))
    np.testing.assert_array_equal(file.read(dataset, (0, 4)), np.arange(4))


def test_an_interrupt_leaves_no_half_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = File(path)
    dataset = file.dataset("x")
    fill = frames.fill

    def interrupted(stream: Any, buffer: Any) -> None:
        fill(stream, memoryview(buffer)[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(frames, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        file.read(dataset)
    monkeypatch.setattr(frames, "fill", fill)
    np.testing.assert_array_equal(file.read(dataset), np.arange(99))


def test_the_first_process_may_be_ended(path: Path) -> None:
    assert File(path).nodes
    assert processes._first is not None
    processes._first.process.kill()
    processes._first.process.wait()
    assert File(path).nodes


# --- processes that end ---

SLOW = """
import sys
from pathlib import Path
from refq.hdf5 import processes
from refq.hdf5.file import File
idle = File(Path(sys.argv[1]))
idle.nodes
print(processes._first.process.pid, flush=True)
File(Path(sys.argv[2])).nodes
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of so many groups that HDF5 has to do for seconds."""
    made = tmp_path_factory.mktemp("slow") / "slow.h5"
    with h5py.File(made, "w", libver="latest") as file:
        for index in range(40_000):
            h5py.h5g.create(file.id, b"%d" % index)
    return made


def _children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(each) for task in tasks for each in task.read_text().split()]


def _there(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.fixture
def running(path: Path, slow: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that waits for an answer, and the processes that work for it."""
    started = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(path), str(slow)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TOP,
    )
    assert started.stdout is not None
    first = int(started.stdout.readline())
    deadline = time.monotonic() + 10
    while len(_children(first)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = [first, *_children(first)]
    assert len(workers) == 3
    yield started, workers
    started.kill()
    started.communicate()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_who_asked(
    running: tuple[subprocess.Popen[str], list[int]], how: signal.Signals
) -> None:
    process, workers = running
    assert all(map(_there, workers))
    process.send_signal(how)
    begin = time.monotonic()
    _, error = process.communicate(timeout=5)
    assert "KeyboardInterrupt" in error or how != signal.SIGINT
    while any(map(_there, workers)) and time.monotonic() - begin < 5:
        time.sleep(0.01)
    assert not any(map(_there, workers)) and time.monotonic() - begin < 2


def test_a_command_hears_at_once(slow: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "refq.convert", str(slow), "-o", str(tmp_path / "out.h5")]
    process = subprocess.Popen(command, cwd=TOP, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(map(_children, _children(process.pid))) and time.monotonic() < deadline:
        time.sleep(0.05)
    begin = time.monotonic()
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - begin < 3
    assert error.count("\n") == 1


def test_python_without_site_packages_of_its_own(path: Path) -> None:
    """What the worker imports lies where the process that asks has found it."""
    code = (
        "import sys; sys.path[:] = eval(sys.argv[2])\n"
        "from pathlib import Path; from refq.hdf5.file import File\n"
        "print(len(File(Path(sys.argv[1])).nodes))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(path), repr([*sys.path, str(TOP)])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("2\n", "")
