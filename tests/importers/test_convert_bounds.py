"""Constructed weight files: none opens another file, takes the memory or the time it asks for."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from refq import convert
from refq.importers import converting, read
from tests.importers import hostile_files, small_weights, weight_files
from tests.importers.conversions import of_known_networks

TOP = Path(__file__).parents[2]
NETWORK, WEIGHTS = small_weights.case()


@pytest.mark.parametrize("case", hostile_files.FILES)
def test_constructed_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    reader, write, told = hostile_files.FILES[case]
    path = tmp_path / small_weights.WRITERS[reader][0]
    write(path)
    assert path.stat().st_size < 21 << 20
    before, begin = _peak(), time.process_time()
    with of_known_networks():
        assert convert.main([str(path), "-o", str(tmp_path / "out.h5")]) == 2
    # without the bounds, half a gigabyte and more, or half a minute
    assert _peak() - before < 200 and time.process_time() - begin < 4
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


def _peak() -> int:
    """MB that this process has taken so far at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


@pytest.mark.parametrize("case", ["linked", "linked_weight", "virtual", "virtual_text"])
def test_no_pipe_is_waited_for(tmp_path: Path, case: str) -> None:
    reader, write, told = hostile_files.FILES[case]
    path = tmp_path / small_weights.WRITERS[reader][0]
    write(path)
    os.mkfifo(tmp_path / hostile_files.PIPE)
    command = [sys.executable, "-m", "refq.convert", str(path), "-o", str(tmp_path / "out.h5")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and told in done.stderr


def test_a_large_storage_is_never_read_whole(tmp_path: Path) -> None:
    """128 MB in one storage, of which the layers are small views."""
    arrays = small_weights.torch_arrays(WEIGHTS)
    storage = np.zeros(1 << 25, np.float32)
    views, place = {}, 0
    for name, array in arrays.items():
        steps = [step // 4 for step in np.ascontiguousarray(array).strides]
        views[name] = weight_files.torch_tensor("0", storage, array.shape, steps, place, False)
        storage[place : place + array.size] = array.reshape(-1)
        place += array.size
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", weight_files.state_pickle(views))
        archive.writestr("w/data/0", storage.data.cast("B"))
    command = [sys.executable, "-c", MEASURED, str(path), "-o", str(tmp_path / "out.h5")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TOP, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stderr) < 60


MEASURED = """
import sys
from refq import convert

def peak():
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10

before = peak()
assert convert.main(sys.argv[1:]) == 0
print(peak() - before, file=sys.stderr)
"""


def test_a_changed_value_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.pth"
    weight_files.torch_file(path, small_weights.torch_arrays(WEIGHTS))
    content = bytearray(path.read_bytes())
    content[content.index(WEIGHTS.weight["conv3_2"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    assert convert.main([str(path), "-o", str(tmp_path / "out.h5")]) == 2
    assert "has another checksum; expected a complete file" in capsys.readouterr().err


def test_honest_compressed_files_convert(tmp_path: Path) -> None:
    """gzip, its bytes shuffled and with a checksum; random values hardly compress, zeros do."""
    weights = replace(WEIGHTS, bias={**WEIGHTS.bias, "fc8": np.zeros(5, np.float32)})
    plain, packed = tmp_path / "plain.caffemodel.h5", tmp_path / "packed.caffemodel.h5"
    small_weights.caffe_hdf5(plain, NETWORK, weights)
    with h5py.File(plain) as file, h5py.File(packed, "w") as target:
        for layer in weights.weight:
            for index in ("0", "1"):
                array = file[f"data/{layer}/{index}"][()]
                target.create_dataset(
                    f"data/{layer}/{index}",
                    data=array,
                    chunks=tuple(min(3, size) for size in array.shape),
                    compression="gzip",
                    shuffle=array.ndim > 1,
                    fletcher32=index == "0",
                )
        # HDF5 stores a chunk as it is where a filter fails
        del target["data/fc7/1"]
        made = target.create_dataset("data/fc7/1", (7,), "f4", chunks=(7,), compression="gzip")
        made.id.write_direct_chunk((0,), weights.bias["fc7"].tobytes(), 1)
    assert _hash(packed) == _hash(plain)


def test_names_of_variable_length_convert(tmp_path: Path) -> None:
    layers = small_weights.keras_layers(NETWORK, WEIGHTS)
    fixed, variable = tmp_path / "fixed.h5", tmp_path / "variable.h5"
    weight_files.keras(fixed, layers)
    weight_files.keras(variable, layers)
    with h5py.File(variable, "r+") as file:
        file.attrs["training_config"] = "x" * 50_000  # which makes a large heap, as Keras does
        for place in (file, *(file[layer] for layer in layers)):
            key = "layer_names" if place is file else "weight_names"
            names = [name.decode() for name in place.attrs[key]]
            del place.attrs[key]
            place.attrs.create(key, names, dtype=h5py.string_dtype())
    assert _hash(variable) == _hash(fixed)


def _hash(path: Path) -> str:
    return converting.convert(read(path), path, path.with_name("out.h5"), None, None).sha256


def test_many_names_beside_a_long_text(tmp_path: Path) -> None:
    """As in a whole model of Keras' ResNet-152: its configuration lies in the same heap."""
    path = tmp_path / "w.h5"
    small_weights.WRITERS["keras_model"][1](path, *small_weights.case())
    with h5py.File(path, "r+") as file:
        file.attrs["training_config"] = "x" * 450_000
        root = file["model_weights"]
        more = [f"activation_{index}" for index in range(500)]
        for name in more:
            root.create_group(name).attrs["weight_names"] = np.array([])
        names = [each.decode() for each in root.attrs["layer_names"]] + more
        del root.attrs["layer_names"]
        root.attrs["layer_names"] = np.array(names, h5py.string_dtype())
    assert convert.main([str(path), "-o", str(tmp_path / "out.h5")]) == 0
