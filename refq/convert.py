"""Turns weight and model files of other frameworks into refq's, without those frameworks.

python -m refq.convert FILE -o OUT.h5 [--network NAME] [--parameter NAME=VALUE ...]
    [--head NAME] [--preprocessing RULE] [--input-size N] [--outputs NAMES] [--json FILE]

A file of a known network becomes weights of it; another model file becomes a network of its own.
docs/convert.md says which formats there are, what is taken from them and how files are read safely.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from refq.cli import console, paths
from refq.cli.command import Command, Group, Option, Request
from refq.cli.converting import converted
from refq.cli.options import named
from refq.errors import OptionError
from refq.files import writing


def _parameter(text: str) -> tuple[str, Any]:
    """centred=true, input_size=224, width=0.5: a name, and a value as JSON has them."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value.lower())
    except (ValueError, RecursionError):
        short = text if len(text) <= 60 else f"{text[:57]}..."
        raise OptionError(
            f"--parameter {short}", "NAME=VALUE with true, false or a number"
        ) from None


FILES = Group("files")
MEANING = Group("what a file of weights does not say")
MODEL = Group("a model file of no known network")
OF_MODELS = ("input_size", "outputs", "external_data", "prototxt")
COMMAND = Command(
    "refq.convert",
    (__doc__ or "").splitlines()[0],
    (
        Option(
            "file FILE", FILES, "the weight file, of any known format", kind=Path, path=paths.INPUT
        ),
        Option(
            "--out OUT",
            FILES,
            "the HDF5 file to write",
            kind=Path,
            alias="-o",
            required=True,
            path=paths.FILE,
        ),
        Option("--network NAME", MEANING, "what it is (default: as names and shapes say)"),
        Option(
            "--parameter NAME=VALUE",
            MEANING,
            "what weights do not tell of the network, as centred=true; may be given again",
            kind=_parameter,
            default=(),
            again=True,
        ),
        Option("--head NAME", MEANING, "what names of the classifier begin with"),
        Option(
            "--preprocessing RULE",
            MEANING,
            "how images were prepared, if not as usual",
            path=paths.RULE,
        ),
        *(replace(row, group=MODEL) for row in named(*OF_MODELS)),
        Option("--json FILE", FILES, "the report as JSON; - is stdout", path=paths.FILE),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 converted, 2 bad input, 130 interrupted."""
    return console.run(_convert, COMMAND, arguments)


def _convert(asked: Request) -> int:
    conversion = converted(asked)
    if asked.json == "-":
        console.tell(json.dumps(conversion.to_json(), indent=1))
        return 0
    console.tell(conversion.to_text())
    if asked.json:
        writing.write_json(asked.json, conversion.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
