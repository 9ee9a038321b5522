"""Every kind of data, streaming, preprocessing and tools/pack_images.py."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from refq.data import Dataset, batches, check_labels, cifar, digest, open_dataset, packed
from refq.data.folders import natural_key
from refq.data.preprocessing import Preprocessing, apply, caffe, from_json, scaled_size
from refq.errors import DataError, OptionError
from refq.networks import bundled
from tests.shared_data import shared

INPUT = (3, 7, 9)
PACK = Path(__file__).parents[2] / "tools" / "pack_images.py"
RNG = np.random.default_rng(11)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def save_image(path: Path, image: np.ndarray, mode: str | None = None) -> None:
    pil = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pil.fromarray(image)
    (picture.convert(mode) if mode else picture).save(path)


def numbered(count: int, labels: bool = True) -> Dataset:
    """Images of 7x9 whose pixels are all their own index."""
    return Dataset(
        "numbered",
        count,
        lambda index: np.full((7, 9, 3), index, np.uint8),
        lambda index: f"numbered {index}",
        np.arange(count, dtype=np.int64) * 10 if labels else None,
    )


def error_of(kind: type[Exception], text: str):
    return pytest.raises(kind, match=re.escape(text))


PLAIN = Preprocessing(crop=(7, 9), shorter=(7, 7))


# Batches


@pytest.mark.parametrize(
    ("start", "stop", "size", "wanted"),
    [
        (0, None, 4, [4, 4, 3]),
        (0, 8, 4, [4, 4]),
        (0, None, 11, [11]),
        (0, None, 50, [11]),
        (0, None, 1, [1] * 11),
        (3, 8, 2, [2, 2, 1]),
        (10, 11, 3, [1]),
        (5, 5, 3, []),
    ],
)
def test_batches_cover_the_range_in_order(start, stop, size, wanted):
    parts = list(batches(numbered(11), PLAIN, size, start, stop))
    assert [len(images) for images, _ in parts] == wanted
    for images, labels in parts:
        assert images.dtype == np.float32 and images.shape[1:] == (3, 7, 9)
        assert images.flags.c_contiguous
        assert labels.dtype == np.int64
    seen = [int(image[0, 0, 0]) for images, _ in parts for image in images]
    assert seen == list(range(11))[start:stop]
    assert [label for _, labels in parts for label in labels] == [10 * each for each in seen]


def test_unlabelled_batches_have_no_labels():
    assert [labels for _, labels in batches(numbered(3, labels=False), PLAIN, 2)] == [None, None]


def test_bad_ranges_are_told_at_the_call():
    with error_of(OptionError, "batches of 0 images; expected 1 or more"):
        batches(numbered(3), PLAIN, 0)
    for start, stop in ((0, 4), (-1, 2), (2, 1)):
        with error_of(DataError, f"numbered: images {start} up to {stop}; expected a range within"):
            batches(numbered(3), PLAIN, 2, start, stop)


def data_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("refq-data")]


def test_next_batch_is_prepared_while_the_last_is_used():
    started = threading.Event()

    def read(index: int) -> np.ndarray:
        if index == 2:
            started.set()
        assert threading.current_thread().name.startswith("refq-data")
        return np.zeros((7, 9, 3), np.uint8)

    stream = batches(replace(numbered(6), read=read), PLAIN, 2)
    next(stream)
    assert started.wait(10)
    assert len(list(stream)) == 2
    assert not data_threads()


def test_no_more_than_one_batch_ahead():
    read_so_far = []

    def read(index: int) -> np.ndarray:
        read_so_far.append(index)
        return np.zeros((7, 9, 3), np.uint8)

    stream = batches(replace(numbered(20), read=read), PLAIN, 3)
    assert read_so_far == []
    next(stream)
    time.sleep(0.1)
    assert read_so_far == list(range(6))
    stream.close()


def test_an_error_comes_after_the_good_batches_and_only_once():
    def read(index: int) -> np.ndarray:
        if index == 5:
            raise DataError("cannot decode image 5")
        return np.zeros((7, 9, 3), np.uint8)

    stream = batches(replace(numbered(9), read=read), PLAIN, 2)
    next(stream)
    next(stream)
    with error_of(DataError, "cannot decode image 5"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    assert not data_threads()


def test_early_close_stops_within_the_image_at_hand():
    reading, go_on = threading.Event(), threading.Event()
    read_so_far = []

    def read(index: int) -> np.ndarray:
        read_so_far.append(index)
        if index == 10:
            reading.set()
            go_on.wait(10)
        return np.zeros((7, 9, 3), np.uint8)

    stream = batches(replace(numbered(100), read=read), PLAIN, 10)
    next(stream)
    assert reading.wait(10)
    # close() first says stop, then waits for the thread: release it a moment later.
    threading.Timer(0.1, go_on.set).start()
    stream.close()
    assert read_so_far[-1] == 10
    assert not data_threads()


def test_an_image_that_cannot_be_prepared_is_named():
    grey = replace(numbered(3), read=lambda index: np.zeros((7, 9), np.uint8))
    with error_of(DataError, "numbered 0: an image of dtype uint8 and shape (7, 9); expected"):
        next(batches(grey, PLAIN, 2))


# What can be asked of any data set


def test_index_and_label_count_are_checked():
    with error_of(DataError, "numbered: image 3; expected 0..2"):
        numbered(3).image(3)
    with error_of(DataError, "numbered: image -1"):
        numbered(3).image(-1)
    with error_of(DataError, "labels of shape (2,); expected one for each of 3 images"):
        replace(numbered(3), labels=np.zeros(2, np.int64))


def test_check_labels_names_the_first_offender():
    check_labels(numbered(3), 21)
    check_labels(numbered(3, labels=False), 1)
    with error_of(DataError, "numbered 2: label 20; expected 0..19 for a network of 20 classes"):
        check_labels(numbered(5), 20)
    with error_of(DataError, "numbered 1: label -1;"):
        check_labels(replace(numbered(3), labels=np.array([0, -1, 99])), 5)


def test_digest_depends_on_pixels_labels_and_count():
    first = digest(numbered(200), 150)
    assert first == digest(replace(numbered(180), name="other"), 150)
    assert first != digest(numbered(200), 149)
    assert first != digest(numbered(200, labels=False), 150)
    labels = np.arange(200) * 10
    labels[149] += 1
    assert first != digest(replace(numbered(200), labels=labels), 150)
    last = replace(numbered(200), read=lambda index: np.full((7, 9, 3), min(index, 148), np.uint8))
    assert first != digest(last, 150)
    assert digest(numbered(3), 0) != digest(numbered(3), 1)


def test_digest_reads_few_images():
    read_so_far = []

    def read(index: int) -> np.ndarray:
        read_so_far.append(index)
        return np.zeros((7, 9, 3), np.uint8)

    digest(replace(numbered(50_000), read=read), 50_000)
    assert len(read_so_far) == 64
    assert read_so_far[0] == 0 and read_so_far[-1] == 49_999


# random:N


def test_random_images_depend_on_seed_and_index_alone():
    data = open_dataset("random:5:7", (3, 6, 11))
    assert len(data) == 5 and data.labels is None and data.name == "random noise (seed 7)"
    image = data.image(4)
    assert image.shape == (6, 11, 3) and image.dtype == np.uint8
    assert (image == open_dataset("random:9:7", (3, 6, 11)).image(4)).all()
    assert (image != data.image(3)).any()
    assert (image != open_dataset("random:5:8", (3, 6, 11)).image(4)).any()
    default = open_dataset("random:5", (3, 6, 11)).image(0)
    assert (default == open_dataset("random:5:0", (3, 6, 11)).image(0)).all()
    # Pinned: reports quote results on noise, so it must not change.
    assert image.ravel()[:6].tolist() == [176, 34, 10, 136, 153, 12]


@pytest.mark.parametrize("spec", ["random:", "random:0", "random:-3", "random:4:x", "random:1:2:3"])
def test_bad_random_specs(spec):
    with error_of(DataError, f"data {spec!r}; expected random:N or random:N:SEED"):
        open_dataset(spec, INPUT)


# Packed files


def write_packed(path: Path, count: int = 5, rows: int = 6, columns: int = 4) -> np.ndarray:
    images = noise(count, rows, columns, 3)
    packed.write(
        path,
        iter(images),
        count,
        name="tiny",
        labels=np.arange(count)[::-1],
        classes=("a", "b", "ü", "d", "e"),
        source="made up",
        licence="CC0",
    )
    return images


def test_packed_round_trip(tmp_path):
    images = write_packed(tmp_path / "tiny.h5")
    data = open_dataset(str(tmp_path / "tiny.h5"), INPUT)
    assert (data.name, len(data), data.classes) == ("tiny", 5, ("a", "b", "ü", "d", "e"))
    assert data.labels.dtype == np.int64 and data.labels.tolist() == [4, 3, 2, 1, 0]
    for index in (0, 3, 4, 1):
        assert (data.image(index) == images[index]).all()
    with h5py.File(tmp_path / "tiny.h5") as file:
        stored = file["images"]
        assert (stored.dtype, stored.compression, stored.shuffle) == (np.uint8, "gzip", True)
        assert stored.chunks[1:] == (6, 4, 3)
        assert json.loads(file.attrs["classes"]) == ["a", "b", "ü", "d", "e"]
        assert (file.attrs["source"], file.attrs["licence"]) == ("made up", "CC0")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.h5"]


def test_large_packed_images_have_a_chunk_each(tmp_path):
    packed.write(tmp_path / "large.h5", noise(2, 300, 301, 3), 2, name="large")
    with h5py.File(tmp_path / "large.h5") as file:
        assert file["images"].chunks == (1, 300, 301, 3)
    data = open_dataset(str(tmp_path / "large.h5"), INPUT)
    assert data.labels is None and data.classes is None


def test_bundled_splits_are_packed_files(tmp_path, monkeypatch):
    for name, count in (("glyphs_test.h5", 4), ("glyphs_calibration.h5", 3)):
        packed.write(tmp_path / name, noise(count, 6, 4, 3), count, name=name)
    monkeypatch.setattr(bundled, "path", lambda name: tmp_path / name)
    assert len(open_dataset("bundled", INPUT)) == 4
    assert len(open_dataset("bundled", INPUT, split="calibration")) == 3
    with error_of(OptionError, "unknown split 'train'; expected one of calibration, test"):
        open_dataset("bundled", INPUT, split="train")


def packed_with(path: Path, **datasets: object) -> str:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return str(path)


@pytest.mark.parametrize(
    ("datasets", "text"),
    [
        ({"other": noise(2, 3)}, "no dataset 'images'; expected dataset 'images', uint8 (N,"),
        ({"images": np.zeros((2, 4, 5, 3))}, "'images' of dtype float64; expected"),
        ({"images": noise(2, 3, 4, 5)}, "'images' of shape (2, 3, 4, 5); expected"),
        ({"images": noise(4, 5, 3)}, "'images' of shape (4, 5, 3); expected"),
        ({"images": noise(0, 4, 5, 3)}, "'images' of shape (0, 4, 5, 3); expected"),
        ({"images": np.uint8(3)}, "'images' of shape (); expected"),
        (
            {"images": noise(2, 4, 5, 3), "labels": np.zeros(2)},
            "'labels' of dtype float64; expected int64; make it with tools/pack_images.py",
        ),
        (
            {"images": noise(2, 4, 5, 3), "labels": np.zeros(3, np.int64)},
            "'labels' of shape (3,); expected (2,)",
        ),
    ],
)
def test_wrong_packed_files(tmp_path, datasets, text):
    with error_of(DataError, text):
        open_dataset(packed_with(tmp_path / "wrong.h5", **datasets), INPUT)


def test_wrong_class_names_in_a_packed_file(tmp_path):
    spec = packed_with(tmp_path / "wrong.h5", images=noise(2, 4, 5, 3))
    for value in ("a, b", '"a"'):
        with h5py.File(spec, "a") as file:
            file.attrs["classes"] = value
        with error_of(DataError, "attribute 'classes'"):
            open_dataset(spec, INPUT)


def test_truncated_or_foreign_packed_file(tmp_path):
    path = tmp_path / "tiny.h5"
    write_packed(path)
    path.write_bytes(path.read_bytes()[:-700])
    with error_of(DataError, "expected a complete packed HDF5 file; make it with tools/pack_im"):
        open_dataset(str(path), INPUT)
    path.write_text("not HDF5")
    with error_of(DataError, f"cannot read {path} ("):
        open_dataset(str(path), INPUT)


def test_damaged_pixels_are_told_with_the_image(tmp_path):
    path = tmp_path / "large.h5"
    packed.write(path, noise(3, 300, 301, 3), 3, name="large")
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset + 100)
        raw.write(bytes(5000))
    data = open_dataset(str(path), INPUT)
    data.image(0)
    with error_of(DataError, f"cannot read {path}, image 1 ("):
        data.image(1)
    data.image(2)


def test_packed_write_leaves_nothing_behind_on_errors(tmp_path):
    mixed = [noise(4, 5, 3), noise(5, 4, 3)]
    with error_of(DataError, "image 1 is 5x4; expected 4x5 like those before it; give --size"):
        packed.write(tmp_path / "mixed.h5", mixed, 2, name="mixed")
    with error_of(DataError, "1 images; expected 2"):
        packed.write(tmp_path / "short.h5", mixed[:1], 2, name="short")
    with error_of(DataError, "expected a file's name in a folder that exists"):
        packed.write(tmp_path / "no" / "folder.h5", mixed[:1], 1, name="none")
    assert list(tmp_path.iterdir()) == []


# CIFAR-10


def cifar_records(count: int) -> tuple[np.ndarray, np.ndarray]:
    return RNG.integers(0, 10, count), noise(count, 3072)


def write_binary(path: Path, labels: np.ndarray, pixels: np.ndarray) -> None:
    path.write_bytes(np.hstack([labels[:, None].astype(np.uint8), pixels]).tobytes())


def check_cifar(data: Dataset, labels: np.ndarray, pixels: np.ndarray) -> None:
    assert data.labels.dtype == np.int64 and (data.labels == labels).all()
    for index in (0, len(labels) - 1):
        image = data.image(index)
        assert image.shape == (32, 32, 3) and image.dtype == np.uint8
        for channel, row, column in ((0, 0, 1), (1, 31, 5), (2, 7, 30)):
            stored = pixels[index, channel * 1024 + row * 32 + column]
            assert image[row, column, channel] == stored


def test_cifar_binary(tmp_path):
    test, training = cifar_records(4), cifar_records(3)
    write_binary(tmp_path / "test_batch.bin", *test)
    write_binary(tmp_path / "data_batch_1.bin", *training)
    (tmp_path / "batches.meta.txt").write_text("airplane\nautomobile\n\n")
    data = open_dataset(str(tmp_path), INPUT)
    check_cifar(data, *test)
    assert data.name == "CIFAR-10 (test_batch.bin)"
    assert data.classes == ("airplane", "automobile")
    check_cifar(open_dataset(str(tmp_path), INPUT, split="calibration"), *training)
    (tmp_path / "test_batch.bin").unlink()
    assert open_dataset(str(tmp_path), INPUT).name == "CIFAR-10 (data_batch_1.bin)"


@pytest.mark.parametrize("size", [0, 3072, 2 * 3073 - 1])
def test_truncated_cifar_binary(tmp_path, size):
    (tmp_path / "test_batch.bin").write_bytes(bytes(size))
    with error_of(DataError, f"test_batch.bin: {size} bytes; expected a multiple of 3073"):
        open_dataset(str(tmp_path), INPUT)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_cifar_python(tmp_path, protocol, order, as_bytes):
    labels, pixels = cifar_records(4)
    content = {"labels": labels.tolist(), "data": np.asarray(pixels, order=order)}
    if as_bytes:
        content = {key.encode(): value for key, value in content.items()}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, protocol))
    meta = {b"label_names": [b"cat", "dog"], b"num_vis": 3072}
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(meta, protocol))
    data = open_dataset(str(tmp_path), INPUT)
    check_cifar(data, labels, pixels)
    assert data.name == "CIFAR-10 (test_batch)" and data.classes == ("cat", "dog")


def test_cifar_python_as_python_2_wrote_it(tmp_path):
    """The published files: protocol 2, byte strings, NumPy 1 names."""
    labels, pixels = cifar_records(2)

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    (tmp_path / "test_batch").write_bytes(
        b"\x80\x02}("
        + text(b"labels")
        + b"]("
        + b"".join(b"K" + bytes([label]) for label in labels)
        + b"e"
        + text(b"data")
        + b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"cnumpy\nndarray\nK\x00\x85"
        + text(b"b")
        + b"\x87R"
        + b"(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R"
        + b"(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89"
        + text(pixels.tobytes())
        + b"tbu."
    )
    check_cifar(open_dataset(str(tmp_path), INPUT), labels, pixels)


class _Touch:
    """Pickles to a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
def test_malicious_pickles_are_not_executed(tmp_path, name):
    labels, pixels = cifar_records(1)
    good = {b"labels": labels.tolist(), b"data": pixels}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(good))
    harm = tmp_path / "harm"
    attack = pickle.dumps({b"labels": _Touch(harm)})
    (tmp_path / name).write_bytes(attack)
    with error_of(DataError, f"{name}: asks for {os.system.__module__}.system; expected a CIFAR"):
        open_dataset(str(tmp_path), INPUT)
    assert not harm.exists()
    pickle.loads(attack)  # the same bytes do harm where they are trusted
    assert harm.exists()


@pytest.mark.parametrize(
    "module_and_name",
    [
        "builtins eval",
        "builtins getattr",
        "numpy load",
        "numpy.core.multiarray scalar",
        "copyreg _reconstructor",
        "refq.data.cifar _Unpickler",
    ],
)
def test_no_other_global_is_resolved(tmp_path, module_and_name):
    module, name = module_and_name.split()
    (tmp_path / "test_batch").write_bytes(f"c{module}\n{name}\n.".encode())
    with error_of(DataError, f"asks for {module}.{name}"):
        open_dataset(str(tmp_path), INPUT)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([1, 2], "(a list); expected a whole CIFAR-10 Python batch"),
        ({"labels": [1]}, "no array 'data'; expected uint8 (N, 3072)"),
        ({"labels": [1], "data": noise(1, 3071)}, "'data' of shape (1, 3071); expected"),
        ({"labels": [1], "data": np.zeros((1, 3072))}, "(an array that is not uint8)"),
        ({"data": noise(1, 3072)}, "no list 'labels'; expected 1 numbers"),
        ({"labels": [1, 2], "data": noise(1, 3072)}, "2 'labels'; expected 1 numbers"),
        ({"labels": ["cat"], "data": noise(1, 3072)}, "1 'labels'; expected 1 numbers of 0..255"),
    ],
)
def test_wrong_cifar_python(tmp_path, content, text):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with error_of(DataError, text):
        open_dataset(str(tmp_path), INPUT)


def test_truncated_cifar_python(tmp_path):
    whole = pickle.dumps({"labels": [1], "data": noise(1, 3072)})
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "test_batch").write_bytes(whole[:size])
        with error_of(DataError, f"cannot read {tmp_path / 'test_batch'} ("):
            open_dataset(str(tmp_path), INPUT)


def test_every_damaged_byte_of_a_pickle_is_a_clear_error_or_harmless(tmp_path):
    whole = pickle.dumps({"labels": [1], "data": noise(1, 3072)})
    framing = [*range(150), *range(len(whole) - 60, len(whole))]
    for position in framing:
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "test_batch").write_bytes(damaged)
        try:
            batch = cifar.batch_file(tmp_path, "test")
            cifar.open_cifar(batch).image(0)
        except DataError:
            pass


# Folders of images


def test_natural_order():
    names = ["img10", "img2", "b", "img02", "img2a", "2", "10", "img", ""]
    wanted = ["", "2", "10", "b", "img", "img02", "img2", "img2a", "img10"]
    assert sorted(names, key=natural_key) == wanted
    assert sorted(reversed(names), key=natural_key) == wanted


def test_plain_folder(tmp_path):
    images = {f"img{n}.png": noise(4, 5, 3) for n in (10, 2, 1)}
    for name, image in images.items():
        save_image(tmp_path / name, image)
    save_image(tmp_path / "upper.PNG", images["img1.png"])
    (tmp_path / ".hidden.png").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty folder").mkdir()
    data = open_dataset(str(tmp_path), INPUT)
    assert data.labels is None and data.classes is None
    assert data.name == f"{tmp_path.name} (image folder)"
    order = [Path(data.where(index)).name for index in range(len(data))]
    assert order == ["img1.png", "img2.png", "img10.png", "upper.PNG"]
    assert (data.image(2) == images["img10.png"]).all()


def test_class_folders(tmp_path):
    images = {}
    for name in ("n02/b.png", "n02/a.png", "n10/c.png", "n10/d.png", "n10/e.png", "n1/f.png"):
        images[name] = noise(4, 5, 3)
        save_image(tmp_path / name, images[name])
    (tmp_path / "n03").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.md").write_text("x")
    data = open_dataset(str(tmp_path), INPUT)
    assert data.classes == ("n1", "n02", "n03", "n10")
    assert data.name == f"{tmp_path.name} (4 class folders)"
    order = ["n1/f.png", "n02/a.png", "n10/c.png", "n02/b.png", "n10/d.png", "n10/e.png"]
    assert [data.where(index) for index in range(6)] == [str(tmp_path / name) for name in order]
    assert data.labels.tolist() == [0, 1, 3, 1, 3, 3] and data.labels.dtype == np.int64
    for index, name in enumerate(order):
        assert (data.image(index) == images[name]).all()


def listed(folder: Path, text: str) -> str:
    for name in ("a.png", "b c.png", "sub/d.png"):
        save_image(folder / name, noise(4, 5, 3))
    (folder / "val.txt").write_text(text)
    return str(folder)


def test_listed_folder(tmp_path):
    spec = listed(tmp_path, "sub/d.png 999\n\na.png\t0\r\nb c.png 5  \na.png 7")
    data = open_dataset(spec, INPUT)
    assert data.name == f"{tmp_path.name} (Caffe val.txt)"
    assert data.labels.tolist() == [999, 0, 5, 7] and data.classes is None
    assert (data.image(1) == data.image(3)).all()
    check_labels(data, 1000)
    with error_of(DataError, f"{tmp_path / 'val.txt'}:1 (d.png): label 999; expected 0..9 for a"):
        check_labels(data, 10)
    with error_of(DataError, f"{tmp_path / 'val.txt'}:3 (a.png): label -4"):
        check_labels(open_dataset(listed(tmp_path, "a.png 0\n\na.png -4"), INPUT), 10)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a.png 1\na.png\n", "val.txt:2: 'a.png'; expected an image's name and its label"),
        ("a.png one\n", "val.txt:1: label 'one'; expected a whole number; write 'name label'"),
        ("a.png 1.0\n", "val.txt:1: label '1.0'"),
        ("a.png 1_0\n", "val.txt:1: label '1_0'"),
        (f"a.png {'9' * 40}\n", "val.txt:1: label '999"),
        ("a.png 1\n\nmissing.png 1\n", "val.txt:3: no image "),
        ("\n \n", "val.txt names no images; expected lines of 'name label'"),
    ],
)
def test_wrong_val_txt(tmp_path, text, wanted):
    with error_of(DataError, wanted):
        open_dataset(listed(tmp_path, text), INPUT)


def test_val_txt_that_is_no_text(tmp_path):
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\x00")
    with error_of(DataError, "cannot read"):
        open_dataset(str(tmp_path), INPUT)


def test_nothing_to_open(tmp_path):
    with error_of(DataError, "no data at '/no/such'; expected bundled, random:N, a folder or"):
        open_dataset("/no/such", INPUT)
    with error_of(DataError, f"no images in {tmp_path}; expected val.txt, CIFAR-10 batches, cl"):
        open_dataset(str(tmp_path), INPUT)


def test_images_beside_class_folders_are_ambiguous(tmp_path):
    save_image(tmp_path / "a.png", noise(4, 5, 3))
    save_image(tmp_path / "cat" / "a.png", noise(4, 5, 3))
    with error_of(DataError, "holds 1 images beside 1 class folders; expected one or the other"):
        open_dataset(str(tmp_path), INPUT)


def test_other_colour_modes_become_rgb(tmp_path):
    pil = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    flat = np.empty((6, 5, 3), np.uint8)
    flat[:] = (200, 100, 50)
    save_image(tmp_path / "1rgba.png", np.dstack([flat, np.full((6, 5), 9, np.uint8)]))
    save_image(tmp_path / "2palette.png", flat, "P")
    save_image(tmp_path / "3cmyk.jpg", flat, "CMYK")
    save_image(tmp_path / "4grey.png", flat[:, :, 1])
    save_image(tmp_path / "5greyalpha.png", flat[:, :, 1], "LA")
    save_image(tmp_path / "6bits.png", flat[:, :, 1] > 50)
    transparent = pil.fromarray(flat).convert("P")
    transparent.save(tmp_path / "7clear.png", transparency=bytes(range(200)))
    data = open_dataset(str(tmp_path), INPUT)
    wanted = [(200, 100, 50)] * 3 + [(100, 100, 100)] * 2 + [(255, 255, 255), (200, 100, 50)]
    assert len(data) == len(wanted)
    for index, pixel in enumerate(wanted):
        image = data.image(index)
        assert image.shape == (6, 5, 3) and image.dtype == np.uint8
        tolerance = 30 if "palette" in data.where(index) or "clear" in data.where(index) else 3
        assert np.abs(image.astype(int) - pixel).max() <= tolerance


def test_images_that_cannot_be_decoded_are_named(tmp_path):
    save_image(tmp_path / "deep.png", np.full((6, 5), 40_000, np.uint16))
    save_image(tmp_path / "short.png", noise(40, 50, 3))
    save_image(tmp_path / "short.jpg", noise(40, 50, 3))
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "void.jpg").write_bytes(b"")
    for name in ("short.png", "short.jpg"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    data = open_dataset(str(tmp_path), INPUT)
    names = [Path(data.where(index)).name for index in range(5)]
    assert names == ["deep.png", "short.jpg", "short.png", "text.jpg", "void.jpg"]
    with error_of(DataError, f"{tmp_path / 'deep.png'}: pixels of mode I;16; expected 8 bits"):
        data.image(0)
    for index in range(1, 5):
        with error_of(DataError, f"cannot decode {tmp_path / names[index]} ("):
            data.image(index)
    with error_of(DataError, "cannot decode"):
        list(batches(data, PLAIN, 1, start=1))


def test_without_pillow(tmp_path, monkeypatch):
    save_image(tmp_path / "plain" / "a.png", noise(4, 5, 3))
    save_image(tmp_path / "classes" / "cat" / "a.png", noise(4, 5, 3))
    listed(tmp_path / "listed", "a.png 1")
    write_packed(tmp_path / "tiny.h5")
    (tmp_path / "cifar").mkdir()
    write_binary(tmp_path / "cifar" / "test_batch.bin", *cifar_records(2))
    monkeypatch.setitem(sys.modules, "PIL", None)
    for name in ("plain", "classes", "listed"):
        with error_of(DataError, "needs it; pip install 'refq[images]'"):
            open_dataset(str(tmp_path / name), INPUT)
    for name, side in (("tiny.h5", 4), ("cifar", 32)):
        stream = batches(open_dataset(str(tmp_path / name), INPUT), caffe((3, side, side)), 2)
        assert next(stream)[0].shape == (2, 3, side, side)
        stream.close()
    with error_of(DataError, "Pillow is not installed; scaling an image of 6x4 to be scaled"):
        next(batches(open_dataset(str(tmp_path / "tiny.h5"), INPUT), caffe((3, 5, 5)), 2))


# Preprocessing


def test_crop_takes_the_centre_the_smaller_half_first():
    image = noise(7, 10, 3)
    rule = Preprocessing(crop=(4, 5), shorter=(5, 9))
    values = apply(rule, image)
    # 3 rows go: 1 above, 2 below. 5 columns go: 2 left, 3 right.
    assert (values == image[1:5, 2:7].transpose(2, 0, 1)).all()
    assert values.dtype == np.float32 and values.shape == (3, 4, 5) and values.flags.c_contiguous


def test_channels_mean_and_scale_by_hand():
    image = np.array([[[10, 20, 40]], [[250, 0, 255]]], np.uint8)
    common = {"crop": (2, 1), "shorter": (1, 1), "mean": (1.0, 2.0, 4.5)}
    rgb = apply(Preprocessing(**common, scale=2.0), image)
    assert rgb[:, :, 0].tolist() == [[18, 498], [36, -4], [71, 501]]
    bgr = apply(Preprocessing(**common, channels="BGR", scale=0.5), image)
    assert bgr[:, :, 0].tolist() == [[19.5, 127], [9, -1], [2.75, 122.75]]
    assert apply(caffe((3, 2, 1)), image)[:, :, 0].tolist() == [
        [-64, 151],
        [-97, -117],
        [-113, 127],
    ]


@pytest.mark.parametrize(
    ("size", "shorter", "crop", "wanted"),
    [
        ((300, 500), (224, 256), (224, 224), (256, 427)),  # 426.67
        ((500, 300), (224, 256), (224, 224), (427, 256)),
        ((230, 999), (224, 256), (224, 224), (230, 999)),  # within the bounds: left alone
        ((32, 32), (224, 256), (224, 224), (224, 224)),
        ((1, 3), (224, 256), (224, 224), (224, 672)),
        ((4, 5), (2, 2), (2, 2), (2, 3)),  # 2.5 rounds up
        ((4, 7), (2, 2), (2, 2), (2, 4)),  # and so does 3.5
        ((333, 334), (227, 227), (227, 227), (227, 228)),  # 227.68
        ((480, 480), (240, 240), (240, 320), (320, 320)),  # the crop is wider than 240x240
        ((480, 640), (240, 240), (240, 320), (240, 320)),
        ((640, 480), (240, 240), (240, 320), (427, 320)),
        ((250, 250), (240, 300), (240, 320), (320, 320)),  # in the bounds, yet too narrow
        ((1000, 400), (240, 256), (240, 320), (800, 320)),
    ],
)
def test_scaled_size(size, shorter, crop, wanted):
    assert scaled_size(size, shorter, crop) == wanted


def test_every_image_size_covers_the_crop():
    for rows in range(1, 40):
        for columns in range(1, 40):
            for shorter, crop in (((7, 9), (7, 11)), ((5, 5), (5, 3)), ((12, 14), (12, 12))):
                size = scaled_size((rows, columns), shorter, crop)
                assert size[0] >= crop[0] and size[1] >= crop[1]
                if crop[0] == crop[1]:
                    assert shorter[0] <= min(size) <= shorter[1]


@pytest.mark.parametrize("size", [(1, 1), (3, 17), (40, 31), (9, 90)])
def test_scaling_is_pillows_bicubic(size):
    pil = pytest.importorskip("PIL.Image", reason="scaling needs Pillow")
    image = noise(*size, 3)
    rule = Preprocessing(crop=(11, 13), shorter=(14, 15))
    rows, columns = scaled_size(size, rule.shorter, rule.crop)
    scaled = np.asarray(pil.fromarray(image).resize((columns, rows), pil.Resampling.BICUBIC))
    top, left = (rows - 11) // 2, (columns - 13) // 2
    wanted = scaled[top : top + 11, left : left + 13].transpose(2, 0, 1)
    assert (apply(rule, image) == wanted).all()


def test_images_that_are_none():
    rule = caffe((3, 4, 4))
    for image in (noise(4, 4), noise(4, 4, 4), noise(0, 4, 3), np.zeros((4, 4, 3))):
        with error_of(DataError, "expected uint8 (rows, columns, 3)"):
            apply(rule, image)
    with error_of(DataError, "1x2000 to be scaled to 224x448000; expected sides of at most 32768"):
        apply(caffe((3, 224, 224)), noise(1, 2000, 3))


def test_preprocessing_is_json():
    rule = Preprocessing((5, 6), (6, 8), "BGR", (1.0, 2.0, 3.5), 1 / 255)
    assert from_json(json.loads(json.dumps(rule.to_json()))) == rule
    assert from_json({"crop": [5, 6], "shorter": [6, 8]}) == Preprocessing((5, 6), (6, 8))
    assert str(caffe((3, 227, 227))) == (
        "shorter side 227..256 (bicubic), centre crop 227x227, BGR - (104, 117, 123), x 1"
    )
    assert caffe((3, 227, 227)).bounds == (-123, 151) and caffe((3, 227, 227)).integral
    assert not rule.integral


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"channels": "GBR"}, "channel order 'GBR'; expected RGB or BGR"),
        ({"crop": [9, 8]}, "bounds in order, the lower one at least the crop's shorter side"),
        ({"shorter": [8, 7]}, "bounds in order"),
        ({"crop": [0, 4]}, "crop (0, 4); expected two whole numbers of 1 or more"),
        ({"crop": 5}, "crop 5; expected two whole numbers"),
        ({"shorter": [7.5, 8]}, "shorter (7.5, 8); expected two whole numbers"),
        ({"mean": [1, 2]}, "mean (1, 2); expected three numbers"),
        ({"mean": [1, 2, float("nan")]}, "expected three numbers"),
        ({"scale": 0}, "scale 0; expected a number other than 0"),
        ({"scale": "1"}, "scale '1'; expected a number"),
        ({"size": 1}, "unexpected keyword argument 'size'"),
    ],
)
def test_wrong_preprocessing(change, text):
    with error_of(OptionError, text):
        from_json({"crop": [5, 6], "shorter": [7, 8], **change})
    with error_of(OptionError, "missing 1 required positional argument: 'shorter'"):
        from_json({"crop": [5, 6]})


# tools/pack_images.py


def pack(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PACK), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_pack_keeps_equal_images_as_they_are(tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        save_image(tmp_path / "set" / name, noise(4, 5, 3))
    done = pack(tmp_path / "set", tmp_path / "out.h5", "--licence", "CC0", "--source-note", "me")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'out.h5'}: 3 images, ")
    before = open_dataset(str(tmp_path / "set"), INPUT)
    after = open_dataset(str(tmp_path / "out.h5"), INPUT)
    assert (after.name, after.classes) == ("set (2 class folders)", ("cat", "dog"))
    assert after.labels.tolist() == [0, 1, 0]
    assert digest(before, 3) == digest(after, 3)
    with h5py.File(tmp_path / "out.h5") as file:
        assert (file.attrs["source"], file.attrs["licence"]) == ("me", "CC0")


def test_pack_scales_and_crops(tmp_path):
    for name, shape in (("1.png", (40, 31)), ("2.png", (9, 90)), ("3.png", (12, 12))):
        save_image(tmp_path / "set" / name, noise(*shape, 3))
    source = open_dataset(str(tmp_path / "set"), INPUT)
    for options, rule in (
        (("--size", "10x14"), Preprocessing((10, 14), (10, 10))),
        (("--shorter", 16, "--crop", 11), Preprocessing((11, 11), (16, 16))),
    ):
        done = pack(tmp_path / "set", tmp_path / "out.h5", *options, "--images", 2)
        assert (done.returncode, done.stderr) == (0, "")
        data = open_dataset(str(tmp_path / "out.h5"), INPUT)
        assert len(data) == 2 and data.labels is None
        for index in range(2):
            wanted = apply(rule, source.image(index)).transpose(1, 2, 0)
            assert (data.image(index) == wanted).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "image 1 is 6x4; expected 4x5 like those before it; give --size ROWSxCOLUMNS"),
        (("--size", "5"), "--size '5'; expected ROWSxCOLUMNS such as 224x224"),
        (("--size", "0x5"), "--size '0x5'; expected"),
        (("--size", "5x5", "--crop", "5"), "--size with --shorter or --crop; expected one or"),
        (("--crop", "5"), "one of --shorter and --crop; expected both; or give --size"),
        (("--shorter", "4", "--crop", "5"), "--shorter 4 --crop 5; expected a crop of 1 up to"),
        (("--size", "5x5", "--images", "4"), "--images 4; expected 1..3 of set (image folder)"),
        (("--size", "5x5"), "3.png (cannot identify image file"),
    ],
)
def test_pack_errors_are_one_line_and_leave_nothing(tmp_path, options, text):
    save_image(tmp_path / "set" / "1.png", noise(4, 5, 3))
    save_image(tmp_path / "set" / "2.png", noise(6, 4, 3))
    (tmp_path / "set" / "3.png").write_text("no image")
    (tmp_path / "out").mkdir()
    done = pack(tmp_path / "set", tmp_path / "out" / "out.h5", *options)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("pack_images: ") and done.stderr.count("\n") == 1
    assert text in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_pack_over_an_existing_file_keeps_it_on_errors(tmp_path):
    write_packed(tmp_path / "out.h5")
    before = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "set").mkdir()
    assert pack(tmp_path / "set", tmp_path / "out.h5").returncode == 2
    assert (tmp_path / "out.h5").read_bytes() == before
    assert pack(tmp_path / "out.h5", tmp_path / "out.h5", "--images", 2).returncode == 0
    assert len(open_dataset(str(tmp_path / "out.h5"), INPUT)) == 2


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as SIGINT")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pack_interrupted_leaves_nothing(tmp_path, number):
    command = [sys.executable, str(PACK), "random:1000000", str(tmp_path / "out.h5")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert told == "pack_images: interrupted, nothing written\n"
    assert list(tmp_path.iterdir()) == []


# Real images


def test_real_ilsvrc_images():
    data = open_dataset(str(shared("ilsvrc2012_val")), (3, 227, 227))
    assert data.name == "ilsvrc2012_val (Caffe val.txt)" and len(data) == 400
    check_labels(data, 1000)
    rule = caffe((3, 227, 227))
    images, labels = next(batches(data, rule, 3, start=1))
    assert images.shape == (3, 3, 227, 227) and labels.tolist() == data.labels[1:4].tolist()
    blue = data.image(1)[5, 7, 2]
    assert images[0, 0, 5, 7] == float(blue) - 104
    small = next(batches(data, caffe((3, 224, 224)), 1, start=1))[0]
    assert (small[0] == images[0, :, 1:225, 1:225]).all()


def test_real_cifar_class_folders():
    data = open_dataset(str(shared("cifar10_test")), (3, 224, 224))
    assert len(data) == 1000 and data.classes[0] == "airplane" and data.classes[9] == "truck"
    assert data.labels[:20].tolist() == [*range(10), *range(10)]
    check_labels(data, 10)
    assert next(batches(data, caffe((3, 224, 224)), 2))[0].shape == (2, 3, 224, 224)
