"""A device's integers beside the golden ones, from what was asked to what was found."""

from __future__ import annotations

from pathlib import Path

from refq.cli import words
from refq.cli.command import Request
from refq.errors import DataError
from refq.hardware.diagnosis import device
from refq.hardware.diagnosis.comparing import Comparison
from refq.hardware.diagnosis.report import Verification
from refq.hardware.golden.arrays import GoldenArray
from refq.hardware.golden.reading import GoldenSet, load
from refq.hardware.golden.span import selected


def verify(asked: Request) -> Verification:
    """Every array that the device wrote, compared."""
    golden = load(Path(asked.golden), not asked.no_hash)
    arrays = chosen(golden, asked.layers)
    told = device.Asked(**{name: getattr(asked, name) for name in words.NAMES})
    dumps = device.open_device(Path(asked.device), golden.manifest, told)
    found = device.sources(dumps, arrays)
    formats = {source.format for source in found}
    lanes = max(dumps.packing(name).lanes for name in formats)
    words.check(asked, dumps.layout.name, formats, lanes)
    compared = {source.array.name for source in found}
    golden.check_files([array for array in arrays if array.name in compared])
    return Verification(
        asked.golden,
        asked.device,
        list(Comparison(golden, dumps).run(found)),
        [array for array in arrays if array.name not in compared],
        asked.complete,
    )


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
