"""Small weight files that would read other files, fill the memory or take minutes, by construction.

For tests and for fuzzing: changed bytes alone hardly ever lead to such files.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.fuzzing.reader import PIPE
from tests.importers import caffe_files, weight_files

NAMES = 2000
LONG = 1 << 20  # bytes of one name
HUGE = 1 << 28


# --- HDF5 ---


def linked(path: Path) -> None:
    """A layer whose name leads through a link into another file."""
    with h5py.File(path, "w") as file:
        file["e"] = h5py.ExternalLink(str(path.with_name(PIPE)), "/")
        file.attrs["layer_names"] = np.array(["e/fc1"], "S")


def linked_weight(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array(["fc1"], "S")
        group = file.create_group("fc1")
        group["e"] = h5py.ExternalLink(str(path.with_name(PIPE)), "/")
        group.attrs["weight_names"] = np.array(["e/kernel:0"], "S")


def virtual(path: Path) -> None:
    """A layer whose values, and how many they are, another file would tell."""
    with h5py.File(path, "w", libver="latest") as file:
        _virtual(file.create_group("layers/conv2d/vars"), "0", path)


def virtual_text(path: Path) -> None:
    def make(net: h5py.Group) -> None:
        _virtual(net, "name", path)

    _matlab(path, make)


def _virtual(group: h5py.Group, name: str, path: Path) -> None:
    endless = slice(0, h5py.h5s.UNLIMITED)
    layout = h5py.VirtualLayout((5,), "f4", maxshape=(None,))
    source = h5py.VirtualSource(str(path.with_name(PIPE)), "x", (5,), maxshape=(None,))
    layout[endless] = source[endless]
    group.create_virtual_dataset(name, layout)


def one_long_name(path: Path) -> None:
    """A list of names that are all the same long text of the file's heap."""
    with h5py.File(path, "w", libver="earliest") as file:
        names = ["A" * LONG, *["B"] * (NAMES - 1)]
        file.attrs.create("layer_names", names, dtype=h5py.string_dtype())
    content, place = bytearray(path.read_bytes()), 0
    while True:  # a reference is a length, the address of a heap and a number
        place = content.index(struct.pack("<I", LONG), place)
        (heap,) = struct.unpack_from("<Q", content, place + 4)
        if content[heap : heap + 4] == b"GCOL":
            break
        place += 1
    content[place : place + 16 * NAMES] = content[place : place + 16] * NAMES
    path.write_bytes(content)


def wide_letters(path: Path) -> None:
    def make(net: h5py.Group) -> None:
        net.create_dataset("name", (16,), f"S{HUGE}").attrs["MATLAB_class"] = np.bytes_("char")

    _matlab(path, make)


def long_class(path: Path) -> None:
    def make(net: h5py.Group) -> None:
        letters = net.create_dataset("name", data=np.arange(65, 70, dtype="u2"))
        letters.attrs["MATLAB_class"] = np.bytes_("c" * 7000)

    _matlab(path, make)


def large_chunk(path: Path) -> None:
    """Four letters in a compressed chunk for millions."""

    def make(net: h5py.Group) -> None:
        letters = net.create_dataset(
            "name", (4,), "u2", chunks=(HUGE // 2,), maxshape=(None,), compression="gzip"
        )
        letters.attrs["MATLAB_class"] = np.bytes_("char")
        letters.id.write_direct_chunk((0,), deflated(HUGE))

    _matlab(path, make)


def dense_chunk(path: Path) -> None:
    """A chunk of the right size, which inflates to much more."""

    def make(net: h5py.Group) -> None:
        letters = net.create_dataset("name", (90_000,), "u2", chunks=(90_000,), compression="gzip")
        letters.attrs["MATLAB_class"] = np.bytes_("char")
        letters.id.write_direct_chunk((0,), deflated(HUGE))

    _matlab(path, make)


def twice_compressed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((9, 70))
        made.set_deflate(9)
        made.set_deflate(9)
        space, place = h5py.h5s.create_simple((9, 70)), file.create_group("data/conv1").id
        made = h5py.h5d.create(place, b"0", h5py.h5t.IEEE_F32LE, space, made)
        made.write_direct_chunk((0, 0), zlib.compress(deflated(HUGE)))


def beyond_the_file(path: Path) -> None:
    """A chunk that is said to take 2 GiB of a file that is much shorter."""
    with h5py.File(path, "w", libver="earliest") as file:
        made = file.create_dataset(
            "data/conv1/0", (61, 67), "f4", chunks=(61, 67), compression="gzip"
        )
        made.id.write_direct_chunk((0, 0), bytes(6143))
    # its entry: how long it is, and filters that were left out
    content = path.read_bytes().replace(struct.pack("<II", 6143, 0), struct.pack("<II", 1 << 31, 0))
    path.write_bytes(content)


def _matlab(path: Path, make: Callable[[h5py.Group], object]) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        make(file.create_group("net"))
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")


def deflated(size: int) -> bytes:
    """So many zeros."""
    stream = zlib.compressobj()
    return b"".join([*(stream.compress(bytes(1 << 20)) for _ in range(size >> 20)), stream.flush()])


# --- protobuf ---


def alternating(path: Path) -> None:
    """A layer of many numbers of two fields in turn, each of which could begin a long run."""
    runs = b"\xa5\x01\0\0\0\0\xad\x01\0\0\0\0" * 20_000
    path.write_bytes(caffe_files.field(100, caffe_files.field(1, b"x") + runs))


def long_sizes(path: Path) -> None:
    """A list of sizes in many parts, each short enough."""
    tensor = caffe_files.field(2, 7) + caffe_files.field(7, b"\1" * 60_000) * 40
    path.write_bytes(b"\x08\x08" + caffe_files.field(7, caffe_files.field(5, tensor)))


def filled(path: Path) -> None:
    """Layers whose weights are one number each."""
    _matrices(path, lambda index: helper.make_node("ConstantOfShape", ["shape"], [f"w{index}"]))


def shared(path: Path) -> None:
    """Layers that all have the same weights."""
    first = helper.make_node("ConstantOfShape", ["shape"], ["w"])
    _matrices(path, lambda index: helper.make_node("Identity", ["w"], [f"w{index}"]), first)


def _matrices(path: Path, weights: Callable[[int], NodeProto], *nodes: NodeProto) -> None:
    made = list(nodes)
    for index in range(3):
        made += [
            weights(index),
            helper.make_node("MatMul", [f"x{index}", f"w{index}"], [f"x{index + 1}"]),
        ]
    shape = numpy_helper.from_array(np.array([1 << 13, 1 << 14], np.int64), "shape")
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1]) for n in ("x0", "x3")]
    graph = helper.make_graph(made, "g", sides[:1], sides[1:], [shape])
    path.write_bytes(helper.make_model(graph).SerializeToString())


# --- torch ---


def pickled(path: Path, state: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", state)


def large_directory(path: Path) -> None:
    """An archive of nothing but names."""
    count, begin = 100_000, b"PK\3\4" + bytes(26)
    fields = (20, 20, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0)
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", *fields)
    names = b"".join(entry + b"%06d" % index for index in range(count))
    whole = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(names), 30)
    where = struct.pack("<4sIQI", b"PK\6\7", 0, 30 + len(names), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(begin + names + whole + where + end)


def one_value(path: Path) -> None:
    """A matrix of one stored value."""
    tensor = weight_files.torch_tensor("0", np.zeros(1, np.float32), (9000, 8000), (0, 0), 0, False)
    pickled(path, weight_files.state_pickle({"a.weight": tensor}))


def many_operations(path: Path) -> None:
    pickled(path, b"\x80\x02" + b"}" * 1_500_000 + b".")


def large_pickle(path: Path) -> None:
    """Long texts, one after the other, that nothing uses."""
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"0"
    pickled(path, b"\x80\x02" + text * 20 + b"}.")


# one long list as the argument of many calls
MANY_CALLS = b"".join(
    [
        b"\x80\x02ccollections\nOrderedDict\nq\x000]q\x01(",
        b"K\x01" * 20_000,
        b"e0",
        b"h\0h\x01\x85R0" * 20_000,
        b"}.",
    ]
)


def many_calls(path: Path) -> None:
    pickled(path, MANY_CALLS)


def many_calls_before(path: Path) -> None:
    """The same as torch wrote it before 1.6."""
    magic, machine = 0x1950A86A20F9469CFC6C, {"little_endian": True}
    parts = [pickle.dumps(each, 2) for each in (magic, 1001, machine)]
    path.write_bytes(b"".join([*parts, MANY_CALLS, pickle.dumps([], 2)]))


# name: (reader of small_weights.WRITERS, what writes the file, part of what is told)
FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "linked": ("keras", linked, ": e: a link to elsewhere (ExternalLink)"),
    "linked_weight": ("keras_model", linked_weight, "fc1/e: a link to elsewhere"),
    "virtual": ("keras3", virtual, "values in another file"),
    "virtual_text": ("matconvnet_v73", virtual_text, "name: values in another file"),
    "one_long_name": ("keras", one_long_name, "layer_names that is no list of names (Can't"),
    "wide_letters": ("matconvnet_v73", wide_letters, "text of type S; expected numbers"),
    "long_class": ("matconvnet_v73", long_class, "a name of 7,000 letters in MATLAB_class"),
    "large_chunk": ("matconvnet_v73", large_chunk, "chunks larger than the dataset"),
    "dense_chunk": ("matconvnet_v73", dense_chunk, "name: Can't synchronously read data (filter"),
    "twice_compressed": ("caffe_hdf5", twice_compressed, "compressed by other than gzip"),
    "beyond_the_file": (
        "caffe_hdf5",
        beyond_the_file,
        "2,147,483,648 bytes, more than the file has",
    ),
    "alternating": ("caffe_v2", alternating, "holds no layers with weights"),
    "long_sizes": ("onnx", long_sizes, "2,400,000 values for shape ()"),
    "filled": ("onnx", filled, "layers of 1,610,612,736 bytes in a model of"),
    "shared": ("onnx", shared, "layers of 1,610,612,736 bytes in a model of"),
    "large_directory": ("torch_zip", large_directory, "with a directory of 5,200,000 bytes"),
    "one_value": ("torch_zip", one_value, "72,000,000 values, of which 1 are stored"),
    "many_operations": ("torch_zip", many_operations, "a pickle of too many operations"),
    "large_pickle": ("torch_zip", large_pickle, "a data.pkl of 20,971,"),
    "many_calls": ("torch_zip", many_calls, "a pickle of too many operations"),
    "many_calls_before": ("torch_legacy", many_calls_before, "a pickle of too many operations"),
}
