"""What is read of a file: the same in this process, by a forked worker, by a spawned one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refq.hdf5 import processes
from refq.hdf5.file import File, opened
from refq.hdf5.nodes import Foreign, Group, Hdf5Error
from tests.importers import hostile_files

RNG = np.random.default_rng(3)
ARRAYS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "plain": (RNG.normal(size=(5, 7, 3)).astype("f4"), {}),
    "big": (RNG.normal(size=(5, 7)).astype(">f8"), {}),
    "half": (RNG.normal(size=(6,)).astype("f2"), {}),
    "packed": (
        RNG.integers(0, 9, (23, 4, 5)).astype("u1"),
        {"chunks": (3, 2, 5), "compression": "gzip", "shuffle": True, "fletcher32": True},
    ),
    "zeros": (np.zeros(2000, "i8"), {"compression": "gzip"}),
    "truths": (RNG.normal(size=(9, 2)) > 0, {}),
    "one": (np.array(-5, "i2"), {}),
    "none": (np.zeros((0, 4), "f4"), {}),
    # more than one block: a part of a row is left
    "long": (np.arange(5_000_000, dtype="u4").reshape(-1, 4), {}),
    "group/deep/x": (np.arange(11, dtype="i4"), {}),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hdf5") / "file.h5"
    with h5py.File(made, "w") as file:
        for name, (values, how) in ARRAYS.items():
            file.create_dataset(name, data=values, **how)
        file["empty"] = h5py.Empty("f4")
        file["text"] = np.array([b"abc"])
        file["references"] = np.array([[file["one"].ref, file["group"].ref]], h5py.ref_dtype)
        file.attrs.update(
            {
                "text": "ä",
                "bytes": b"\xffb",
                "names": ["a", "bc"],
                "fixed": np.array([b"a", b"bc"]),
                "number": 3.5,
                "numbers": np.array([[1, 2], [3, 4]]),
                "truth": True,
                "nothing": np.array([]),
                "void": np.void(b"abc"),
                "long": "x" * 50_000,
            }
        )
        file["group"].attrs["note"] = "n"
        file["one"].attrs["unit"] = "u"
    return made


def _spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FORKS", False)


@pytest.fixture(params=["trusted", "forked", "spawned"])
def file(path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> File:
    if request.param == "spawned":
        _spawned(monkeypatch)
    made = File(path, trusted=request.param == "trusted")
    request.addfinalizer(made.close)
    return made


def test_nodes(file: File) -> None:
    root = file.root
    assert set(root.names) == {name.split("/")[0] for name in ARRAYS} | {
        "empty",
        "text",
        "references",
    }
    attributes = dict(root.attributes)
    assert isinstance(attributes.pop("void"), Foreign)
    truth = attributes.pop("truth")
    assert truth == 1 or isinstance(truth, Foreign)  # which HDF5 stores as an enumeration
    assert attributes == {
        "text": "ä",
        "bytes": "\ufffdb",
        "names": ("a", "bc"),
        "fixed": ("a", "bc"),
        "number": 3.5,
        "numbers": (1, 2, 3, 4),
        "nothing": (),
        "long": "x" * 50_000,
    }
    assert file.group("group") == Group("group", {"note": "n"}, ("deep",))
    assert file.dataset("one").attributes == {"unit": "u"}
    assert file.dataset("empty").shape == (0,)
    assert file.dataset("packed").chunks == (3, 2, 5) and file.dataset("plain").chunks is None
    assert [name for name, _ in file.datasets(file.group("group"))] == ["deep/x"]
    assert {name for name, _ in file.datasets(root)} == {*ARRAYS, "empty", "text", "references"}
    assert file.dataset("zeros").hollow is False and file.dataset("long").stored == 20_000_000


@pytest.mark.parametrize("name", ARRAYS)
def test_values(file: File, name: str) -> None:
    values, _ = ARRAYS[name]
    dataset = file.dataset(name)
    assert (dataset.shape, dataset.dtype) == (values.shape, values.dtype)
    got = file.read(dataset)
    assert got.dtype == values.dtype and got.flags.writeable
    np.testing.assert_array_equal(got, values)
    if values.ndim and len(values) > 4:
        for first, last in ((0, 1), (2, 5), (1, 2), (len(values) - 4, len(values)), (3, 3)):
            part = file.read(dataset, (first, last))
            np.testing.assert_array_equal(part, values[first:last])


def test_what_is_read_ahead_is_what_is_asked_for(file: File) -> None:
    values, dataset = ARRAYS["packed"][0], file.dataset("packed")
    for asked in ((3, 6), (6, 9), (0, 2)):  # the same rows, then others
        file.read_ahead(dataset, (3, 6))
        np.testing.assert_array_equal(file.read(dataset, asked), values[slice(*asked)])
    file.read_ahead(dataset, (0, 23))
    assert file.references(file.dataset("references"))
    np.testing.assert_array_equal(file.read(dataset, (0, 23)), values)


def test_references(file: File) -> None:
    found = file.references(file.dataset("references"))
    assert found == [file.dataset("one"), file.group("group")]
    with pytest.raises(Hdf5Error, match="plain: no references"):
        file.references(file.dataset("plain"))


def test_what_is_not_there_or_no_number(file: File, path: Path) -> None:
    for ask, told in (
        (lambda: file.node("group/none"), "group/none: not in the file"),
        (lambda: file.group("one"), "one: a dataset, and no group"),
        (lambda: file.dataset("group"), "group: a group, and no dataset"),
        (lambda: file.read(file.dataset("text")), "text: values of type S"),
        (lambda: file.read(file.dataset("references")), "references: values of type O"),
    ):
        with pytest.raises(Hdf5Error) as caught:
            ask()
        assert str(caught.value) == (
            f"cannot read {path} as HDF5 ({told}); expected a complete HDF5 file of plain datasets;"
            " fetch it again"
        )


def test_a_part_of_a_file(path: Path, tmp_path: Path) -> None:
    within = tmp_path / "around"
    content = path.read_bytes()
    within.write_bytes(b"x" * 777 + content + b"y" * 99)
    file = File(within, 777, 777 + len(content))
    np.testing.assert_array_equal(file.read(file.dataset("packed")), ARRAYS["packed"][0])
    with pytest.raises(Hdf5Error, match="truncated file"):
        _ = File(within, 777, 700 + len(content)).nodes
    with pytest.raises(Hdf5Error, match="file signature not found"):
        _ = File(within, 776).nodes


def test_values_that_are_not_as_numpy_has_them(tmp_path: Path) -> None:
    """Twelve bits of an integer, a float with another bias: HDF5 converts them."""
    odd = h5py.h5t.STD_I32LE.copy()
    odd.set_precision(12)
    odd.set_offset(4)
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=1024) as target:
        made = h5py.h5d.create(target.id, b"odd", odd, h5py.h5s.create_simple((5,)))
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(-2, 3, dtype="i4"))
        target["plain"] = np.arange(7.0)
        target.create_dataset("compact", (0,), "f4")
    file = File(tmp_path / "x.h5")
    assert file.dataset("odd").place is None and file.dataset("plain").place is not None
    np.testing.assert_array_equal(file.read(file.dataset("odd")), np.arange(-2, 3))
    np.testing.assert_array_equal(file.read(file.dataset("plain")), np.arange(7.0))
    np.testing.assert_array_equal(file.read(file.dataset("plain"), (2, 4)), [2.0, 3.0])


def test_values_beyond_the_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as target:
        target["x"] = np.arange(900.0)
    file = File(tmp_path / "x.h5")
    beyond = replace(file.dataset("x"), place=(tmp_path / "x.h5").stat().st_size - 7199)
    with pytest.raises(Hdf5Error, match="x: the file ends early"):
        file.read(beyond)


def test_opened_is_one_process_a_file(path: Path, tmp_path: Path) -> None:
    assert opened(path) is opened(path)
    other = tmp_path / "other.h5"
    other.write_bytes(path.read_bytes())
    assert opened(other) is not opened(path) and opened(path) is opened(path)
    os.utime(other, (5, 5))
    before = opened(other)
    os.utime(other, (6, 6))
    assert opened(other) is not before
    with pytest.raises(Hdf5Error, match=r"\(No such file or directory\)"):
        opened(tmp_path / "none")


def test_several_threads_ask(file: File) -> None:
    values, wrong = ARRAYS["long"][0], []
    dataset = file.dataset("long")

    def ask(seed: int) -> None:
        for first in np.random.default_rng(seed).integers(0, len(values) - 9, 40).tolist():
            if not np.array_equal(
                file.read(dataset, (first, first + 9)), values[first : first + 9]
            ):
                wrong.append(first)
            if first % 3 == 0:
                file.read_ahead(dataset, (first, first + 5))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_reads_by_a_worker_of_its_own(path: Path) -> None:
    file = File(path)
    dataset, values = file.dataset("long"), ARRAYS["long"][0]
    file.read_ahead(dataset, (0, 100))
    child = os.fork()
    if not child:
        status = 1
        try:
            same = [
                np.array_equal(file.read(dataset, (n, n + 50)), values[n : n + 50])
                for n in range(100)
            ]
            status = 0 if all(same) else 2
        finally:
            os._exit(status)
    for first in range(100):
        np.testing.assert_array_equal(
            file.read(dataset, (first, first + 70)), values[first : first + 70]
        )
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_that_changes(path: Path, tmp_path: Path) -> None:
    """Where a worker had to be started anew, it tells the same or is not believed."""
    copy = tmp_path / "file.h5"
    copy.write_bytes(path.read_bytes())
    file = File(copy)
    packed, plain = file.dataset("packed"), file.dataset("plain")
    assert packed.place is None and plain.place
    file.reader.close()
    np.testing.assert_array_equal(file.read(packed), ARRAYS["packed"][0])
    file.reader.close()
    with h5py.File(copy, "r+") as changed:
        del changed["one"]
    for dataset in (packed, plain):
        with pytest.raises(Hdf5Error, match="it has changed"):
            file.read(dataset)


# --- what is told and not followed ---


def _cycle(file: h5py.File) -> None:
    file.create_group("a")["x"] = file["/"]


def _twice(file: h5py.File) -> None:
    file["x"] = file.create_group("a")


def _external(file: h5py.File) -> None:
    file.create_dataset("x", (100,), "u1", external=[("/dev/zero", 0, 100)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("x", layout)


def _big_chunk(file: h5py.File) -> None:
    file.create_dataset("x", (4,), "f4", maxshape=(None,), chunks=(1 << 28,))


FOREIGN: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "soft": (lambda f: f.__setitem__("x", h5py.SoftLink("/a")), "a link to elsewhere (SoftLink)"),
    "external link": (
        lambda f: f.__setitem__("x", h5py.ExternalLink("pipe", "/a")),
        "a link to elsewhere (ExternalLink)",
    ),
    "cycle": (_cycle, "a group within itself, or twice"),
    "twice": (_twice, "a group within itself, or twice"),
    "type": (lambda f: f.__setitem__("x", np.dtype("f4")), "a type, and no dataset"),
    "external": (_external, "values in another file"),
    "virtual": (_virtual, "values in another file"),
    "filter": (
        lambda f: f.create_dataset("x", data=np.arange(99), compression="lzf"),
        "compressed by other than gzip",
    ),
    "scale": (
        lambda f: f.create_dataset("x", data=np.arange(99), scaleoffset=4),
        "compressed by other than gzip",
    ),
    "chunk": (_big_chunk, "chunks larger than the dataset"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_parts_are_told_and_not_followed(tmp_path: Path, case: str) -> None:
    make, told = FOREIGN[case]
    os.mkfifo(tmp_path / "pipe")  # which whoever opens it waits for
    made = tmp_path / "x.h5"
    with h5py.File(made, "w") as target:
        target["good"] = np.arange(3)
        make(target)
    file = File(made)
    foreign = [node for node in file.nodes.values() if isinstance(node, Foreign)]
    assert [node.why for node in foreign] == [told]
    for ask in (lambda: file.node(foreign[0].path), lambda: file.node(f"{foreign[0].path}/y")):
        with pytest.raises(Hdf5Error) as caught:
            ask()
        assert caught.value.reason == f"{foreign[0].path}: {told}"
    with pytest.raises(Hdf5Error, match=f"{foreign[0].path}: "):
        list(file.datasets(file.root))
    np.testing.assert_array_equal(file.read(file.dataset("good")), np.arange(3))


def test_sizes_without_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as target:
        target.create_dataset("huge", (1 << 40,), "u1", chunks=(1 << 16,))
        target.create_dataset("large", (1 << 29,), "u1", chunks=(1 << 16,))
        target.create_dataset("small", (1 << 20,), "u1", chunks=(1 << 16,))
        target.create_dataset("zeros", data=np.zeros(9 << 20), compression="gzip")
    file = File(tmp_path / "x.h5")
    with pytest.raises(Hdf5Error, match="huge: 1,099,511,627,776 bytes at once"):
        file.read(file.dataset("huge"))
    for rows in (None, (5, 6)):
        with pytest.raises(Hdf5Error, match="large: 536,870,912 bytes, of which the file stores"):
            file.read(file.dataset("large"), rows)
    assert not file.read(file.dataset("small")).any()
    assert not file.read(file.dataset("zeros"), (1 << 20, 2 << 20)).any()
    assert all(file.dataset(name).hollow for name in ("huge", "large", "small", "zeros"))


def test_attributes_that_fill_the_memory(tmp_path: Path) -> None:
    """Thousands of references to one long text, of which HDF5 would make a copy each."""
    hostile_files.one_long_name(tmp_path / "x.h5")
    root = File(tmp_path / "x.h5").root
    names = root.attributes["layer_names"]
    assert isinstance(names, Foreign) and "memory allocation failed" in names.why


def test_many_parts(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as target:
        place = target
        for _ in range(40):
            place = place.create_group("g")
    with pytest.raises(Hdf5Error, match="or more than 32 deep"):
        _ = File(tmp_path / "x.h5").nodes


@pytest.mark.parametrize("trusted", [False, True])
def test_what_is_no_regular_file(tmp_path: Path, trusted: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, told in (
        ("pipe", "no regular file"),
        ("", "no regular file"),
        ("none", "No such file or directory"),
    ):
        with pytest.raises(Hdf5Error) as caught:
            _ = File(tmp_path / name, trusted=trusted).nodes
        assert caught.value.reason == told
    with pytest.raises(Hdf5Error, match="no regular file"):
        _ = File(Path("/dev/zero"), trusted=trusted).nodes


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.9999])
def test_cut_files(path: Path, tmp_path: Path, share: float) -> None:
    content = path.read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(Hdf5Error):
        _ = File(tmp_path / "cut.h5").nodes
