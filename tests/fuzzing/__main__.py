"""Feeds broken files to refq's readers of files from outside, and tells what they did with them.

python -m tests.fuzzing [--inputs N] [--seconds T] [--seed S] [--only READER ...]

Needs the `test` extra and Linux, and runs in the checkout. Each reader has a process of its own: it
may read an input or refuse it in one line. Anything else is a finding: another error, a crash, a
line too long or with control characters, too much time or memory, an attempt to run code or to open
another file, something left behind. Exit code: 0 none found, 1 some found.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.fuzzing import arrays, graphs, images, layers, nodes, records, weights
from tests.fuzzing.driver import READ, REFUSED, Job, Told, fuzz

# plans first: they compile, beside which others are done
KINDS = (records, images, arrays, weights, layers, graphs, nodes)
READERS = {name: each for kind in KINDS for name, each in kind.READERS.items()}
AT_ONCE = 2
HEAD = f"{'reader':16}   inputs  refused     read findings   slowest     peak"


@dataclass(frozen=True)
class Row:
    """What is printed of a reader, or of all. peak: MB of its process, or of one that read HDF5."""

    name: str
    inputs: int
    refused: int
    read: int
    findings: Sequence[str]
    slowest: float
    peak: int

    def __str__(self) -> str:
        counts = f"{self.inputs:8,} {self.refused:8,} {self.read:8,} {len(self.findings):8,}"
        return f"{self.name:16} {counts} {self.slowest:7.1f} s {self.peak:5,} MB"

    def to_json(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "refused": self.refused,
            "read": self.read,
            "findings": list(self.findings),
            "slowest_s": round(self.slowest, 3),
            "peak_mb": self.peak,
        }


def _row(name: str, told: Told) -> Row:
    inputs, counts = sum(told.outcomes.values()), told.outcomes
    peak = max(told.peak, told.workers)
    return Row(name, inputs, counts[REFUSED], counts[READ], told.findings, told.slowest, peak)


def total(rows: Sequence[Row]) -> Row:
    return Row(
        "total",
        sum(row.inputs for row in rows),
        sum(row.refused for row in rows),
        sum(row.read for row in rows),
        [each for row in rows for each in row.findings],
        max((row.slowest for row in rows), default=0.0),
        max((row.peak for row in rows), default=0),
    )


def _run(name: str, job: Job, answer: Connection) -> None:
    """In a process of its own. What it prints is told only where it ends without an answer."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with _said(name, job).open("wb") as file:
        os.dup2(file.fileno(), 2)
    with tempfile.TemporaryDirectory() as top:
        answer.send(fuzz(name, READERS[name], job, Path(top)))


def _said(name: str, job: Job) -> Path:
    return job.keep / f"{name}.stderr"


def _ended(name: str, job: Job, code: int | None) -> Told:
    """Of a process that did not answer: it leaves behind what it tried last."""
    print(_said(name, job).read_text(errors="replace"), file=sys.stderr, flush=True)
    tried = sorted(job.keep.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime_ns)
    how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
    what = f"input {tried[-1].name}" if tried else "no input"
    return Told(findings=[f"{name} seed {job.seed}: {what} ended the process by {how}"])


def _finished(pipe: Any, name: str, process: BaseProcess, job: Job) -> Row:
    try:
        told = pipe.recv()
    except EOFError:
        told = None
    process.join()
    row = _row(name, told or _ended(name, job, process.exitcode))
    _said(name, job).unlink()
    return row


def run(names: Sequence[str], job: Job) -> Iterator[Row]:
    """A row for each reader, as they finish. Nothing is compiled here: a fork has no threads."""
    context = multiprocessing.get_context("fork")
    waiting = list(names)
    running: dict[Any, tuple[str, BaseProcess]] = {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            name = waiting.pop(0)
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_run, args=(name, job, there), daemon=True)
            process.start()
            there.close()
            running[here] = name, process
        for pipe in connection.wait(list(running)):
            yield _finished(pipe, *running.pop(pipe), job)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000, metavar="N", help="for each reader")
    parser.add_argument("--seconds", type=float, default=600, metavar="T", help="for each reader")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--only", nargs="+", choices=list(READERS), metavar="READER")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where findings are put")
    parser.add_argument("--list", action="store_true", help="names of readers, and no more")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the same as JSON")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(READERS))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        keep = options.keep or Path(temporary)
        keep.mkdir(parents=True, exist_ok=True)
        print(f"seed {options.seed}\n{HEAD}", flush=True)
        for row in run(
            options.only or list(READERS), Job(options.inputs, options.seconds, options.seed, keep)
        ):
            rows.append(row)
            print("\n  ".join([str(row), *row.findings[:20]]), flush=True)
    whole = total(rows)
    print(whole)
    if options.json:
        content = {
            "seed": options.seed,
            "readers": {row.name: row.to_json() for row in rows},
            "total": whole.to_json(),
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if whole.findings else 0


if __name__ == "__main__":
    sys.exit(main())
