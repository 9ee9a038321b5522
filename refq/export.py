"""`python -m refq.export NETWORK --scheme SCHEME --out DIR`: every integer, for others."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from refq.cli import console, exporting
from refq.cli.command import Command, Request
from refq.cli.options import JSON, OPTIONS
from refq.cli.reading import narrowed
from refq.files import writing

# as in an evaluation, but for the images
ROWS = [
    replace(row, help="this many images", default=1) if row.name == "images" else row
    for row in OPTIONS
]
COMMAND = Command(
    "refq.export",
    "Every integer of a network under a plan: vectors, Verilog units, a C model.",
    (
        *exporting.OPTIONS,
        *ROWS,
        replace(JSON, help="the golden set's manifest, there too; - for stdout"),
    ),
    narrowed,
)


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, COMMAND, arguments)


def _main(asked: Request) -> int:
    exported = exporting.export(asked)
    manifest = exported.manifest.to_json() if exported.manifest else None
    if asked.json == "-":
        console.tell(json.dumps(manifest, indent=1, allow_nan=False))
        return 0
    console.tell(*exported.told)
    if asked.json:
        writing.write_json(asked.json, manifest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
