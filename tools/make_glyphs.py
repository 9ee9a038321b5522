"""Makes the glyph images: 62 characters in many fonts, 32x32 RGB, in packed HDF5 files.

    python tools/make_glyphs.py --train-file glyphs_train.h5

writes glyphs_test.h5, glyphs_calibration.h5 and their part of manifest.json into weights/, and
the training images where --train-file says. The same fonts, library versions and seed give the
same images, however many workers draw them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import glyph_manifest
import h5py
import numpy as np
from glyph_draw import SIDE, draw
from glyph_fonts import CLASSES, PACKAGES, Face, split, usable
from tqdm import tqdm

from refq.cli import console
from refq.errors import OptionError
from refq.files import writing
from refq.files.apart import Named, check_apart

CHUNK = 64
HELD_OUT = 0.2  # share of the font groups kept for testing and calibration
SOURCE = "drawn by tools/make_glyphs.py from the open fonts listed in manifest.json"
LICENCE = "MIT"


@dataclass(frozen=True)
class Job:
    """Images of one split. number tells the splits' random streams apart."""

    name: str
    number: int
    count: int
    path: Path
    families: tuple[tuple[Face, ...], ...]
    seed: int

    def labels(self) -> np.ndarray:
        """int64 (count,): every class equally often, but for a remainder, in random order."""
        order = np.random.default_rng([self.seed, self.number])
        return order.permutation(np.arange(self.count) % len(CLASSES)).astype(np.int64)


def families(faces: Sequence[Face]) -> tuple[tuple[Face, ...], ...]:
    found: dict[str, list[Face]] = {}
    for face in faces:
        found.setdefault(face.family, []).append(face)
    return tuple(tuple(found[name]) for name in sorted(found))


_job: Job  # of the worker process
_labels: np.ndarray


def _start(job: Job) -> None:
    global _job, _labels
    _job, _labels = job, job.labels()


def _chunk(start: int) -> np.ndarray:
    """Images start, start + 1, ... of the job; each has a random stream of its own."""
    stop = min(start + CHUNK, _job.count)
    return np.stack(
        [
            draw(
                np.random.default_rng([_job.seed, _job.number, index]),
                _job.families,
                int(_labels[index]),
            )
            for index in range(start, stop)
        ]
    )


def _chunks(job: Job, workers: int) -> Iterator[np.ndarray]:
    starts = range(0, job.count, CHUNK)
    with multiprocessing.get_context("spawn").Pool(workers, _start, (job,)) as pool:
        yield from tqdm(pool.imap(_chunk, starts), job.name, len(starts), unit=" chunks")


def make(job: Job, workers: int) -> None:
    """Draws and writes one split; the file appears only when it is complete."""
    job.path.parent.mkdir(parents=True, exist_ok=True)

    def whole(partial: Path) -> None:
        with h5py.File(partial, "w") as file:
            shape = (SIDE, SIDE, 3)
            images = file.create_dataset(
                "images",
                (job.count, *shape),
                np.uint8,
                chunks=(min(CHUNK, job.count), *shape),
                compression="gzip",
                compression_opts=9 if job.count <= 10_000 else 1,
                shuffle=True,
            )
            row = 0
            for chunk in _chunks(job, workers):
                images[row : row + len(chunk)] = chunk
                row += len(chunk)
            file.create_dataset("labels", data=job.labels())
            file.attrs["name"] = f"glyphs {job.name}"
            file.attrs["classes"] = json.dumps(list(CLASSES))
            file.attrs["source"] = SOURCE
            file.attrs["licence"] = LICENCE

    writing.write_whole(str(job.path), whole)


def _parser() -> console.Parser:
    parser = console.Parser(allow_abbrev=False, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fonts", type=Path, nargs="+", default=[Path("/usr/share/fonts")])
    parser.add_argument("--out", type=Path, default=Path("weights"), help="folder for the result")
    parser.add_argument("--train-file", type=Path, help="HDF5 file for the training images")
    parser.add_argument("--train-images", type=int, default=200_000)
    parser.add_argument("--test-images", type=int, default=2_000)
    parser.add_argument("--calibration-images", type=int, default=500)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--packages", action="store_true", help="print the font packages and stop")
    return parser


def run(arguments: argparse.Namespace) -> None:
    counts = (arguments.test_images, arguments.calibration_images, arguments.train_images)
    if min(counts) < 1 or arguments.workers < 1 or arguments.seed < 0:
        raise OptionError(
            f"image counts {counts}, {arguments.workers} workers, seed {arguments.seed}",
            "counts and workers of 1 or more, a seed of 0 or more",
        )
    faces = usable(arguments.fonts, arguments.workers)
    train, held_out = split(faces, HELD_OUT, arguments.seed)
    out: Path = arguments.out
    jobs = [
        Job("test", 1, counts[0], out / "glyphs_test.h5", families(held_out), arguments.seed),
        Job(
            "calibration",
            2,
            counts[1],
            out / "glyphs_calibration.h5",
            families(held_out),
            arguments.seed,
        ),
    ]
    if arguments.train_file:
        jobs.append(
            Job("train", 3, counts[2], arguments.train_file, families(train), arguments.seed)
        )
    manifest = out / "manifest.json"
    fonts = [Named("--fonts", str(folder)) for folder in arguments.fonts]
    outputs = [Named(job.name, str(job.path), True) for job in jobs]
    check_apart([*fonts, *outputs, Named("the manifest", str(manifest), True)])
    for job in jobs:
        make(job, arguments.workers)
    command = f"python tools/make_glyphs.py --seed {arguments.seed}"
    command += f" --test-images {counts[0]} --calibration-images {counts[1]}"
    command += f" --train-images {counts[2]} --train-file TRAIN.h5"
    sides = {"train": train, "test and calibration": held_out}
    glyph_manifest.update(
        manifest, "glyphs", glyph_manifest.describe(command, arguments.seed, sides)
    )


def main() -> int:
    return console.run(_main, _parser(), None, "make_glyphs")


def _main(arguments: argparse.Namespace) -> int:
    if arguments.packages:
        console.tell(" ".join(PACKAGES))
    else:
        run(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
