"""refq.convert on files that are broken, hostile: one line, exit code 2."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from benchmarks.peers.onnx_graph import to_onnx
from refq import convert
from refq.networks import bundled
from refq.networks.weights import load
from tests.importers import caffe_files, small_weights, weight_files
from tests.importers.conversions import refused

NETWORK, WEIGHTS = small_weights.case()
# a network of one layer with two blobs, as in test_convert.py
V1 = bytes.fromhex(
    "12 2d 22 01 63 28 04"
    "32 12 08 02 10 01 18 01 20 01 2a 08 00 00 c0 3f 00 00 00 c0"
    "32 12 08 01 10 01 18 01 20 02 2d 00 00 00 3f 2d 00 00 80 40"
)


def pickled(path: Path, state: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", state)


def deflated(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"\x80\x02}." + bytes(1 << 24))


def shorter(path: Path) -> None:
    weight_files.torch_file(path, small_weights.torch_arrays(WEIGHTS))
    path.write_bytes(path.read_bytes()[:-700])


def header(path: Path, entries: dict[str, Any], size: int = 8) -> None:
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))


def hdf5(path: Path, make: Callable[[h5py.Group], object]) -> None:
    with h5py.File(path, "w") as file:
        make(file.create_group("data/conv1"))


def virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4, 3))
    group.create_virtual_dataset("0", layout)


def onnx_outside(path: Path) -> None:
    model = to_onnx(NETWORK, WEIGHTS)
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    path.write_bytes(model.SerializeToString())


def absurd_mat(path: Path) -> None:
    scipy.io.savemat(path, {"layers": np.zeros((3, 5))})
    content = bytearray(path.read_bytes())
    content[128 + 8 + 16 + 8 : 128 + 8 + 16 + 16] = struct.pack("<ii", 1 << 30, 1 << 30)
    path.write_bytes(content)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DEEP = b"\x80\x02" + b"]" * 30 + b"a" * 29 + b"."
HOSTILE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "system": (
        "w.pth",
        lambda p: pickled(p, b"cos\nsystem\n(X\x02\x00\x00\x00idtR."),
        "imports os.system",
    ),
    "stack global": (
        "w.pth",
        lambda p: pickled(p, b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93."),
        "imports builtins.eval",
    ),
    "reduce": (
        "w.pth",
        lambda p: pickled(p, b"\x80\x02ctorch\nFloatStorage\n)R."),
        "calls torch.FloatStorage",
    ),
    "instance": ("w.pth", lambda p: pickled(p, b"(ios\nsystem\n."), "operation INST"),
    "deep": ("w.pth", lambda p: pickled(p, DEEP), "a pickle of something else"),
    "circle": (
        "w.pth",
        lambda p: pickled(p, b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."),
        "holds no layers",
    ),
    "deep key": (
        "w.pth",
        lambda p: pickled(p, b"\x80\x02})" + b"\x85" * 9000 + b"Ns."),
        "a tuple as key",
    ),
    "long": ("w.pth", lambda p: pickled(p, b"\x80\x02X\xff\xff\xff\x7fa."), "2147483647 bytes"),
    "no end": ("w.pth", lambda p: pickled(p, b"\x80\x02}"), "cannot be read as torch"),
    "deflated": ("w.pth", deflated, "compressed or encrypted"),
    "cut off zip": ("w.pth", shorter, "not a zip file"),
    "beyond storage": (
        "w.pth",
        lambda p: pickled(
            p,
            weight_files.state_pickle(
                {
                    "a.weight": weight_files.torch_tensor(
                        "0", np.zeros(6, np.float32), (2, 3), (1, 4), 0, False
                    )
                }
            ),
        ),
        "reaches beyond its storage",
    ),
    "absurd tensor": (
        "w.pth",
        lambda p: pickled(
            p,
            weight_files.state_pickle(
                {
                    "a.weight": weight_files.torch_tensor(
                        "0", np.zeros(1, np.float32), (1 << 20, 1 << 20), (0, 0), 0, False
                    )
                }
            ),
        ),
        "1,099,511,627,776 values; expected 1,073,741,824 bytes or less",
    ),
    "pending sign": (
        "w.pth",
        lambda p: pickled(
            p,
            weight_files.state_pickle(
                {
                    "a.weight": weight_files.torch_tensor(
                        "0",
                        np.zeros(6, np.float32),
                        (2, 3),
                        (3, 1),
                        0,
                        False,
                        b"}X\x03\0\0\0neg\x88s",
                    )
                }
            ),
        ),
        "a tensor whose sign or conjugate is still to be taken; expected its values; save tensor",
    ),
    "header": (
        "w.safetensors",
        lambda p: p.write_bytes(struct.pack("<Q", 1 << 31) + b"{}"),
        "a header of 2,147,483,648 bytes",
    ),
    "overlap": (
        "w.safetensors",
        lambda p: header(p, {"a.weight": F32, "b.weight": F32}),
        "overlap or leave gaps",
    ),
    "gap": ("w.safetensors", lambda p: header(p, {"a.weight": F32}, 12), "12 bytes of tensors"),
    "sizes": (
        "w.safetensors",
        lambda p: header(p, {"a.weight": {**F32, "shape": [3]}}),
        "8 bytes for shape (3,) of F32",
    ),
    "nested": (
        "w.safetensors",
        lambda p: p.write_bytes(struct.pack("<Q", 90005) + b'{"a":' + b"[" * 90000),
        "cannot be read as safetensors",
    ),
    "length bomb": (
        "w.caffemodel",
        lambda p: p.write_bytes(b"\x12\xff\xff\xff\xff\x0f" + V1),
        "reaches beyond its message",
    ),
    "varint": ("w.caffemodel", lambda p: p.write_bytes(b"\x12" + b"\xff" * 12), "does not end"),
    "values": (
        "w.caffemodel",
        lambda p: p.write_bytes(V1.replace(b"\x08\x02", b"\x08\x09")),
        "a blob of shape (9, 1, 1, 1) with 2 values",
    ),
    "cut off V1": ("w.caffemodel", lambda p: p.write_bytes(V1[:-3]), "beyond its message"),
    "outside": ("w.onnx", onnx_outside, "values in another file"),
    "external": (
        "w.h5",
        lambda p: hdf5(p, lambda g: g.__setitem__("0", h5py.ExternalLink("/etc/x.h5", "y"))),
        "a link to elsewhere (ExternalLink)",
    ),
    "soft": (
        "w.h5",
        lambda p: hdf5(p, lambda g: g.__setitem__("0", h5py.SoftLink("/data"))),
        "a link to elsewhere (SoftLink)",
    ),
    "virtual": ("w.h5", lambda p: hdf5(p, virtual), "values in another file"),
    "empty": (
        "w.h5",
        lambda p: hdf5(p, lambda g: g.create_dataset("0", (9000, 9000), "f4")),
        "of which the file stores hardly any",
    ),
    "dense zeros": (
        "w.h5",
        lambda p: hdf5(
            p, lambda g: g.create_dataset("0", data=np.zeros((900, 2000)), compression="gzip")
        ),
        "of which the file stores hardly any",
    ),
    "mat bomb": (
        "w.mat",
        lambda p: scipy.io.savemat(p, {"layers": np.zeros((900, 2000))}, do_compression=True),
        "a compressed element of more than",
    ),
    "objects": (
        "w.h5",
        lambda p: hdf5(
            p,
            lambda g: g.create_dataset(
                "0", data=np.array(["a"], object), dtype=h5py.string_dtype()
            ),
        ),
        "expected floats",
    ),
    "absurd mat": ("w.mat", absurd_mat, "bytes or less"),
    "no network": (
        "w.mat",
        lambda p: scipy.io.savemat(p, {"x": np.ones((2, 3))}),
        "no network in the file",
    ),
    "unknown": (
        "w.bin",
        lambda p: p.write_bytes(b"hello, this is no weight file"),
        "of no known format",
    ),
    "cut off HDF5": (
        "w.h5",
        lambda p: p.write_bytes(bundled.path("alexnet.h5").read_bytes()[:9000]),
        "truncated file",
    ),
    "our own": (
        "w.h5",
        lambda p: p.write_bytes(bundled.path("alexnet.h5").read_bytes()),
        "refq's own weights; give them to --weights",
    ),
    "nothing": ("w.pth", lambda p: p.write_bytes(b""), "an empty file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    name, make, told = HOSTILE[case]
    make(tmp_path / name)
    assert told in refused(tmp_path / name, capsys)


def test_missing_layers_and_wrong_shapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = small_weights.torch_arrays(WEIGHTS)
    del arrays["features.7.weight"], arrays["features.7.bias"]
    weight_files.torch_file(tmp_path / "w.pth", arrays)
    assert "vgg16: no layer features.7" in refused(tmp_path / "w.pth", capsys, "--network", "vgg16")
    wrong = {**WEIGHTS.weight, "conv3_2": np.ones((9, 8, 3, 3), np.float32)}
    path = tmp_path / "w.caffemodel"
    caffe_files.caffemodel(path, NETWORK, replace(WEIGHTS, weight=wrong))
    assert "conv3_2 has shape (9, 8, 3, 3), not (8, 8, 3, 3)" in refused(path, capsys)
    broken = {**WEIGHTS.bias, "fc7": np.full(7, np.nan, np.float32)}
    caffe_files.caffemodel(path, NETWORK, replace(WEIGHTS, bias=broken))
    assert "fc7: NaN or infinite values" in refused(path, capsys)
    assert "unknown network 'vgg17'" in refused(path, capsys, "--network", "vgg17")


def test_a_network_that_could_be_two_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, weights = small_weights.case("alexnet")
    path = tmp_path / "w.caffemodel.h5"
    small_weights.caffe_hdf5(path, network, weights)
    assert "fit alexnet, caffenet; expected one network" in refused(path, capsys)
    out = tmp_path / "out.h5"
    assert convert.main([str(path), "-o", str(out), "--network", "caffenet"]) == 0
    load(out, "caffenet")
