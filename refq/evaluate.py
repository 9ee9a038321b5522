"""`python -m refq.evaluate NETWORK --scheme SCHEME`: accuracy and integers of a network."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from refq.cli import console
from refq.cli.command import Command, Request
from refq.cli.evaluating import evaluate
from refq.cli.options import JSON, OPS, OPTIONS, OUTPUTS
from refq.cli.reading import narrowed
from refq.files import writing
from refq.results.text import as_text

COMMAND = Command(
    "refq.evaluate",
    "Accuracy of a network in float and in integers, layer by layer.",
    (*OPTIONS, OUTPUTS, JSON, OPS),
    narrowed,
)


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, COMMAND, arguments)


def _main(asked: Request) -> int:
    evaluation, steps = evaluate(asked)
    content = json.dumps(evaluation.to_json(), indent=1, allow_nan=False) if asked.json else ""
    if asked.json == "-":
        writing.every(*steps, lambda: console.tell(content))
    else:
        if asked.json:
            steps.append(lambda: writing.write_text(asked.json, content + "\n"))
        writing.every(*steps, lambda: console.tell(as_text(evaluation)))
    if evaluation.measurement.stopped:
        raise evaluation.measurement.stopped
    return console.INTERRUPTED if evaluation.measurement.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
