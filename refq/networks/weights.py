"""Weight dumps in HDF5: read, write, check against the network.

Two layouts are recognised by themselves: refq's (a group per layer holding `weight` and `bias`,
metadata as root attributes, a graph of its own as the dataset `graph`) and Caffe's
`.caffemodel.h5` (`data/<layer>/0` and `/1`).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refq import networks
from refq.errors import OptionError, ShapeError, WeightsError
from refq.files import json_, kinds, writing
from refq.hdf5.created import Created
from refq.hdf5.file import File
from refq.hdf5.nodes import Dataset, Foreign, Group, Hdf5Error, shown
from refq.networks import Network, bundled, description
from refq.networks.layers import Shape

TEXT_ATTRIBUTES = ("network", "data_set", "source", "licence", "sha256")
JSON_ATTRIBUTES = ("parameters", "preprocessing", "training")
LONGEST_TEXT, LONGEST_JSON = 1 << 12, 1 << 20  # letters
MOST_TOLD = 40  # problems of a file


@dataclass(frozen=True)
class Weights:
    """Weights and biases of each layer, float32, with what the dump says about itself.

    weight[layer]: (O, I/group, rows, columns) or (O, inputs); bias[layer]: (O,).
    metadata keys: network, parameters, preprocessing, data_set, source, licence, training.
    workspace: panels and buffers that the engine reuses, one batch at a time under the lock; it
    makes results no different.
    """

    weight: Mapping[str, np.ndarray]
    bias: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock, compare=False, repr=False)
    workspace: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def sha256(self) -> str:
        """Hash of names, shapes and values, independent of the file's layout."""
        parts = (self.weight, self.bias)
        return hashed((name, part[name]) for name in sorted(self.weight) for part in parts)


def hashed(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """Weights.sha256 of a weight and a bias, float32, for each layer in the order of names."""
    digest = hashlib.sha256()
    for name, array in arrays:
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, "<f4").data)
    return digest.hexdigest()


def load(
    source: str | Path, network_name: str | None, parameters: Mapping[str, Any] | None = None
) -> tuple[Network, Weights]:
    """The network sized for a dump, and the dump's weights checked against it.

    source: a path, or `random:SEED` for He-initialised weights at the network's full size.
    network_name: a name, or None for the network that the dump says it is of, or has in itself.
    parameters override what the dump says of its size. Raises WeightsError listing all problems.
    """
    if network_name is not None and str(source).startswith("random:"):
        network = networks.build(network_name, parameters)
        return network, random_weights(network, seed_of(str(source)))
    path = Path(source)
    _check_kind(path)
    try:
        with File(path, trusted=bundled.holds(path)) as file:
            return _load(file, network_name, parameters or {})
    except Hdf5Error as error:
        raise WeightsError(error.found, error.wanted, error.remedy) from None


def _load(
    file: File, network_name: str | None, parameters: Mapping[str, Any]
) -> tuple[Network, Weights]:
    raw, metadata = _layers(file), _metadata(file)
    stated = metadata.get("network")
    network = _graph(file)
    if network_name is None and network is None:
        if not stated:
            raise WeightsError(
                f"{file.path} does not say of which network it is",
                "the attribute 'network', or a graph",
                f"give the network's name, and --weights {file.path}",
            )
        network_name = stated
    if stated and network_name not in (None, stated):
        other = stated if network is None else file.path
        raise WeightsError(
            f"{file.path} holds weights of {stated}", network_name, f"evaluate {other} instead"
        )
    if network is None:
        assert network_name is not None
        network = _sized(network_name, raw, metadata, parameters)
    elif parameters:
        size = ", ".join(f"{key} {value}" for key, value in parameters.items())
        raise OptionError(f"{size} for {file.path}", "none: its graph has all sizes")
    weights = _checked(network, raw, metadata, file)
    stored = metadata.get("sha256")
    if stored and stored != weights.sha256:
        raise WeightsError(
            f"{file.path}: values hash to {weights.sha256[:12]}",
            f"the stored sha256 {stored[:12]}",
            "fetch the file again",
        )
    return network, weights


def holds_graph(path: Path) -> bool:
    """Whether a file is HDF5 with a graph, or with weights of a network that it names; not whether
    it is sound. Raises WeightsError for a file that cannot be read."""
    try:
        head = kinds.head_of(path)
        if not kinds.is_hdf5(head):
            return False
        with File(path) as file:
            stated = isinstance(file.root.attributes.get("network"), str)
            return stated or isinstance(file.nodes.get(description.PLACE), Dataset)
    except Hdf5Error:
        return False
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror})", WANTED) from None


def _graph(file: File) -> Network | None:
    """The network that a file holds beside its weights; None where it names one."""
    node = file.nodes.get(description.PLACE)
    if not isinstance(node, Dataset):
        return None
    if node.dtype != np.uint8 or len(node.shape) != 1 or node.nbytes > description.LARGEST:
        raise WeightsError(f"{file.path}: graph of {node.dtype} {node.shape}", "bytes of JSON")
    try:
        return description.from_bytes(file.read(node).tobytes())
    except (OptionError, ShapeError) as error:
        raise WeightsError(f"{file.path}: graph: {error.found}", error.wanted) from None


def _sized(
    name: str, raw: Raw, metadata: Mapping[str, Any], parameters: Mapping[str, Any]
) -> Network:
    """The named network as large as a file says, or its weights' shapes."""
    sizes = metadata.get("parameters")
    if sizes is None:
        shapes = {
            name: _plain_shape(parts["weight"].shape)
            for name, parts in raw.items()
            if "weight" in parts
        }
        sizes = networks.infer(name, shapes)
    return networks.build(name, {**sizes, **parameters})


def narrowed(values: np.ndarray) -> tuple[np.ndarray, int]:
    """(float32, how many values other than 0 became 0). What is larger becomes infinite."""
    with np.errstate(over="ignore", under="ignore"):
        plain = values.astype(np.float32, copy=False)
    if values.dtype.itemsize <= plain.dtype.itemsize:
        return plain, 0
    return plain, int(np.count_nonzero(values) - np.count_nonzero(plain))


def random_weights(network: Network, seed: int) -> Weights:
    """He et al. 2015: normal weights of variance 2 / fan-in, zero biases.

    What an addition reads has less, so that sums do not double from block to block.
    """
    rng = np.random.default_rng(seed)
    weight, bias = {}, {}
    shares = _shares(network)
    for name, shape in network.weight_shapes().items():
        deviation = np.float32(np.sqrt(2.0 / shares.get(name, 1) / np.prod(shape[1:])))
        weight[name] = rng.standard_normal(shape, dtype=np.float32) * deviation
        bias[name] = np.zeros(shape[0], np.float32)
    return Weights(
        weight, bias, {"network": network.name, "source": f"He-initialised, seed {seed}"}
    )


def _shares(network: Network) -> dict[str, int]:
    """By what the variance of a layer that an addition reads is divided: where there is nothing but
    layers with weights, by how many there are; beside a shortcut, by the number of additions."""
    weighted, shares = network.weight_shapes(), {}
    additions = [node for node in network.nodes if node.layer.several and node.layer.makes_sums]
    for node in additions:
        own = [name for name in node.inputs if name in weighted]
        alone = len(own) == len(node.inputs)
        shares.update(dict.fromkeys(own, len(own) if alone else len(additions)))
    return shares


def save(path: str | Path, network: Network, weights: Weights) -> None:
    """Writes refq's layout; the file appears only when it is complete."""
    path = Path(path)
    if not path.parent.is_dir():
        raise WeightsError(f"cannot write {path}", "a file in an existing folder")
    stated = {**weights.metadata, "network": network.name, "sha256": weights.sha256}
    if not description.described(network):
        stated["parameters"] = dict(network.parameters)
    attributes = {
        key: json.dumps(value) if key in JSON_ATTRIBUTES else value for key, value in stated.items()
    }

    def write(partial: Path) -> None:
        with Created(partial) as file:
            for name in network.weight_shapes():
                file.put(f"{name}/weight", weights.weight[name].astype(np.float32))
                file.put(f"{name}/bias", weights.bias[name].astype(np.float32))
            if description.described(network):
                file.put(description.PLACE, np.frombuffer(description.to_bytes(network), np.uint8))
            file.state("/", attributes)

    writing.write_whole(str(path), write)


def seed_of(source: str) -> int:
    """The number of `random:SEED`."""
    text = source.partition(":")[2]
    if not text.isdecimal():
        raise OptionError(f"weights {source!r}", "random:SEED with a whole number")
    return int(text)


Raw = dict[str, dict[str, Dataset]]


def _check_kind(path: Path) -> None:
    """Raises WeightsError where there is no file, or one that is something else."""
    if not path.exists():
        raise WeightsError(f"no weight file at {path}", remedy="check the path given to --weights")
    try:
        head = kinds.head_of(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror})", WANTED) from None
    if other := _of_others(path, head):
        raise _foreign(path, other)
    what, _ = kinds.kind(path, head)
    if what or not head:
        raise WeightsError(f"{path} is {what or 'an empty file'}", WANTED, "see docs/weights.md")


def _foreign(path: Path, other: str) -> WeightsError:
    command = f"python -m refq.convert {path} -o weights.h5"
    return WeightsError(f"{path} is {other}", WANTED, f"convert it: {command}")


def _layers(file: File) -> Raw:
    """Datasets of each layer, keyed weight and bias. A layer's name may contain slashes."""
    root, raw = file.root, Raw()
    if {"layer_names", "keras_version"} & set(root.attributes) or "model_weights" in root.names:
        raise _foreign(file.path, "a file of Keras")
    caffe = isinstance(file.nodes.get("data"), Group)
    keys = ("0", "1") if caffe else ("weight", "bias")
    for name, dataset in file.datasets(file.group("data") if caffe else root):
        layer, _, part = name.rpartition("/")
        if name == description.PLACE and not caffe:
            continue
        if part not in keys:
            raise WeightsError(
                f"{file.path}: dataset {shown(name)}",
                f"{keys[0]} and {keys[1]} in each layer's group",
                "see docs/weights.md for the layouts refq reads",
            )
        if not dataset.shape:
            raise WeightsError(f"{file.path}: {shown(name)} is a scalar", "an array")
        if dataset.hollow:
            found = f"{shown(name)} of {dataset.nbytes:,} bytes, of which it stores hardly any"
            raise WeightsError(f"{file.path}: {found}", "a complete file", "fetch it again")
        raw.setdefault(layer, {})["weight" if part == keys[0] else "bias"] = dataset
    if not raw:
        raise WeightsError(f"{file.path} holds no layers", "a group per layer with weight and bias")
    return raw


WANTED = "weights in refq's HDF5"
# how files of other formats end, and what their bytes begin with
OTHERS = {
    (".pth", ".pt", ".pth.tar", ".bin", ".ckpt"): (b"PK", b"\x80"),
    (".keras",): (b"PK",),
    (".onnx",): (b"\x08", b"\x12", b"\x1a", b"\x22", b"\x3a", b"\x42"),
    (".caffemodel",): (b"\x0a", b"\x12", b"\x1a", b"\xa2"),
    (".mat",): (b"MATLAB",),
    (".safetensors",): (b"",),
}
NAMES = ("PyTorch", "Keras", "ONNX", "Caffe", "MATLAB", "safetensors")


def _of_others(path: Path, head: bytes) -> str:
    """What refq.convert reads, in words; empty for anything else."""
    for name, (ends, begins) in zip(NAMES, OTHERS.items()):
        if path.name.lower().endswith(ends) and head.startswith(begins):
            return f"a file of {name}"
    zipped = head.startswith(b"PK\3\4") and path.suffix != ".npz"
    return "a zip archive, as PyTorch and Keras write" if zipped else ""


def _metadata(file: File) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    attributes = file.root.attributes
    for key in (*TEXT_ATTRIBUTES, *JSON_ATTRIBUTES):
        value = attributes.get(key)
        if isinstance(value, Foreign):
            raise WeightsError(f"{file.path}: attribute {key!r} ({value.why})", "text")
        size = len(value) if isinstance(value, str) else 0
        if size > (LONGEST_TEXT if key in TEXT_ATTRIBUTES else LONGEST_JSON):
            raise WeightsError(f"{file.path}: attribute {key!r} of {size:,} letters", "a short one")
        if value is not None:
            metadata[key] = str(value) if key in TEXT_ATTRIBUTES else value
    for key in metadata.keys() & set(JSON_ATTRIBUTES):
        try:
            metadata[key] = json_.parse(metadata[key].encode())
        except (AttributeError, ValueError):  # a number, or no JSON
            raise WeightsError(f"{file.path}: attribute {key!r}", "JSON text") from None
        if not isinstance(metadata[key], dict):
            raise WeightsError(f"{file.path}: attribute {key!r}", "a JSON object")
    return metadata


def _plain_shape(shape: Shape) -> Shape:
    """Old Caffe blobs are always 4-D: (1, 1, O, K) is a dense weight (O, K)."""
    return tuple(shape[2:]) if len(shape) == 4 and shape[:2] == (1, 1) else tuple(shape)


def _same(shape: Shape, want: Shape) -> bool:
    """Equal but for the leading ones of old Caffe blobs."""
    extra = len(shape) - len(want)
    return extra >= 0 and shape[extra:] == want and all(size == 1 for size in shape[:extra])


def _checked(network: Network, raw: Raw, metadata: dict[str, Any], file: File) -> Weights:
    """Every layer, shape, dtype and value against the network; all problems in one error. Only what
    has the shape that the network wants is read."""
    wanted = network.weight_shapes()
    problems = [f"unknown layer {shown(name)!r}" for name in raw if name not in wanted]
    weight: dict[str, np.ndarray] = {}
    bias: dict[str, np.ndarray] = {}
    for name, shape in wanted.items():
        if name not in raw:
            problems.append(f"missing layer {name!r}")
            continue
        for label, target, want in (("weight", weight, shape), ("bias", bias, shape[:1])):
            dataset = raw[name].get(label)
            if dataset is None:
                problems.append(f"{name}: {label} is missing")
                continue
            if not _same(dataset.shape, want):
                problems.append(f"{name}: {label} has shape {dataset.shape}, not {want}")
            elif dataset.dtype.kind != "f":
                problems.append(f"{name}: {label} has dtype {dataset.dtype}, not a float")
            else:
                array = file.read(dataset)
                values, vanished = narrowed(array)
                target[name] = np.ascontiguousarray(values.reshape(want))
                unusable = int((~np.isfinite(array)).sum())
                beyond = int((~np.isfinite(values)).sum()) - unusable
                told = {
                    "NaN or infinite values": unusable,
                    "values beyond float32": beyond,
                    "values below float32, which would be 0": vanished,
                }
                problems += [
                    f"{name}: {label} has {count} {what}" for what, count in told.items() if count
                ]
    if problems:
        more = "; ..." if len(problems) > MOST_TOLD else ""
        raise WeightsError(
            f"{file.path}: {len(problems)} problem(s): {'; '.join(problems[:MOST_TOLD])}{more}",
            f"the layers of {network.name} {dict(network.parameters)}",
        )
    return Weights(weight, bias, metadata)
