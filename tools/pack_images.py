"""Packs any data set that refq reads into one HDF5 file of equal-sized images.

python tools/pack_images.py SOURCE OUT.h5 [--size ROWSxCOLUMNS | --shorter N --crop N] [--images N]

SOURCE is what --data takes: see docs/data.md, which also has the layout of the file.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from refq.cli import console, paths
from refq.cli.command import Command, Group, Option, Request
from refq.data import ORDERS, SPLITS, Dataset, Skipped, open_dataset, readable, renumbered
from refq.data.dataset import shown
from refq.data.packed import write
from refq.data.preprocessing import scale_and_crop
from refq.errors import DataError, OptionError

# pixels of a side
LARGEST = 99_999


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


def _size(text: str) -> tuple[int, int]:
    sides = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if sides is None:
        raise OptionError(f"--size {text!r}", f"ROWSxCOLUMNS such as 224x224, {LARGEST} at most")
    return int(sides[1]), int(sides[2])


FILES, WHICH, HOW = Group("files"), Group("which images"), Group("what becomes of them")
COMMAND = Command(
    "tools/pack_images.py",
    (__doc__ or "").splitlines()[0],
    (
        Option(
            "source SOURCE", FILES, "a folder, packed .h5, bundled or random:N", path=paths.DATA
        ),
        Option("out OUT.h5", FILES, "the HDF5 file to write", path=paths.FILE),
        Option("--images N", WHICH, "only the first N", kind=int),
        Option("--split NAME", WHICH, "of bundled or CIFAR-10", "test", tuple(SPLITS)),
        Option("--classes FILE", WHICH, "which class each folder is", path=paths.INPUT),
        Option(
            "--class-order NAME", WHICH, "of class folders (default: natural)", None, tuple(ORDERS)
        ),
        Option("--bad-images WHAT", WHICH, "that cannot be read", "stop", ("stop", "skip")),
        Option("--size ROWSxCOLUMNS", HOW, "just cover it, crop to it", kind=_size, memory=True),
        Option("--shorter N", HOW, "scale the shorter side to N", kind=int, memory=True),
        Option("--crop N", HOW, "then cut NxN from the centre", kind=int, memory=True),
        Option("--source-note TEXT", HOW, "where they come from", ""),
        Option("--licence TEXT", HOW, "the images' licence", ""),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 packed, 2 bad input, 130 interrupted."""
    return console.run(_main, COMMAND, arguments, "pack_images")


def _main(asked: Request) -> int:
    interrupted: list[bool] = []
    # A KeyboardInterrupt raised inside h5py can vanish in one of its weak-reference callbacks:
    # note the signal instead, and stop between two images.
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, lambda *_: interrupted.append(True)) for each in signals]
    try:
        _pack(asked, interrupted)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted, nothing written") from None
    finally:
        for each, handler in zip(signals, before):
            signal.signal(each, handler)
    return 0


def _rule(size: tuple[int, int] | None, shorter: int | None, crop: int | None) -> Rule | None:
    if size is not None:
        if shorter is not None or crop is not None:
            raise OptionError("--size with --shorter or --crop", "one or the other")
        return Rule(min(size), size)
    if shorter is None and crop is None:
        return None
    if shorter is None or crop is None:
        raise OptionError("one of --shorter and --crop", "both", "or give --size")
    if not 1 <= crop <= shorter <= LARGEST:
        wanted = f"a crop of 1 up to --shorter, which is {LARGEST} at most"
        raise OptionError(f"--shorter {shorter} --crop {crop}", wanted)
    return Rule(shorter, (crop, crop))


def _pack(asked: Request, interrupted: list[bool]) -> None:
    rule = _rule(asked.size, asked.shorter, asked.crop)
    dataset = _opened(asked, rule)
    count = len(dataset) if asked.images is None else asked.images
    if not 1 <= count <= len(dataset):
        raise OptionError(f"--images {count}", f"1..{len(dataset)} of {dataset.name}")
    skipped: list[Skipped] = []
    if asked.bad_images == "skip":

        def read(index: int) -> None:
            _image(dataset, index, rule, interrupted)

        dataset, skipped = readable(dataset, 0, count, read)
        count -= len(skipped)
    indices = tqdm(range(count), unit="image", file=sys.stderr, disable=None)
    out = Path(asked.out)
    write(
        out,
        (_image(dataset, index, rule, interrupted) for index in indices),
        count,
        name=dataset.name,
        labels=None if dataset.labels is None else dataset.labels[:count],
        classes=None if dataset.classes is None else tuple(map(shown, dataset.classes)),
        source="; ".join(str(part) for part in (asked.source_note, rule) if part),
        licence=asked.licence,
    )
    console.tell(f"{out}: {count} images, {out.stat().st_size} bytes")
    console.tell(*dataset.notes, *(f"skipped: {each.why}" for each in skipped))


def _opened(asked: Request, rule: Rule | None) -> Dataset:
    size = rule.crop if rule else (224, 224)
    dataset = open_dataset(asked.source, (3, *size), asked.split, asked.class_order)
    if dataset.array is not None:
        raise OptionError(f"{dataset.name}, an array", "images", "refq reads it as it is")
    if not dataset.splits:
        asked.refuse(["split"], f"with {dataset.name}", "bundled or CIFAR-10, which have two")
    if asked.classes is None:
        return dataset
    if asked.class_order is not None:
        raise OptionError("--class-order with --classes", "one or the other")
    return renumbered(dataset, asked.classes)


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
