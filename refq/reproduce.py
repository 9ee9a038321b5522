"""`python -m refq.reproduce PAPER`: every table of a paper beside what refq measures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from refq import papers
from refq.cli import console, options, paths
from refq.cli.command import Command, Option, Request
from refq.cli.reproducing import reproduce
from refq.files import writing
from refq.results.evaluation import versions

COMMAND = Command(
    "refq.reproduce",
    "The tables of a paper, beside the same measured here.",
    (
        Option("paper PAPER", options.INPUTS, f"one of {', '.join(papers.known())}"),
        Option(
            "--network NAME",
            options.INPUTS,
            f"some {options.SEVERAL} (default: the paper's)",
            several=True,
        ),
        *options.named("weights", "data", "preprocessing", "labels", "classes", "class_order"),
        *options.named("bad_images"),
        *options.named("images", "skip", "calibrate", "batch_size", "frac_act"),
        replace(options.named("delta")[0], help="points that a search may lose", default=2.0),
        *options.named("metric"),
        replace(
            options.named("journal")[0],
            help="FILE.NETWORK... that a killed run resumes from",
            path=paths.FILES,
        ),
        Option("--no-search", options.FOUND, "leave out what is searched for"),
        replace(options.JSON, help="tables and figures as JSON, - for stdout"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, COMMAND, arguments)


def _main(asked: Request) -> int:
    began = time.perf_counter()
    sections = reproduce(asked, (lambda text: None) if asked.json == "-" else console.tell)
    seconds = time.perf_counter() - began
    content = {
        "refq_reproduce": asked.paper,
        "sections": sections,
        "settings": {name: value for name, value in asked.values.items() if value is not None},
        "seconds": seconds,
        "versions": versions(),
    }
    if asked.json == "-":
        console.tell(json.dumps(content, indent=1, allow_nan=False))
        return 0
    console.tell(f"{seconds:.1f} s")
    if asked.json:
        writing.write_json(asked.json, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
