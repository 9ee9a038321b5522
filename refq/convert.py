"""Turns weight files of other frameworks into refq's, without those frameworks.

python -m refq.convert FILE -o OUT.h5 [--network NAME] [--parameter NAME=VALUE ...]
    [--preprocessing RULE] [--json FILE]

docs/convert.md says which formats there are, what is taken from them and how files are read safely.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from refq import writing
from refq.cli import console
from refq.errors import OptionError
from refq.importers import converting, read
from refq.importers.preparing import RULES


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 converted, 2 bad input, 130 interrupted."""
    return console.run(_convert, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "refq.convert", allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("file", type=Path, help="the weight file, of any known format")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the HDF5 file to write")
    parser.add_argument("--network", help="what it is; without it, names and shapes decide")
    parser.add_argument(
        "--parameter",
        metavar="NAME=VALUE",
        type=_parameter,
        action="append",
        default=[],
        help="what weights do not tell of the network, as centred=true; may be given again",
    )
    parser.add_argument(
        "--preprocessing", choices=sorted(RULES), help="how images were prepared, if not as usual"
    )
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON; - is stdout")
    return parser


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


def _convert(options: argparse.Namespace) -> int:
    listed = options.json if options.json != "-" else None
    writing.check_apart(**{"FILE": str(options.file), "--out": str(options.out), "--json": listed})
    writing.check_writable(str(options.out), listed)
    conversion = converting.convert(
        read(options.file),
        options.file,
        options.out,
        options.network,
        options.preprocessing,
        dict(options.parameter),
    )
    if options.json == "-":
        console.tell(json.dumps(conversion.to_json(), indent=1))
        return 0
    console.tell(conversion.to_text())
    if options.json:
        writing.write_json(options.json, conversion.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
