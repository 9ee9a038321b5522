"""Feeds broken files to one reader, in this process, and tells what became of them."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from refq.errors import RefqError
from tests.fuzzing import watching
from tests.fuzzing.reader import PIPE, Reader
from tests.fuzzing.watching import SCRATCH, CodeRan, TooLong, Watch

LONGEST = 400  # characters of a message
COMPILING = 20  # times as long as others
WORKERS = 1024  # MB that a process may take that reads HDF5
FILES = "files"
SOUND = READ, REFUSED = "read", "refused"


@dataclass(frozen=True)
class Job:
    """At most so many inputs, for about so many seconds. keep: the folder of inputs that were found
    to do harm; the input that is being tried lies there, too."""

    inputs: int
    seconds: float
    seed: int
    keep: Path


@dataclass
class Told:
    """What became of a reader's inputs. slowest: seconds. peak, workers: MB."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak: int = 0
    workers: int = 0


@dataclass(frozen=True)
class Inputs:
    """Files to break. whole: by path; constructed: hostile ones, all for the first path."""

    reader: Reader
    whole: dict[Path, bytes]
    constructed: list[bytes]

    def broken(self, seed: int, index: int) -> tuple[Path, bytes]:
        """(path, content) of an input, which depends on nothing else."""
        rng = np.random.default_rng((seed, index))
        paths = list(self.whole)
        path = paths[int(rng.integers(len(paths)))]
        change = self.reader.changes[index % len(self.reader.changes)]
        if not self.constructed or index % 4 != 3:
            return path, change(self.whole[path], rng)
        # each as it is, then with changes
        turn, at = divmod(index // 4, len(self.constructed))
        data = self.constructed[at]
        return paths[0], self.reader.changes[0](data, rng) if turn else data


def prepared(reader: Reader, folder: Path) -> Inputs:
    """Makes a reader's files, and takes those away that are inputs."""
    reader.make(folder)
    paths = sorted(path for path in folder.glob(reader.inputs) if path.is_file())
    whole = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.unlink()
    for place in {path.parent for path in paths} if reader.constructed else ():
        os.mkfifo(place / PIPE)
    constructed = []
    for make in reader.constructed:
        make(paths[0])
        constructed.append(paths[0].read_bytes())
        paths[0].unlink()
    return Inputs(reader, whole, constructed)


def _state(folder: Path) -> dict[Path, tuple[int, ...]]:
    """What tells a changed file, of all of a folder."""
    state: dict[Path, tuple[int, ...]] = {}
    for path in folder.rglob("*"):
        stat = path.lstat()
        # a folder's time changes with what is tried in it
        known = () if path.is_dir() else (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        state[path] = known
    return state


def outcome(reader: Reader, path: Path, data: bytes, watch: Watch) -> str:
    """What a reader does with an input; what is neither READ nor REFUSED is a finding."""
    may = {path.with_name(name) for name in reader.writes}
    path.write_bytes(data)
    before = _state(watch.top)
    try:
        watch.on = True
        reader.read(path)
        result = READ
    except RefqError as error:
        text = str(error)
        if not text.isprintable() or len(text) > LONGEST:
            return f"text: {text[:200]!r}"
        # what is refused changes nothing, but what goes on in its own file
        may, result = may & {path}, REFUSED
    except TooLong:
        return "hang"
    except CodeRan as error:
        return f"code: {error}"
    except Exception as error:
        return f"error: {type(error).__name__} {' '.join(str(error).split())[:200]}"
    finally:
        watch.on = False
    after = _state(watch.top)
    left = [each for each in {**before, **after} if before.get(each) != after.get(each)]
    return next((f"rest: {each.name}" for each in left if each not in may), result)


def timed(reader: Reader, path: Path, data: bytes, watch: Watch) -> tuple[str, float]:
    """(what became of an input, seconds that it took)."""
    began = time.monotonic()
    try:
        with watching.limited(reader.seconds * (COMPILING if reader.compiles else 1)):
            result = outcome(reader, path, data, watch)
    except TooLong:  # just as it had finished
        result = "hang"
    took = time.monotonic() - began
    return ("hang" if result in SOUND and took > reader.seconds else result), took


def _tried(reader: Reader, path: Path, data: bytes, watch: Watch) -> tuple[str, float]:
    """The same, without compilation, and with the memory that was taken."""
    before = watching.level()
    result, took = timed(reader, path, data, watch)
    if reader.compiles and took > 1:
        result, took = timed(reader, path, data, watch)
    grown = watching.peak() - before
    return (f"memory: {grown} MB" if grown > reader.memory else result), took


def _watch(inputs: Inputs, top: Path) -> Watch:
    reader, paths = inputs.reader, set(inputs.whole)
    written = {path.with_name(name) for path in paths for name in reader.writes}
    beside = {path for path in (top / FILES).rglob("*") if path.is_file()}
    return Watch(
        top,
        read={str(path) for path in paths | written | beside},
        written={str(path) for path in written},
        half=tuple(str(path.with_name(f".{path.name}.")) for path in written),
    )


def fuzz(name: str, reader: Reader, job: Job, top: Path) -> Told:
    """top: an empty folder. Once in a process, which is watched and limited from here on."""
    told = Told()
    for each in (FILES, SCRATCH):
        (top / each).mkdir()
    tempfile.tempdir = str(top / SCRATCH)
    inputs = prepared(reader, top / FILES)
    # whole and broken, so that all that is imported late has been
    for path, data in inputs.whole.items():
        path.write_bytes(data)
        reader.read(path)
        for broken in (data[: len(data) // 2], b"", data[:-3]):
            outcome(reader, path, broken, Watch(top))
        path.unlink()
    watch = _watch(inputs, top)
    watch.set()
    watching.limit_memory()
    began = time.monotonic()
    for index in range(job.inputs):
        if time.monotonic() - began > job.seconds:
            break
        path, data = inputs.broken(job.seed, index)
        kept = job.keep / f"{name}-{index}-{path.name}"
        kept.write_bytes(data)
        result, took = _tried(reader, path, data, watch)
        path.unlink()
        told.slowest = max(told.slowest, took)
        told.peak = max(told.peak, watching.peak())
        told.outcomes[result.partition(":")[0]] += 1
        if result in SOUND:
            kept.unlink()
        else:
            told.findings.append(f"{name} seed {job.seed} input {index}, {path.name}: {result}")
    tempfile.tempdir = None
    told.workers = watching.of_workers()
    if told.workers > WORKERS:
        told.findings.append(f"{name} seed {job.seed}: {told.workers} MB in what reads HDF5")
    return told
