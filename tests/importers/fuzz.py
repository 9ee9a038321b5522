"""Feeds broken weight files to the readers of refq/importers, and tells what they did with them.

python tests/importers/fuzz.py [--inputs N] [--seed S] [--only READER ...]

Needs the `test` extra and Linux. A quarter of the inputs come from the files of
tests/importers/hostile_files.py, where a reader has some, the others from a network. Each reader
runs in a process of its own: it may convert the file or refuse it in one line. Anything else is a
finding: another error, a crash, more than 10 seconds, much memory, an attempt to run code or to
open another file. Exit code: 0 none found, 1 some found. The offending inputs are kept in --keep.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from refq.errors import RefqError
from refq.files import partial
from refq.hdf5 import processes
from refq.hdf5.file import is_hdf5
from refq.importers import converting, read
from tests.hdf5 import damaged
from tests.importers import hostile_files, small_weights

SECONDS = 10
STUCK = 60  # seconds until a process is ended that nothing can interrupt
MEMORY = 4 << 30
GROWTH = 256  # MB that one input may take; the network's arrays have 2
# what Python tells of code that runs; importing has happened before the first input
ALARMS = {
    "exec",
    "compile",
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "pickle.find_class",
    "socket.connect",
    "import",
}
EXTREMES = [0, 1, 2**7, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A few changes: bytes flipped, numbers made extreme, parts cut, doubled, filled or swapped."""
    content = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not content:
            break
        # structure lies at the beginning and the end more than between
        edge = min(len(content), 1 << int(rng.integers(4, 13)))
        place = int(rng.integers(edge)) if rng.random() < 0.5 else int(rng.integers(len(content)))
        if rng.random() < 0.2:
            place = len(content) - 1 - int(rng.integers(edge))
        size = int(rng.integers(1, 9))
        match int(rng.integers(7)):
            case 0:
                content[place] ^= 1 << int(rng.integers(8))
            case 1:
                content[place : place + size] = rng.bytes(size)
            case 2:
                width = int(rng.choice([1, 2, 4, 8]))
                value = EXTREMES[int(rng.integers(len(EXTREMES)))] % 256**width
                content[place : place + width] = value.to_bytes(width, "little")
            case 3:
                del content[place:]
            case 4:
                del content[place : place + size]
            case 5:
                part = content[place : place + size * 16]
                content[place:place] = part * int(rng.integers(1, 5))
            case _:
                content[place : place + size * 8] = bytes([int(rng.integers(256))]) * size * 8
    return bytes(content)


def mutated_zip(data: bytes, rng: np.random.Generator) -> bytes:
    """The archive whole and its pickle broken: else checksums would stop everything at once."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            archive.writestr(name, mutated(content, rng) if name.endswith(".pkl") else content)
    return target.getvalue()


READERS = [*small_weights.WRITERS, *damaged.READERS]
LONGEST = [0.0]  # seconds that one input has taken


class CodeRan(BaseException):
    """Something tried to run code, or opened a file; no handler of the readers catches this."""


class TooLong(BaseException):
    """A reader took more than SECONDS."""


def _late(*_: object) -> None:
    raise TooLong


def alarm(
    watching: list[bool], own: set[str], half: str
) -> Callable[[str, tuple[object, ...]], None]:
    """An audit hook that raises CodeRan while `watching` holds something.

    own: files and folders that may be opened, besides descriptors; half: what names of others
    that may begin with. It sees what Python opens, not
    what HDF5's library does; for that stands a pipe that nobody writes to.
    """

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if not watching:
            return
        place = arguments[0] if event == "open" else None
        elsewhere = (
            isinstance(place, (str, bytes))
            and not {os.fsdecode(place), os.path.dirname(os.fsdecode(place))} & own
            and not os.fsdecode(place).startswith(half)
        )
        if event in ALARMS or elsewhere:
            raise CodeRan(f"{event} {arguments[:1]}")

    return watch


def fuzz(reader: str, inputs: int, seed: int, keep: Path | None) -> tuple[Counter[str], list[str]]:
    """(outcomes, findings) of one reader."""
    outcomes: Counter[str] = Counter()
    findings: list[str] = []
    watching: list[bool] = []
    case = damaged.READERS.get(reader) or _converter(reader)
    with tempfile.TemporaryDirectory() as folder:
        path, out, scratch = (Path(folder) / part for part in (case.name, "out.h5", "scratch"))
        scratch.mkdir()
        tempfile.tempdir = str(scratch)
        os.mkfifo(Path(folder) / hostile_files.PIPE)
        constructed = []
        for own, make, _ in hostile_files.FILES.values():
            if own == reader:
                make(path)
                constructed.append(path.read_bytes())
        case.write(path)
        whole = path.read_bytes()
        case.read(path)
        # once more with an error, so that all that is imported late has been
        for broken in (whole[: len(whole) // 2], b"", whole[:-3]):
            _outcome(case, path, broken)
        # what is half written, and what of it is removed by its name alone
        half = str(out.with_name(f".{out.name}."))
        there = {*(str(each) for each in (path, out, scratch)), partial.CONTENT}
        sys.addaudithook(alarm(watching, there, half))
        signal.signal(signal.SIGALRM, _late)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for index in range(inputs):
            rng = np.random.default_rng((seed, index))
            if constructed and index % 4 == 3:
                # each as it is, then with changes
                data = constructed[index // 4 % len(constructed)]
                data = mutated(data, rng) if index // 4 >= len(constructed) else data
            else:
                change = mutated
                if index % 2:
                    zipped, hdf5 = reader == "torch_zip", is_hdf5(whole[:1024])
                    change = mutated_zip if zipped else damaged.mutated if hdf5 else mutated
                data = change(whole, rng)
            if keep:
                (keep / f"{reader}-{index}").write_bytes(data)
            before, begin = _peak(), time.monotonic()
            faulthandler.dump_traceback_later(STUCK, exit=True)
            # HDF5 has 3 seconds of the processor, which may be busy
            signal.alarm(3 * SECONDS if is_hdf5(whole[:1024]) else SECONDS)
            watching.append(True)
            outcome = _outcome(case, path, data)
            watching.clear()
            LONGEST[0] = max(LONGEST[0], time.monotonic() - begin)
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
            grown = _peak() - before
            if grown > GROWTH:
                outcome = f"memory: {grown} MB"
            outcomes[outcome.partition(":")[0]] += 1
            if outcome not in ("read", "refused"):
                findings.append(f"{reader} seed {seed} input {index}: {outcome}")
            elif keep:
                (keep / f"{reader}-{index}").unlink()
        tempfile.tempdir = None
    return outcomes, findings


def _peak() -> int:
    """MB that this process has taken at most, without those of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def _of_workers() -> str:
    """What those took at most that read HDF5."""
    processes._drop()
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    return f"; workers {most} MB" if most else ""


def _converter(reader: str) -> damaged.Reader:
    """Conversion to out.h5, beside the file."""
    name, write = small_weights.WRITERS[reader]

    def convert(path: Path) -> None:
        converting.convert(read(path), path, path.with_name("out.h5"), None, None)

    return damaged.Reader(name, lambda path: write(path, *small_weights.case()), convert)


def _outcome(case: damaged.Reader, path: Path, data: bytes) -> str:
    out = path.with_name("out.h5")
    path.write_bytes(data)
    there = {*out.parent.rglob("*")} | {out}
    before = out.read_bytes() if out.exists() else None
    try:
        case.read(path)
        return "read"
    except RefqError as error:
        after = out.read_bytes() if out.exists() else None
        if "\n" in str(error) or len(str(error)) > 2000:
            return f"text: {str(error)[:200]!r}"
        return "refused" if before == after and {*out.parent.rglob("*")} <= there else "rest"
    except TooLong:
        return "hang"
    except CodeRan as error:
        return f"code: {error}"
    except Exception as error:
        return f"error: {type(error).__name__} {str(error)[:200]}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000, metavar="N", help="for each reader")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--only", nargs="+", choices=READERS)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where findings are put")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    found = 0
    for reader in options.only or READERS:
        if options.inside:
            outcomes, findings = fuzz(reader, options.inputs, options.seed, options.keep)
            told = ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
            told += f"; peak {_peak()} MB, longest {LONGEST[0]:.1f} s"
            print(f"{reader:16} {sum(outcomes.values()):7} inputs: {told}{_of_workers()}")
            print("\n".join(findings[:20]), end="\n" if findings else "")
            return 1 if findings else 0
        numbers = ["--inputs", str(options.inputs), "--seed", str(options.seed)]
        keep = ["--keep", str(options.keep)] if options.keep else []
        command = [sys.executable, __file__, "--inside", "--only", reader, *numbers, *keep]
        status = subprocess.run(command).returncode
        if status not in (0, 1):
            print(f"{reader:16} crashed with exit code {status}")
        found |= bool(status)
        sys.stdout.flush()
    return found


if __name__ == "__main__":
    sys.exit(main())
