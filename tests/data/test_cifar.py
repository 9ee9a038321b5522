"""CIFAR-10 in its binary and its Python form, harmful and damaged files among them."""

from __future__ import annotations

import os
import pickle
import time
import tracemalloc
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from refq.data import open_dataset
from refq.errors import DataError
from tests.data.pictures import INPUT, check_cifar, cifar_records, error_of, noise, write_binary
from tests.shared_data import PLACE

NAMES = tuple(["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"])


def test_cifar_binary(tmp_path: Path) -> None:
    test, training = cifar_records(4), cifar_records(3)
    write_binary(tmp_path / "test_batch.bin", *test)
    write_binary(tmp_path / "data_batch_1.bin", *training)
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    data = open_dataset(str(tmp_path), INPUT)
    check_cifar(data, *test)
    assert data.name == "CIFAR-10 (test_batch.bin)"
    assert data.classes == NAMES
    check_cifar(open_dataset(str(tmp_path), INPUT, split="calibration"), *training)
    (tmp_path / "test_batch.bin").unlink()
    assert open_dataset(str(tmp_path), INPUT).name == "CIFAR-10 (data_batch_1.bin)"


@pytest.mark.parametrize("size", [0, 3072, 2 * 3073 - 1])
def test_truncated_cifar_binary(tmp_path: Path, size: int) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(size))
    with error_of(DataError, f"test_batch.bin: {size} bytes; expected a multiple of 3073"):
        open_dataset(str(tmp_path), INPUT)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_cifar_python(
    tmp_path: Path, protocol: int, order: Literal["C", "F"], as_bytes: bool
) -> None:
    labels, pixels = cifar_records(4)
    content: dict[Any, Any] = {"labels": labels.tolist(), "data": np.asarray(pixels, order=order)}
    if as_bytes:
        content = {key.encode(): value for key, value in content.items()}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, protocol))
    meta = {b"label_names": [b"cat", *NAMES[1:]], b"num_vis": 3072}
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(meta, protocol))
    data = open_dataset(str(tmp_path), INPUT)
    check_cifar(data, labels, pixels)
    assert data.name == "CIFAR-10 (test_batch)" and data.classes == ("cat", *NAMES[1:])


def test_cifar_python_as_python_2_wrote_it(tmp_path: Path) -> None:
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

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
def test_malicious_pickles_are_not_executed(tmp_path: Path, name: str) -> None:
    labels, pixels = cifar_records(1)
    good = {b"labels": labels.tolist(), b"data": pixels}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(good))
    harm = tmp_path / "harm"
    attack = pickle.dumps({b"labels": _Touch(harm)})
    (tmp_path / name).write_bytes(attack)
    with error_of(DataError, f"{name}: a pickle that imports {os.system.__module__}.system; exp"):
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
        "refq.data.cifar _load",
    ],
)
def test_no_other_global_is_resolved(tmp_path: Path, module_and_name: str) -> None:
    module, name = module_and_name.split()
    (tmp_path / "test_batch").write_bytes(f"c{module}\n{name}\n.".encode())
    with error_of(DataError, f"imports {module}.{name}; expected a CIFAR-10 batch"):
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
        ({"labels": ["cat"], "data": noise(1, 3072)}, "1 'labels'; expected 1 numbers of 0..9"),
    ],
)
def test_wrong_cifar_python(tmp_path: Path, content: Any, text: str) -> None:
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with error_of(DataError, text):
        open_dataset(str(tmp_path), INPUT)


def test_truncated_cifar_python(tmp_path: Path) -> None:
    whole = pickle.dumps({"labels": [1], "data": noise(1, 3072)})
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "test_batch").write_bytes(whole[:size])
        with error_of(DataError, f"cannot read {tmp_path / 'test_batch'} ("):
            open_dataset(str(tmp_path), INPUT)


def test_a_damaged_byte_of_a_pickle_is_refused_or_does_not_matter(tmp_path: Path) -> None:
    """What is accepted holds what Python's own reader finds in it; or what the whole file held,
    where a number changed that only Python's reader looks at."""
    labels, pixels = cifar_records(1)
    whole = pickle.dumps({"labels": labels.tolist(), "data": pixels})
    refused, lenient = 0, 0
    framing = [*range(150), *range(len(whole) - 60, len(whole))]
    for position in framing:
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "test_batch").write_bytes(damaged)
        batch = read_by_python(bytes(damaged))
        try:
            data = open_dataset(str(tmp_path), INPUT)
        except DataError as error:
            assert batch is None and str(tmp_path / "test_batch") in str(error)
            refused += 1
        else:
            check_cifar(data, *(batch or (labels, pixels)))
            lenient += batch is None
    assert refused > len(framing) // 2 and lenient < 16


def read_by_python(content: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Labels and pixels of a batch; None for what is none. The bytes are known to do no harm."""
    try:
        batch = pickle.loads(content)
        labels, pixels = batch["labels"], batch["data"]
    except Exception:
        return None
    right = isinstance(pixels, np.ndarray) and pixels.shape == (1, 3072)
    right = right and pixels.dtype == np.uint8 and isinstance(labels, list) and len(labels) == 1
    right = right and isinstance(labels[0], int) and 0 <= labels[0] <= 9
    return (np.array(labels), pixels) if right else None


def test_labels_beyond_the_ten_classes_are_refused(tmp_path: Path) -> None:
    labels, pixels = np.array([3, 9, 10, 11]), noise(4, 3072)
    (tmp_path / "test_batch").write_bytes(pickle.dumps({"labels": labels.tolist(), "data": pixels}))
    with error_of(DataError, "test_batch, image 2: label 10; expected 0..9"):
        open_dataset(str(tmp_path), INPUT)
    write_binary(tmp_path / "test_batch.bin", labels, pixels)
    with error_of(DataError, "test_batch.bin, image 2: label 10; expected 0..9"):
        open_dataset(str(tmp_path), INPUT)


def test_cifar_100_is_told(tmp_path: Path) -> None:
    content = {"fine_labels": [77], "coarse_labels": [3], "data": noise(1, 3072)}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with error_of(DataError, "no list 'labels', but 'fine_labels', as CIFAR-100 has"):
        open_dataset(str(tmp_path), INPUT)


def test_names_of_classes_are_ten(tmp_path: Path) -> None:
    write_binary(tmp_path / "test_batch.bin", *cifar_records(2))
    classes = open_dataset(str(tmp_path), INPUT).classes
    assert classes is not None and classes[0] == "airplane" and classes[9] == "truck"
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": list(NAMES[:9])}))
    with error_of(DataError, "batches.meta: 9 names of classes; expected 10"):
        open_dataset(str(tmp_path), INPUT)
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": [*NAMES[:9], [1]]}))
    with error_of(DataError, "batches.meta (a list as a name); expected a whole CIFAR-10"):
        open_dataset(str(tmp_path), INPUT)
    (tmp_path / "batches.meta.txt").write_bytes("\ufeffcat\r\n".encode("utf-16"))
    with error_of(DataError, "batches.meta.txt: 1 names of classes; expected 10"):
        open_dataset(str(tmp_path), INPUT)


def text(value: bytes, prefix: bytes = b"X") -> bytes:
    return prefix + len(value).to_bytes(4, "little") + value


# opcodes: K, J, \x8a numbers; ] ( e lists; } s dicts; q, r, h the memo; R calls; \x85, \x86 tuples
KEY = (2**61 - 1).to_bytes(8, "little")
BOMBS = {
    "a place in the memo": b"N" + b"r\xff\xff\xff\xff" + b".",
    "a length": b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b".",
    "a length in text": b"X\xff\xff\xff\x7fabc.",
    "keys of one hash": b"}("
    + b"".join(
        text(number, b"\x8b") + b"N"
        for number in ((each * (2**61 - 1)).to_bytes(12, "little") for each in range(20_000))
    )
    + b"u.",
    "places of one hash": b"N"
    + b"".join(b"p%d\n" % (each * (2**61 - 1)) for each in range(20_000))
    + b".",
    "one text in many calls": text(b"a" * 1_000_000)
    + b"q\x000"
    + b"("
    + b"c_codecs\nencode\nh\x00X\x06\0\0\0latin1\x86R" * 3000
    + b"l.",
    "lists within lists as a name": b"}X\x06\0\0\0labels]q\0"
    + b"".join(
        b"(h" + bytes([each]) + b"h" + bytes([each]) + b"lq" + bytes([each + 1])
        for each in range(60)
    )
    + b"s.",
    "deep": b"]" * 90_000 + b"a" * 89_999 + b".",
    "without an end": b"N" * 2_000_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
def test_bombs_take_neither_time_nor_memory(tmp_path: Path, bomb: str, name: str) -> None:
    labels, pixels = cifar_records(1)
    whole = pickle.dumps({"labels": labels.tolist(), "data": pixels})
    (tmp_path / "test_batch").write_bytes(whole)
    (tmp_path / name).write_bytes(BOMBS[bomb])
    tracemalloc.start()
    began = time.perf_counter()
    try:
        with pytest.raises(DataError, match=f"{name}") as refusal:
            open_dataset(str(tmp_path), INPUT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - began < 20 and peak < 300 << 20
    assert len(str(refusal.value)) < 1000


def test_a_file_beyond_all_batches_is_not_read(tmp_path: Path) -> None:
    for name in ("test_batch", "test_batch.bin"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(3073 << 21)
        with error_of(DataError, name):
            open_dataset(str(tmp_path), INPUT)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
@pytest.mark.parametrize("name", ["test_batch", "test_batch.bin", "batches.meta"])
def test_pipes_are_refused_at_once(tmp_path: Path, name: str) -> None:
    labels, pixels = cifar_records(1)
    if name == "batches.meta":
        write_binary(tmp_path / "test_batch.bin", labels, pixels)
    os.mkfifo(tmp_path / name)
    with error_of(DataError, f"cannot read {tmp_path / name} (a pipe)"):
        open_dataset(str(tmp_path), INPUT)


def test_a_batch_that_a_damage_made_large(tmp_path: Path) -> None:
    case = PLACE.parent / "cases" / "cifar_memory.pickle"
    if not case.exists():
        pytest.skip("cifar_memory.pickle is not at ../shared/cases")
    (tmp_path / "test_batch").write_bytes(case.read_bytes())
    tracemalloc.start()
    with error_of(DataError, "test_batch"):
        open_dataset(str(tmp_path), INPUT)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
