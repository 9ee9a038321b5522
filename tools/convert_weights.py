"""Turns weight files of other frameworks into refq's, without those frameworks.

python tools/convert_weights.py FILE -o OUT.h5 [--network NAME] [--preprocessing RULE] [--json FILE]

docs/convert.md says which formats there are, what is taken from them and how files are read safely.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from importers import converting, read
from importers.preparing import RULES

from refq import console


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 converted, 2 bad input, 130 interrupted."""
    return console.run(_convert, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="convert_weights.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("file", type=Path, help="the weight file, of any known format")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the HDF5 file to write")
    parser.add_argument("--network", help="what it is; without it, names and shapes decide")
    parser.add_argument(
        "--preprocessing",
        choices=sorted(RULES),
        help="how images were prepared, if not as usual",
    )
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON; - is stdout")
    return parser


def _convert(options: argparse.Namespace) -> int:
    console.check_writable(str(options.out), options.json if options.json != "-" else None)
    contents = read(options.file)
    report = converting.convert(
        contents, options.file, options.out, options.network, options.preprocessing
    )
    if options.json == "-":
        print(json.dumps(report.to_json(), indent=1))
        return 0
    print(report.to_text())
    if options.json:
        console.write_json(options.json, report.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
