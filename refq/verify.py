"""`python -m refq.verify GOLDEN DUT_DIR`: a device's integers beside the golden ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from refq import writing
from refq.cli import console
from refq.errors import DataError
from refq.hardware.diagnosis import report
from refq.hardware.diagnosis.comparing import Comparison
from refq.hardware.diagnosis.device import Asked, open_device, sources
from refq.hardware.files import file_formats
from refq.hardware.files.layouts import NCHW, NHWC, TILED
from refq.hardware.files.words import BIG, HIGH_FIRST, LITTLE, LOW_FIRST
from refq.hardware.golden.arrays import GoldenArray
from refq.hardware.golden.reading import GoldenSet, load
from refq.hardware.golden.span import selected


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        "refq.verify",
        allow_abbrev=False,
        description="A device's integers beside the golden ones: the first wrong bit, and why.",
    )
    out.add_argument("golden", metavar="GOLDEN", help="folder that refq.export wrote")
    out.add_argument("device", metavar="DUT_DIR", help="folder with the device's files")
    out.add_argument("--layers", help="of these layers alone: NAME, FIRST:LAST, with commas")
    out.add_argument("--format", help=f"of the device's files: {', '.join(file_formats())}")
    out.add_argument("--layout", choices=(NCHW, NHWC, TILED), help="of the device's files")
    out.add_argument("--tile", type=int, help="channels of a tile")
    out.add_argument("--lanes", type=int, help="words in a line of text")
    out.add_argument("--lane-order", choices=(LOW_FIRST, HIGH_FIRST), help="of a line's words")
    out.add_argument("--byte-order", choices=(LITTLE, BIG), help="of words, or of lines of text")
    out.add_argument("--complete", action="store_true", help="a missing tensor is a failure")
    out.add_argument("--all", action="store_true", help="list equal and absent arrays, too")
    out.add_argument("--json", help="write the result as JSON, - for stdout")
    out.add_argument("--no-hash", action="store_true", help="trust the golden set's files")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    return console.run(_main, parser(), arguments)


def _main(arguments: argparse.Namespace) -> int:
    writing.check_writable(None if arguments.json == "-" else arguments.json)
    golden = load(Path(arguments.golden), not arguments.no_hash)
    arrays = chosen(golden, arguments.layers)
    asked = Asked(
        arguments.format,
        arguments.layout,
        arguments.tile,
        arguments.lanes,
        arguments.lane_order,
        arguments.byte_order,
    )
    device = open_device(Path(arguments.device), golden.manifest, asked)
    found = sources(device, arrays)
    compared = {source.array.name for source in found}
    golden.check_files([array for array in arrays if array.name in compared])
    told = report.Verification(
        arguments.golden,
        arguments.device,
        list(Comparison(golden, device).run(found)),
        [array for array in arrays if array.name not in compared],
        arguments.complete,
    )
    content = report.to_json(told)
    if arguments.json == "-":
        console.tell(json.dumps(content, indent=1, allow_nan=False))
        return told.status
    if arguments.json:
        writing.write_json(arguments.json, content)
    console.tell(*report.lines(told, arguments.all))
    return told.status


def chosen(golden: GoldenSet, asked: str | None) -> list[GoldenArray]:
    """Arrays of the layers asked for, a:b being all from a to b; all without a wish. Raises
    OptionError for layers that the set does not have."""
    if asked is None:
        return list(golden.manifest.arrays)
    wanted = selected(list(golden.manifest.layers), asked)
    arrays = [
        array
        for array in golden.manifest.arrays
        if wanted & {name.rpartition(".")[0] for name in array.names}
    ]
    if not arrays:
        raise DataError(f"{golden.folder} has no arrays of {asked}", "layers that were exported")
    return arrays


if __name__ == "__main__":
    sys.exit(main())
