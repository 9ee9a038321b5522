"""`python -m refq.verify GOLDEN DUT_DIR`: a device's integers beside the golden ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from refq.cli import console, paths, words
from refq.cli.command import Command, Group, Option, Request
from refq.cli.verifying import verify
from refq.files import writing
from refq.hardware.diagnosis import report

RESULT = Group("what is compared, and told")
COMMAND = Command(
    "refq.verify",
    "A device's integers beside the golden ones: the first wrong bit, and why.",
    (
        Option("golden GOLDEN", RESULT, "folder that refq.export wrote", path=paths.INPUT),
        Option("device DUT_DIR", RESULT, "folder with the device's files", path=paths.INPUT),
        Option("--layers A,B:C", RESULT, "of these layers alone"),
        *words.rows(Group("how the device's files are written")),
        Option("--complete", RESULT, "a missing tensor is a failure"),
        Option("--all", RESULT, "list equal and absent arrays, too"),
        Option("--json FILE", RESULT, "the result as JSON, - for stdout", path=paths.FILE),
        Option("--no-hash", RESULT, "trust the golden set's files"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, COMMAND, arguments)


def _main(asked: Request) -> int:
    if asked.json == "-":
        asked.refuse(["all"], "with --json -", "the text: JSON has them all")
    result = verify(asked)
    content = report.to_json(result)
    if asked.json == "-":
        console.tell(json.dumps(content, indent=1, allow_nan=False))
        return result.status
    console.tell(*report.lines(result, asked.all))
    if asked.json:
        writing.write_json(asked.json, content)
    return result.status


if __name__ == "__main__":
    sys.exit(main())
