"""Readers of weight files of other tools and of refq's own, and of other files of HDF5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from refq.data import open_dataset
from refq.hardware.files import hdf5
from refq.hardware.files.words import PLAIN
from refq.importers import converting, read
from refq.networks.weights import load, save
from tests.data.pictures import write_packed
from tests.fuzzing.changes import Change, in_bytes, in_hdf5, in_zip
from tests.fuzzing.reader import Reader
from tests.hardware.word_files import array, codes_of
from tests.importers import hostile_files, small_weights

OUT = "out.h5"
ZIPPED = (".pth", ".keras")
# another process reads HDF5 and has 3 seconds of a processor that may be busy
SECONDS = 30


def _convert(path: Path) -> None:
    converting.convert(read(path), path, path.with_name(OUT), None, None)


def _converter(name: str) -> Reader:
    """Conversion to a file beside the input."""
    file, write = small_weights.WRITERS[name]
    suffix = Path(file).suffix
    inner: tuple[Change, ...] = (in_bytes,)
    if suffix == ".h5" or name == "matconvnet_v73":
        inner = (in_bytes, in_hdf5)
    elif suffix in ZIPPED and name != "torch_legacy":
        inner = (in_bytes, in_zip)
    return Reader(
        make=lambda folder: write(folder / file, *small_weights.case()),
        read=_convert,
        changes=inner,
        constructed=tuple(make for own, make, _ in hostile_files.FILES.values() if own == name),
        writes=(OUT,),
        seconds=SECONDS if inner[-1] is in_hdf5 or suffix == ".keras" else Reader.seconds,
    )


def _of_hdf5(make: Callable[[Path], object], read: Callable[[Path], object]) -> Reader:
    return Reader(make, read, changes=(in_bytes, in_hdf5), seconds=SECONDS)


def _load(path: Path) -> None:
    load(path, "vgg16")


def _read_images(path: Path) -> None:
    data = open_dataset(str(path), (3, 8, 8))
    for index in range(min(len(data), 50)):
        data.image(index)


SUMS, CODES = array(12, True, (2, 3, 7), "conv1/sum"), array(5, False, (40, 50), "relu1.code")


def _write_dump(folder: Path) -> None:
    writer = hdf5.writer(folder, PLAIN)
    for each in (SUMS, CODES):
        writer.append(each, codes_of(each))
    writer.close()


def _read_dump(path: Path) -> None:
    hdf5.names(path)
    for each in (SUMS, CODES):
        hdf5.read(path, each, PLAIN)


READERS = {
    **{name: _converter(name) for name in small_weights.WRITERS},
    "weights": _of_hdf5(lambda at: save(at / "weights.h5", *small_weights.case()), _load),
    "weights_caffe": _of_hdf5(
        lambda at: small_weights.caffe_hdf5(at / "w.caffemodel.h5", *small_weights.case()), _load
    ),
    "packed": _of_hdf5(lambda at: write_packed(at / "images.h5", 30, 16, 24), _read_images),
    "dump_hdf5": _of_hdf5(_write_dump, _read_dump),
}
