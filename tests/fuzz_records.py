"""Feeds broken plans, journals, manifests, results and device dumps to their readers, and tells
what they did with them.

python tests/fuzz_records.py [--inputs N] [--seed S] [--seconds T] [--only READER ...]

Needs the `test` extra and Linux. Each reader runs in a process of its own: it may read an input or
refuse it in one line. Anything else is a finding: another error, a crash, more than 10 seconds, or
much memory. Half of the inputs are changed as JSON, where that is what a file holds, so that more
than its spelling is tried; the others byte by byte. Exit code: 0 none found, 1 some found.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from refq import schemes
from refq.engine.forward import forward, quantize_weights, ready
from refq.errors import RefqError
from refq.hardware.diagnosis import device, report
from refq.hardware.diagnosis.comparing import Comparison
from refq.hardware.files import file_format
from refq.hardware.golden.reading import load
from refq.measure.calibration import gather
from refq.measure.streaming import Source
from refq.networks.weights import random_weights
from refq.plans import check, plan
from refq.results import drawing, page, sections
from refq.search.journal import Journal
from tests.hardware import golden_set
from tests.importers.fuzz import MEMORY, SECONDS, STUCK, TooLong, _late, _peak, mutated
from tests.small_networks import crossing, pixels

GROWTH = 512  # MB that one input may take
ODD: list[Any] = [None, True, False, 0, 1, -1, 2, 7, 31, 32, 63, 255, 65536, 2**31, -(2**31), 2**63]
ODD += [10**25, 0.5, -1.5, 1e300, 5e-324, "", "x", "sat", [], {}, [0], {"a": 1}, [[1, 2], [3]]]
ODD += ["\x1b[2J", "n" * 5000, [1] * 3000, "../../etc/x", "\u202e", {"kind": "affine"}]


@dataclass(frozen=True)
class Reader:
    """make: the sound files of a reader, in a new folder. read: reads a folder of them. signed:
    whether lines end with a checksum. compiles: whether an input may be the first that needs a
    kernel, so that only its second turn is timed."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    signed: bool = False
    compiles: bool = False


NETWORK = crossing()
WEIGHTS = random_weights(NETWORK, 3)
IMAGES = pixels(NETWORK, 2, 6)
SCHEMES = ("enq", "knq", "uniform", "hybrid", "clustered", "ristretto", "tensorflow")


def _make_plans(folder: Path) -> None:
    for name in SCHEMES:
        scheme, options = schemes.find(name), schemes.Options()
        source = Source(NETWORK, WEIGHTS, lambda: [(IMAGES, None)])
        found = gather(scheme.wanted(NETWORK, options), source)
        made = scheme.plan(NETWORK, WEIGHTS, found, options)
        (folder / f"{name}.json").write_text(json.dumps(made.to_json()))


def _read_plans(folder: Path) -> None:
    for path in folder.iterdir():
        loaded = plan.load(path)
        check.check(loaded, NETWORK)
        if loaded.arithmetic == plan.INTEGER:
            forward(NETWORK, quantize_weights(NETWORK, WEIGHTS, loaded), loaded, IMAGES)
        else:
            forward(NETWORK, ready(NETWORK, WEIGHTS, loaded), loaded, IMAGES)


MOST = {"hits": 90, "images": 90, "spent": 1e9}
KEYS = [["trial", number, 5] for number in range(12)]


def _journal(folder: Path) -> None:
    journal = Journal(str(folder / "j"), {"network": "small", "base": {"a": [1, {"b": 2.5}]}})
    for key in KEYS:
        journal.recall(key, lambda: {"hits": key[1], "images": 80, "spent": 0.25}, MOST)  # noqa: B023


def _result(folder: Path) -> None:
    edges, counts = [0.0, 0.5, 1.0, 2.0], [0.25, 0.5, 0.0]
    panels = [{"name": f"layer {each}", "edges": edges, "counts": counts} for each in range(3)]
    line = {"name": "a", "x": [1, 2, None], "y": [3.5, 4, 5], "source": "paper", "style": "line"}
    figures = [
        {"kind": "histograms", "title": "t", "x_label": "x", "panels": panels, "log": True},
        {"kind": "curves", "title": "t", "series": [line]},
        {"kind": "codebooks", "title": "t", "panels": [{**panels[0], "values": [1, 2, 9]}]},
    ]
    table = {"title": "T", "columns": ["a", "b"], "rows": [["x", 1.5], [None, 7]], "notes": ["n"]}
    content = {"refq_reproduce": "x", "sections": [{"title": "s", "tables": [table]}]}
    (folder / "r.json").write_text(json.dumps({**content, "figures": figures}))


def _read_result(folder: Path) -> None:
    results = sections.named_apart([sections.load(str(path)) for path in folder.iterdir()])
    shown = [section for result in results for section in result.sections]
    page.html("all", [(section, []) for section in shown])
    for section in shown:
        for figure in section.figures:
            drawing.draw(figure)


GOLDEN = Path(tempfile.mkdtemp(prefix="refq-fuzz-")) if __name__ == "__main__" else Path()


def _set(folder: Path) -> None:
    golden_set.write(folder)
    for path in list(folder.iterdir()):
        path.rename(GOLDEN / path.name)
    (folder / "manifest.json").write_bytes((GOLDEN / "manifest.json").read_bytes())


def _read_set(folder: Path) -> None:
    golden = load(folder, hashed=False)
    json.dumps(golden.manifest.to_json(), allow_nan=False)
    dumps = device.open_device(GOLDEN, golden.manifest, device.Asked())
    device.sources(dumps, golden.manifest.arrays)


# HDF5 has a reader of its own
DUMPS = ("c", "coe", "hex", "mem", "mif", "npy", "npz", "raw")
DUMPED = ("conv1.sum", "relu1.code", "fc.sum", "conv1.weight")


def _dump(format_: str) -> Reader:
    """Files of a device. Of a container, all arrays lie in one."""

    def make(folder: Path) -> None:
        golden_set.write(GOLDEN)
        arrays = golden_set.arrays()
        golden_set.write_files(folder, {name: arrays[name] for name in DUMPED}, format_)

    def read(folder: Path) -> None:
        golden = load(GOLDEN)
        dumps = device.open_device(folder, golden.manifest, device.Asked(format=format_))
        found = device.sources(dumps, golden.manifest.arrays)
        for each in Comparison(golden, dumps).run(found):
            report.to_json  # noqa: B018
            str(each)

    assert file_format(format_)
    return Reader(make, read)


READERS = {
    "plan": Reader(_make_plans, _read_plans, compiles=True),
    "journal": Reader(_journal, _journal, signed=True),
    "result": Reader(_result, _read_result),
    "manifest": Reader(_set, _read_set),
    **{
        f"dump {name}": _dump(name)
        for name in ("c", "coe", "hex", "mem", "mif", "npy", "npz", "raw")
    },
}


def changed_json(content: Any, rng: np.random.Generator) -> Any:
    """A few values replaced by odd ones, left out, doubled, or taken from elsewhere."""
    content = copy.deepcopy(content)
    for _ in range(int(rng.integers(1, 4))):
        at: Any = content
        while True:
            if not isinstance(at, (dict, list)) or not at:
                break
            keys = list(at) if isinstance(at, dict) else range(len(at))
            key = keys[int(rng.integers(len(keys)))]
            deeper = at[key]
            if isinstance(deeper, (dict, list)) and deeper and rng.random() < 0.85:
                at = deeper
                continue
            what = rng.random()
            if what < 0.1:
                del at[key]
            elif what < 0.2 and isinstance(at, list):
                at += at[: int(rng.integers(1, 9))]
            elif what < 0.3 and isinstance(deeper, (int, float)):
                at[key] = deeper + int(rng.integers(-3, 4))
            else:
                at[key] = copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
            break
    return content


def changed(data: bytes, signed: bool, rng: np.random.Generator) -> bytes:
    if rng.random() < 0.5 or data[:1] != b"{":
        return mutated(data, rng)
    if not signed:
        return json.dumps(changed_json(json.loads(data), rng)).encode()
    lines = [json.loads(line) for line in data.splitlines()]
    at = int(rng.integers(len(lines)))
    lines[at] = changed_json(lines[at], rng)
    return b"".join(map(_signed, lines))


def _signed(entry: dict[str, Any]) -> bytes:
    text = json.dumps({key: value for key, value in entry.items() if key != "crc"})[:-1]
    return f'{text}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'.encode()


@dataclass
class Told:
    """What became of a reader's inputs. slowest: seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0


def outcome(reader: Reader, folder: Path) -> str:
    try:
        reader.read(folder)
        return "read"
    except RefqError as error:
        text = str(error)
        return "refused" if text.isprintable() and len(text) <= 400 else f"text: {text[:200]!r}"
    except TooLong:
        return "hang"
    except Exception as error:
        return f"error: {type(error).__name__} {str(error)[:200]}"


def timed(reader: Reader, folder: Path) -> tuple[str, float]:
    """(what became of an input, seconds that it took)."""
    began, most = time.monotonic(), 20 if reader.compiles else 1
    faulthandler.dump_traceback_later(STUCK * most, exit=True)
    signal.alarm(SECONDS * most)
    result = outcome(reader, folder)
    signal.alarm(0)
    faulthandler.cancel_dump_traceback_later()
    took = time.monotonic() - began
    return ("hang" if result == "read" and took > SECONDS else result), took


def fuzz(name: str, inputs: int, seed: int, seconds: float, keep: Path | None) -> Told:
    """At most so many inputs, for so many seconds."""
    reader, told, began = READERS[name], Told(), time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        sound, folder = Path(place) / "sound", Path(place) / "changed"
        for each in (sound, folder):
            each.mkdir()
        reader.make(sound)
        whole = {path.name: path.read_bytes() for path in sorted(sound.iterdir())}
        reader.read(sound)
        signal.signal(signal.SIGALRM, _late)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for index in range(inputs):
            if time.monotonic() - began > seconds:
                break
            rng = np.random.default_rng((seed, index))
            file = list(whole)[int(rng.integers(len(whole)))]
            data = changed(whole[file], reader.signed, rng)
            for path in folder.iterdir():
                path.unlink()
            (folder / file).write_bytes(data)
            before = _peak()
            result, took = timed(reader, folder)
            if took > 1 and reader.compiles:
                result, took = timed(reader, folder)
            told.slowest = max(told.slowest, took)
            grown = _peak() - before
            if grown > GROWTH:
                result = f"memory: {grown} MB"
            told.outcomes[result.partition(":")[0]] += 1
            if result not in ("read", "refused"):
                told.findings.append(f"{name} seed {seed} input {index}, {file}: {result}")
                if keep:
                    (keep / f"{name.replace(' ', '-')}-{index}-{file}").write_bytes(data)
    return told


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000, metavar="N", help="for each reader")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--seconds", type=float, default=600, metavar="T", help="for each reader")
    parser.add_argument("--only", nargs="+", choices=list(READERS))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where findings are put")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    found = 0
    for name in options.only or READERS:
        if options.inside:
            told = fuzz(name, options.inputs, options.seed, options.seconds, options.keep)
            counts = ", ".join(f"{count} {what}" for what, count in sorted(told.outcomes.items()))
            total = sum(told.outcomes.values())
            print(
                f"{name:12} {total:7} inputs: {counts}; "
                f"slowest {told.slowest:.1f} s, peak {_peak()} MB"
            )
            print("\n".join(told.findings[:20]), end="\n" if told.findings else "")
            return 1 if told.findings else 0
        given = ["--inputs", options.inputs, "--seed", options.seed, "--seconds", options.seconds]
        keep = ["--keep", options.keep] if options.keep else []
        command = [sys.executable, __file__, "--inside", "--only", name, *given, *keep]
        status = subprocess.run([str(part) for part in command]).returncode
        if status not in (0, 1):
            print(f"{name:12} crashed with exit code {status}")
        found |= bool(status)
        sys.stdout.flush()
    return found


if __name__ == "__main__":
    sys.exit(main())
