"""Packs any data set that refq reads into one HDF5 file of equal-sized images.

python tools/pack_images.py SOURCE OUT.h5 [--size ROWSxCOLUMNS | --shorter N --crop N] [--images N]

SOURCE is what --data takes: see docs/data.md, which also has the layout of the file.
"""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from refq.cli import console
from refq.cli.paths import bundled_files
from refq.data import ORDERS, Dataset, Skipped, open_dataset, readable, renumbered
from refq.data.dataset import shown
from refq.data.packed import write
from refq.data.preprocessing import scale_and_crop
from refq.errors import DataError, OptionError
from refq.files.apart import Named, check_apart


@dataclass(frozen=True)
class Rule:
    """Scale until the shorter side is `shorter` (further up where crop would not fit), then cut
    `crop` (rows, columns) from the centre."""

    shorter: int
    crop: tuple[int, int]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return scale_and_crop(image, (self.shorter, self.shorter), self.crop)

    def __str__(self) -> str:
        rows, columns = self.crop
        return f"shorter side {self.shorter} (bicubic), centre crop {rows}x{columns}"


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 packed, 2 bad input, 130 interrupted."""
    options = _parser().parse_args(arguments)
    return console.ending(lambda: _run(options), "pack_images")


def _run(options: argparse.Namespace) -> int:
    interrupted: list[bool] = []
    # A KeyboardInterrupt raised inside h5py can vanish in one of its weak-reference callbacks:
    # note the signal instead, and stop between two images.
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, lambda *_: interrupted.append(True)) for each in signals]
    try:
        _pack(options, interrupted)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted, nothing written") from None
    finally:
        for each, handler in zip(signals, before):
            signal.signal(each, handler)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", help="a folder, a packed file, bundled or random:N")
    parser.add_argument("out", type=Path, help="the HDF5 file to write")
    parser.add_argument("--size", metavar="ROWSxCOLUMNS", help="just cover this size, crop to it")
    parser.add_argument("--shorter", type=int, metavar="N", help="scale the shorter side to N")
    parser.add_argument("--crop", type=int, metavar="N", help="then cut NxN from the centre")
    parser.add_argument("--images", type=int, metavar="N", help="only the first N")
    parser.add_argument("--classes", metavar="FILE", help="which class each folder is")
    parser.add_argument("--class-order", choices=ORDERS, help="of class folders (natural)")
    parser.add_argument("--bad-images", choices=("stop", "skip"), default="stop", help="(stop)")
    parser.add_argument("--split", default="test", help="test (default) or calibration")
    parser.add_argument("--source-note", default="", metavar="TEXT", help="where they come from")
    parser.add_argument("--licence", default="", metavar="TEXT", help="the images' licence")
    return parser


def _rule(size: str | None, shorter: int | None, crop: int | None) -> Rule | None:
    if size is not None:
        rows, _, columns = size.partition("x")
        if shorter is not None or crop is not None:
            raise OptionError("--size with --shorter or --crop", "one or the other")
        if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
            raise OptionError(f"--size {size!r}", "ROWSxCOLUMNS such as 224x224")
        return Rule(min(int(rows), int(columns)), (int(rows), int(columns)))
    if shorter is None and crop is None:
        return None
    if shorter is None or crop is None:
        raise OptionError("one of --shorter and --crop", "both", "or give --size")
    if not 1 <= crop <= shorter:
        raise OptionError(f"--shorter {shorter} --crop {crop}", "a crop of 1 up to --shorter")
    return Rule(shorter, (crop, crop))


def _pack(options: argparse.Namespace, interrupted: list[bool]) -> None:
    own = bundled_files() if options.source == "bundled" else []
    check_apart([*own, Named("SOURCE", options.source), Named("OUT.h5", str(options.out), True)])
    rule = _rule(options.size, options.shorter, options.crop)
    dataset = _opened(options, rule)
    count = len(dataset) if options.images is None else options.images
    if not 1 <= count <= len(dataset):
        raise OptionError(f"--images {count}", f"1..{len(dataset)} of {dataset.name}")
    skipped: list[Skipped] = []
    if options.bad_images == "skip":

        def read(index: int) -> None:
            _image(dataset, index, rule, interrupted)

        dataset, skipped = readable(dataset, 0, count, read)
        count -= len(skipped)
    indices = tqdm(range(count), unit="image", file=sys.stderr, disable=None)
    write(
        options.out,
        (_image(dataset, index, rule, interrupted) for index in indices),
        count,
        name=dataset.name,
        labels=None if dataset.labels is None else dataset.labels[:count],
        classes=None if dataset.classes is None else tuple(map(shown, dataset.classes)),
        source="; ".join(str(part) for part in (options.source_note, rule) if part),
        licence=options.licence,
    )
    console.tell(f"{options.out}: {count} images, {options.out.stat().st_size} bytes")
    console.tell(*dataset.notes, *(f"skipped: {each.why}" for each in skipped))


def _opened(options: argparse.Namespace, rule: Rule | None) -> Dataset:
    size = rule.crop if rule else (224, 224)
    dataset = open_dataset(options.source, (3, *size), options.split, options.class_order)
    if options.classes is None:
        return dataset
    if options.class_order is not None:
        raise OptionError("--class-order with --classes", "one or the other")
    return renumbered(dataset, options.classes)


def _image(dataset: Dataset, index: int, rule: Rule | None, interrupted: list[bool]) -> np.ndarray:
    """An image as it is packed. Raises DataError that names it."""
    if interrupted:
        raise KeyboardInterrupt
    image = dataset.image(index)
    try:
        return rule(image) if rule else image
    except DataError as error:
        raise DataError(
            f"{dataset.where(index)}: {error.found}", error.wanted, error.remedy
        ) from None


if __name__ == "__main__":
    sys.exit(main())
