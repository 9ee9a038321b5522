"""Weights of refq's networks written as other frameworks write them, without those frameworks.

For tests (small networks) and bench_convert.py (full size). Nothing here is shared with the readers
in refq/importers: bytes and names are written down once more.
"""

from __future__ import annotations

import itertools
import json
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import h5py
import numpy as np
import scipy.io
from onnx import helper, numpy_helper

from benchmarks.peers.onnx_graph import to_onnx
from refq.networks import Network
from refq.networks.weights import Weights

# --- torch ---


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _tuple(parts: Iterable[bytes]) -> bytes:
    return b"(" + b"".join(parts) + b"t"


STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "uint16": "BFloat16Storage",
}


def torch_tensor(
    key: str,
    storage: np.ndarray,
    shape: Sequence[int],
    strides: Sequence[int],
    offset: int,
    legacy: bool,
    metadata: bytes = b"",
) -> bytes:
    """The call that rebuilds a tensor on a storage. metadata: a last argument, pickled."""
    described = [
        _text("storage"),
        _global("torch", STORAGES[storage.dtype.name]),
        _text(key),
        _text("cpu"),
        _whole(storage.size),
        *([b"N"] if legacy else []),
    ]
    hooks = _global("collections", "OrderedDict") + b")R"
    arguments = [
        _tuple(described) + b"Q",
        _whole(offset),
        _tuple(map(_whole, shape)),
        _tuple(map(_whole, strides)),
        b"\x89",
        hooks,
        metadata,
    ]
    return _global("torch._utils", "_rebuild_tensor_v2") + _tuple(arguments) + b"R"


def state_pickle(tensors: Mapping[str, bytes]) -> bytes:
    """An OrderedDict of tensors, with the `_metadata` that torch gives it."""
    items = b"".join(_text(name) + value for name, value in tensors.items())
    made = _global("collections", "OrderedDict") + b")R(" + items + b"u"
    return b"\x80\x02" + made + b"}" + _text("_metadata") + b"}s" + b"b."


def torch_file(path: Path, arrays: Mapping[str, np.ndarray], legacy: bool = False) -> None:
    """A state dict; arrays that are Fortran-contiguous are stored as they lie. uint16 is the
    upper half of float32: bfloat16."""
    storages, views = {}, {}
    for index, (name, array) in enumerate(arrays.items()):
        transposed = array.ndim > 1 and array.flags.f_contiguous
        flat = array.reshape(-1, order="F" if transposed else "C")
        strides = [step // array.itemsize for step in array.strides]
        storages[str(index)] = flat
        views[name] = torch_tensor(str(index), flat, array.shape, strides, 0, legacy)
    if legacy:
        with path.open("wb") as file:
            legacy_stream(file, state_pickle(views), storages)
        return
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", state_pickle(views))
        archive.writestr("archive/byteorder", "little")
        for key, flat in storages.items():
            with archive.open(f"archive/data/{key}", "w", force_zip64=True) as member:
                member.write(np.ascontiguousarray(flat).data)
        archive.writestr("archive/version", "3\n")


def legacy_stream(file: BinaryIO, state: bytes, storages: Mapping[str, np.ndarray]) -> None:
    """Magic number, protocol, machine, state, keys; then a size and values for each storage."""
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    for value in (0x1950A86A20F9469CFC6C, 1001, machine):
        file.write(pickle.dumps(value, 2))
    file.write(state)
    file.write(pickle.dumps(list(storages), 2))
    for flat in storages.values():
        file.write(struct.pack("<q", flat.size))
        file.write(np.ascontiguousarray(flat).data)


# --- Keras ---


def keras(path: Path, layers: Mapping[str, Mapping[str, np.ndarray]], whole: bool = False) -> None:
    """Legacy HDF5. layers: {layer: {"kernel": ..., "bias": ...}} in Keras' axes. whole: a model."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        root.attrs["layer_names"] = np.array(["input_1", *layers], "S")
        root.create_group("input_1").attrs["weight_names"] = np.array([])
        for layer, arrays in layers.items():
            group = root.create_group(layer)
            names = {f"{layer}/{part}:0": array for part, array in arrays.items()}
            group.attrs["weight_names"] = np.array(list(names), "S")
            for name, array in names.items():
                group[name] = array


def keras3(path: Path, layers: Mapping[str, Sequence[np.ndarray]], named: bool = True) -> None:
    """Keras 3: layers/<kind>/vars/0, 1, ...; named: with each layer's name, as from 3.? on."""
    counts: dict[str, int] = {}
    with h5py.File(path, "w") as file:
        for layer, arrays in layers.items():
            kind = {4: "conv2d", 2: "dense"}.get(arrays[0].ndim, "batch_normalization")
            count = counts[kind] = counts.get(kind, -1) + 1
            group = file.create_group(
                f"layers/{kind}_{count}/vars" if count else f"layers/{kind}/vars"
            )
            if named:
                group.attrs["name"] = layer
            for index, array in enumerate(arrays):
                group[str(index)] = array


# --- MatConvNet ---


class MatlabLayer(NamedTuple):
    """A layer of SimpleNN: arrays in MATLAB's axes, fields by their names there."""

    name: str
    kind: str
    arrays: Sequence[np.ndarray] = ()
    fields: Mapping[str, Any] = {}

    def content(self) -> dict[str, Any]:
        numbers = {
            key: value if isinstance(value, str) else np.atleast_2d(np.array(value, float))
            for key, value in self.fields.items()
        }
        return {"name": self.name, "type": self.kind, **numbers}


def matconvnet(path: Path, layers: Sequence[MatlabLayer], compress: bool = False) -> None:
    """SimpleNN, version 5."""
    cells = np.empty((1, len(layers)), object)
    for index, layer in enumerate(layers):
        content = layer.content()
        if layer.arrays:
            content["weights"] = np.empty((1, len(layer.arrays)), object)
            content["weights"][0, :] = list(layer.arrays)
        cells[0, index] = content
    mean = np.array([123.5, 116.25, 103.0], np.float32).reshape(1, 1, 3)
    meta = {"normalization": {"averageImage": mean}}
    scipy.io.savemat(path, {"layers": cells, "meta": meta}, do_compression=compress)


# SimpleNN's words: (type of a DagNN layer, its words for fields)
DAG = {
    "conv": ("Conv", {}),
    "pool": ("Pooling", {"pool": "poolSize"}),
    "relu": ("ReLU", {}),
    "normalize": ("LRN", {}),
    "bnorm": ("BatchNorm", {}),
    "softmax": ("SoftMax", {}),
    "add": ("Sum", {}),
    "concat": ("Concat", {}),
}


def matconvnet_dag(
    path: Path, layers: Sequence[MatlabLayer], reads: Mapping[str, Sequence[str]] | None = None
) -> None:
    """DagNN, version 5: layers name their parameters, which are another array of structs, and the
    variables that they read and make. reads: for each layer; without it, the one before."""
    params, nodes, before = [], [], "data"
    for layer in layers:
        names = [f"{layer.name}_p{index}" for index in range(len(layer.arrays))]
        params += list(zip(names, layer.arrays))
        kind, words = DAG.get(layer.kind, (layer.kind, {}))
        fields = {words.get(key, key): value for key, value in layer.content().items()}
        block = {key: value for key, value in fields.items() if key not in ("name", "type")}
        read = _cells(reads[layer.name] if reads else [before])
        nodes.append(
            (layer.name, f"dagnn.{kind}", _cells(names), read, _cells([layer.name]), block)
        )
        before = layer.name
    keys = [(key, object) for key in ("name", "type", "params", "inputs", "outputs", "block")]
    structs = np.empty((1, len(nodes)), keys)
    for index, row in enumerate(nodes):
        structs[0, index] = row
    listed = np.array(params, [("name", object), ("value", object)]).reshape(1, -1)
    scipy.io.savemat(path, {"params": listed, "layers": structs})


def _cells(names: Sequence[str]) -> np.ndarray:
    cells = np.empty((1, len(names)), object)
    cells[0, :] = names
    return cells


def matconvnet73(path: Path, layers: Sequence[MatlabLayer]) -> None:
    """SimpleNN, version 7.3: HDF5 behind 512 bytes of text, dimensions in reverse, references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        hidden, numbers = file.create_group("#refs#"), itertools.count()

        def put(value: Any) -> h5py.Reference:
            name = f"r{next(numbers)}"
            if isinstance(value, str):
                codes = np.array([[ord(letter)] for letter in value], "<u2")
                item = hidden.create_dataset(name, data=codes)
                item.attrs["MATLAB_class"] = np.bytes_("char")
            elif isinstance(value, dict):
                item = hidden.create_group(name)
                item.attrs["MATLAB_class"] = np.bytes_("struct")
                for key, part in value.items():
                    item[key] = file[put(part)]
            elif isinstance(value, list):
                return cell(hidden, name, value).ref
            else:
                item = hidden.create_dataset(name, data=np.transpose(value))
                item.attrs["MATLAB_class"] = np.bytes_("single")
            return item.ref

        def cell(group: h5py.Group, name: str, values: list[Any]) -> h5py.Dataset:
            references = np.array([[put(value)] for value in values], h5py.ref_dtype)
            item = group.create_dataset(name, data=references, dtype=h5py.ref_dtype)
            item.attrs["MATLAB_class"] = np.bytes_("cell")
            return item

        structs = [
            {**layer.content(), **({"weights": list(layer.arrays)} if layer.arrays else {})}
            for layer in layers
        ]
        cell(file, "layers", structs)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


# --- ONNX ---


Norms = Mapping[str, Mapping[str, np.ndarray]]


NORMS = {"gamma": (0.5, 1.5), "beta": (-0.5, 0.5), "mean": (-0.5, 0.5), "variance": (0.5, 2)}


def norms(weights: Weights, seed: int) -> Norms:
    """Random gamma, beta, mean and variance of a normalisation behind every layer."""
    rng = np.random.default_rng(seed)
    return {
        layer: {
            part: rng.uniform(*ends, bias.size).astype(np.float32) for part, ends in NORMS.items()
        }
        for layer, bias in weights.bias.items()
    }


def onnx_normalised(network: Network, weights: Weights, given: Norms, eps: float) -> Any:
    """The network as ONNX with batch normalisation behind every convolution, without biases, under
    names that say nothing."""
    model = to_onnx(network, weights)
    graph, nodes, unused = model.graph, [], set()
    for index, node in enumerate(graph.node):
        nodes.append(node)
        if node.op_type == "Sum":  # the order of what is added means nothing
            swapped = list(node.input)[::-1]
            del node.input[:]
            node.input.extend(swapped)
        if node.op_type == "Conv":
            output = node.output[0]
            names = [f"{index + 1000}_{part}" for part in given[node.name]]
            for name, array in zip(names, given[node.name].values()):
                graph.initializer.append(numpy_helper.from_array(array, name))
            unused.add(node.input[2])
            del node.input[2:]
            node.output[0] = f"{index}_raw"
            nodes.append(
                helper.make_node(
                    "BatchNormalization", [f"{index}_raw", *names], [output], epsilon=eps
                )
            )
    del graph.node[:]
    graph.node.extend(nodes)
    kept = [each for each in graph.initializer if each.name not in unused]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    renamed = {each.name: f"w{index}" for index, each in enumerate(graph.initializer)}
    for each in graph.initializer:
        each.name = renamed[each.name]
    for node in graph.node:
        node.name = ""
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    return model


# --- safetensors ---


def safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    header, place = {"__metadata__": {"format": "pt"}}, 0
    kinds = {"float32": "F32", "float64": "F64", "float16": "F16", "uint16": "BF16"}
    # in the order of names, as the library writes them
    for name in sorted(arrays):
        end = place + arrays[name].nbytes
        entry = {"dtype": kinds[arrays[name].dtype.name], "shape": list(arrays[name].shape)}
        header[name] = {**entry, "data_offsets": [place, end]}  # type: ignore[dict-item]
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(arrays):
            file.write(np.ascontiguousarray(arrays[name]).tobytes())
