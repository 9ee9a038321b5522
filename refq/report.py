"""`python -m refq.report RESULT.json ... --out DIR`: a result's figures and its page."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from refq.cli import console, paths
from refq.cli.command import Command, Group, Option, Request
from refq.files import writing
from refq.results import drawing
from refq.results.pages import page_of

FILES = Group("files")
COMMAND = Command(
    "refq.report",
    "Figures as PNG and one HTML page from results' JSON.",
    (
        Option("results RESULT.json", FILES, "files of --json", several=True, path=paths.INPUT),
        Option(
            "--out DIR", FILES, "folder, made where it is missing", required=True, path=paths.FOLDER
        ),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, COMMAND, arguments)


def _main(asked: Request) -> int:
    drawing.require()
    writing.check_folder(asked.out)
    files = page_of(asked.results)
    writing.write_folder(asked.out, files)
    console.tell(*(os.path.join(asked.out, name) for name in files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
