"""VGG-16 in every format that refq.convert reads: small for tests and for fuzzing."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.peers.onnx_graph import to_onnx
from refq import networks
from refq.networks import Network, Node
from refq.networks.layers import LRN, Conv, Dense, GlobalAvgPool, MaxPool
from refq.networks.weights import Weights, random_weights
from tests.importers import caffe_files, keras_models, weight_files

# 16 channels of 2x2 reach fc6
SIZES = {"width": 1 / 32, "input_size": 64, "hidden": 7, "classes": 5}
TORCH = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def case(name: str = "vgg16", seed: int = 3) -> tuple[Network, Weights]:
    """A narrow network with random weights and biases."""
    return _filled(networks.build(name, SIZES if name == "vgg16" else {"width": 1 / 16}), seed)


def full_size(name: str, seed: int = 7) -> tuple[Network, Weights]:
    return _filled(networks.build(name), seed)


def _filled(network: Network, seed: int) -> tuple[Network, Weights]:
    weights, rng = random_weights(network, seed), np.random.default_rng(seed)
    bias = {
        layer: rng.normal(0, 0.1, array.shape).astype(np.float32)
        for layer, array in weights.bias.items()
    }
    return network, replace(weights, bias=bias)


def torch_arrays(weights: Weights) -> dict[str, np.ndarray]:
    """torchvision's names of VGG-16."""
    own = [f"features.{index}" for index in TORCH] + [
        "classifier.0",
        "classifier.3",
        "classifier.6",
    ]
    arrays = {}
    for layer, name in zip(weights.weight, own):
        arrays[f"{name}.weight"] = weights.weight[layer]
        arrays[f"{name}.bias"] = weights.bias[layer]
    return arrays


def matlab_layers(network: Network, weights: Weights) -> list[weight_files.MatlabLayer]:
    """(rows, columns, inputs, outputs); dense layers as convolutions over the whole input."""
    found = []
    for node in network.nodes:
        arrays: list[np.ndarray] = []
        if node.name in weights.weight:
            array = weights.weight[node.name]
            if isinstance(node.layer, Dense):
                source = network.shapes[node.inputs[0]]
                array = array.reshape(-1, *(source if len(source) == 3 else (*source, 1, 1)))
            arrays = [array.transpose(2, 3, 1, 0), weights.bias[node.name].reshape(1, -1)]
        kind, fields = _matlab_fields(network, node)
        found.append(weight_files.MatlabLayer(node.name, kind, arrays, fields))
    return found


def _matlab_fields(network: Network, node: Node) -> tuple[str, dict[str, Any]]:
    """(type, fields) of a SimpleNN layer. Pools that round up have more rows and columns behind."""
    match node.layer:
        case Conv(strides=strides, pads=(top, left, bottom, right)):
            return "conv", {"stride": strides, "pad": (top, bottom, left, right)}
        case Dense():
            return "conv", {"stride": 1.0, "pad": 0.0}
        case MaxPool(kernel=kernel, strides=strides, pads=(top, left, _, _)):
            before, after = network.shapes[node.inputs[0]], network.shapes[node.name]
            ends = [
                (after[1 + axis] - 1) * strides[axis] + kernel[axis] - before[1 + axis] - first
                for axis, first in ((0, top), (1, left))
            ]
            pads = (top, max(0, ends[0]), left, max(0, ends[1]))
            return "pool", {"method": "max", "pool": kernel, "stride": strides, "pad": pads}
        case GlobalAvgPool():
            return "pool", {"method": "avg", "pool": network.shapes[node.inputs[0]][1:]}
        case LRN(size=size, alpha=alpha, beta=beta, bias=bias):
            return "normalize", {"param": (size, bias, alpha / size, beta)}
    return type(node.layer).__name__.lower(), {}


def keras_layers(network: Network, weights: Weights) -> dict[str, dict[str, np.ndarray]]:
    """Keras' names and axes of VGG-16."""
    tops = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    found = {}
    for node in network.weighted:
        array, source = weights.weight[node.name], network.shapes[node.inputs[0]]
        if isinstance(node.layer, Conv):
            kernel = array.transpose(2, 3, 1, 0)
        elif len(source) == 3:
            kernel = array.reshape(-1, *source).transpose(2, 3, 1, 0).reshape(-1, len(array))
        else:
            kernel = array.T
        name = tops.get(node.name, f"block{node.name[4:5]}_conv{node.name[6:]}")
        found[name] = {"kernel": kernel, "bias": weights.bias[node.name]}
    return found


def keras_resnet(weights: Weights, given: weight_files.Norms) -> dict[str, dict[str, np.ndarray]]:
    """Keras' names and axes of ResNet-50, without biases of convolutions."""
    branches = {"branch1": 0, "branch2a": 1, "branch2b": 2, "branch2c": 3}
    layers = {}
    for layer, weight in weights.weight.items():
        if layer == "fc1000":
            layers["predictions"] = {"kernel": weight.T, "bias": weights.bias[layer]}
            continue
        match = re.fullmatch(r"res(\d)([a-f])_(branch\d[abc]?)", layer)
        own = "conv1"
        if match:
            own = f"conv{match[1]}_block{ord(match[2]) - 96}_{branches[match[3]]}"
        layers[f"{own}_conv"] = {"kernel": weight.transpose(2, 3, 1, 0)}
        norm = given[layer]
        layers[f"{own}_bn"] = {
            "gamma": norm["gamma"],
            "beta": norm["beta"],
            "moving_mean": norm["mean"],
            "moving_variance": norm["variance"],
        }
    return layers


def torch_resnet(
    weights: Weights, given: weight_files.Norms, classifier: str = "fc"
) -> dict[str, np.ndarray]:
    """PyTorch's names of a ResNet, torchvision's or one for CIFAR-10."""
    branches = {
        "branch2a": "conv1",
        "branch2b": "conv2",
        "branch2c": "conv3",
        "branch1": "downsample.0",
    }
    roles = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}
    arrays: dict[str, np.ndarray] = {}
    for layer, weight in weights.weight.items():
        own = layer
        if match := re.fullmatch(r"res(\d)_(\d)_(conv\d)", layer):
            own = f"layer{match[1]}.{int(match[2]) - 1}.{match[3]}"
        elif match := re.fullmatch(r"res(\d)([a-f])_(branch\d[abc]?)", layer):
            own = f"layer{int(match[1]) - 1}.{ord(match[2]) - 97}.{branches[match[3]]}"
        if layer.startswith("fc"):
            arrays |= {f"{classifier}.weight": weight, f"{classifier}.bias": weights.bias[layer]}
            continue
        arrays[f"{own}.weight"] = weight
        norm = own.replace("conv", "bn").replace("downsample.0", "downsample.1")
        arrays |= {f"{norm}.{role}": given[layer][key] for role, key in roles.items()}
    return arrays


def caffe_hdf5(path: Path, network: Network, weights: Weights) -> None:
    with h5py.File(path, "w") as file:
        for layer in weights.weight:
            file[f"data/{layer}/0"] = weights.weight[layer]
            file[f"data/{layer}/1"] = weights.bias[layer]


def _keras3(path: Path, network: Network, weights: Weights, named: bool = True) -> None:
    layers = keras_layers(network, weights)
    weight_files.keras3(
        path, {name: list(arrays.values()) for name, arrays in layers.items()}, named
    )


def _keras_stated(path: Path, network: Network, weights: Weights) -> None:
    arrays = keras_layers(network, weights)
    made = keras_models.model(network, dict(zip(weights.weight, arrays)))
    keras_models.save(path, arrays, made)


def keras_archive(path: Path, arrays: Mapping[str, Sequence[np.ndarray]], config: str) -> None:
    """A .keras: config.json and model.weights.h5 in a zip archive."""
    inner = path.with_name("model.weights.h5")
    weight_files.keras3(inner, arrays)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", config)
        archive.write(inner, inner.name)
    inner.unlink()


def _keras_archive(path: Path, network: Network, weights: Weights) -> None:
    layers = keras_layers(network, weights)
    made = keras_models.model(network, dict(zip(weights.weight, layers)))
    arrays = {name: list(parts.values()) for name, parts in layers.items()}
    keras_archive(path, arrays, json.dumps(made))


WRITERS: dict[str, tuple[str, Callable[[Path, Network, Weights], object]]] = {
    "torch_zip": ("w.pth", lambda p, n, w: weight_files.torch_file(p, torch_arrays(w))),
    "torch_legacy": ("w.pth", lambda p, n, w: weight_files.torch_file(p, torch_arrays(w), True)),
    "safetensors": ("w.safetensors", lambda p, n, w: weight_files.safetensors(p, torch_arrays(w))),
    "caffe_v1": ("w.caffemodel", lambda p, n, w: caffe_files.caffemodel(p, n, w, True, "legacy")),
    "caffe_v2": ("w.caffemodel", caffe_files.caffemodel),
    "caffe_single": (
        "w.caffemodel",
        lambda p, n, w: caffe_files.caffemodel(p, n, w, False, "single"),
    ),
    "caffe_double": (
        "w.caffemodel",
        lambda p, n, w: caffe_files.caffemodel(p, n, w, False, "double"),
    ),
    "caffe_hdf5": ("w.caffemodel.h5", caffe_hdf5),
    "keras": ("w.h5", lambda p, n, w: weight_files.keras(p, keras_layers(n, w))),
    "keras_model": ("w.h5", lambda p, n, w: weight_files.keras(p, keras_layers(n, w), True)),
    "keras_stated": ("w.h5", _keras_stated),
    "keras_archive": ("w.keras", _keras_archive),
    "keras3": ("w.weights.h5", _keras3),
    "keras3_unnamed": ("w.weights.h5", lambda p, n, w: _keras3(p, n, w, False)),
    "onnx": ("w.onnx", lambda p, n, w: p.write_bytes(to_onnx(n, w).SerializeToString())),
    "matconvnet_v6": ("w.mat", lambda p, n, w: weight_files.matconvnet(p, matlab_layers(n, w))),
    "matconvnet_v7": (
        "w.mat",
        lambda p, n, w: weight_files.matconvnet(p, matlab_layers(n, w), True),
    ),
    "matconvnet_dag": (
        "w.mat",
        lambda p, n, w: weight_files.matconvnet_dag(p, matlab_layers(n, w)),
    ),
    "matconvnet_v73": ("w.mat", lambda p, n, w: weight_files.matconvnet73(p, matlab_layers(n, w))),
}
