"""Keras: .h5 of weights or of a whole model (layer_names, weight_names), and Keras 3 .weights.h5.

Kernels are (rows, columns, inputs, outputs) and (inputs, outputs), images H, W, C.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from refq.hdf5.file import File, is_hdf5, opened
from refq.hdf5.nodes import Dataset, Group
from refq.importers import hdf5, keras_graph
from refq.importers.contents import Contents, Tensor, Unit, refuse
from refq.networks.layers import Shape

FORM = "Keras weights (HDF5)"
ROLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "mean",
    "moving_variance": "variance",
    # Keras 1's; its deviations are variances
    "W": "weight",
    "b": "bias",
    "running_mean": "mean",
    "running_std": "variance",
}
# Keras 1 puts the layer's name in front: block1_conv1_W_1:0
OLD = re.compile(r"(.+)_(W|b|gamma|beta|running_mean|running_std)")
LONGEST_CONFIG = 16 << 20  # bytes of a model's configuration
# of Normalization, which is adapted to the images and stands before the network
PREPARING = {"mean", "variance", "count"}
# paths of Keras 3 that are of training, and no layer's
TRAINING = {"optimizer", "metrics"}
# layers whose first array looks like another layer's kernel
STRANGE = re.compile(r"depthwise|separable|p_re_lu")


def sniff(head: bytes, path: Path) -> bool:
    if not is_hdf5(head):
        return False
    names = hdf5.top_names(path)
    return bool(names & {"@layer_names", "model_weights", "layers", "vars"}) or any(
        not name.startswith("@") for name in names - {"#refs#", "#subsystem#", "layers"}
    )


def read(path: Path) -> Contents:
    file = opened(path)
    root = file.root
    if "graph" in root.names:
        raise refuse("refq's own network", remedy="commands take it as it is, like a name")
    if "network" in root.attributes:
        raise refuse("refq's own weights", remedy="give them to --weights as they are")
    if "images" in root.names:
        raise refuse("packed images", "weights", "give them to --data")
    if "model_weights" in root.names:
        root = file.group("model_weights")
    if "layer_names" not in root.attributes:
        return keras3(file)
    found = _legacy(file, root)
    backend = hdf5.text(file.root, "backend") or hdf5.text(root, "backend")
    config = hdf5.text(file.root, "model_config")
    if not config and _channels_first(found.units.values()):
        if not backend:
            raise refuse(
                "kernels (outputs, inputs, rows, columns) of Theano's order, and nothing that says "
                "whether they are turned by half a turn",
                "the attribute backend, or a whole model",
                "save the model in the Keras that it is of",
            )
        found = replace(found, units={name: _reordered(unit) for name, unit in found.units.items()})
    if backend == "theano":
        found = replace(found, units={name: _flipped(unit) for name, unit in found.units.items()})
    return keras_graph.contents(found, config, f"{FORM}, whole model") if config else found


def _channels_first(units: Iterable[Unit]) -> bool:
    """Whether kernels are stored (outputs, inputs, rows, columns), as models have them whose
    channels come first: (rows, columns, inputs, outputs) would not be square. Units' axes are here
    as if they were."""
    weights = [unit.arrays["weight"].shape for unit in units if "weight" in unit.arrays]
    read = [shape for shape in weights if len(shape) == 4]
    return all(shape[0] == shape[1] for shape in read) and any(
        shape[2] != shape[3] for shape in read
    )


def _reordered(unit: Unit) -> Unit:
    """Of a model whose channels come first: kernels as they lie, images flattened as refq does."""
    weight = unit.arrays.get("weight")
    arrays = dict(unit.arrays)
    if weight is not None and len(weight.shape) == 4:
        arrays["weight"] = weight.transposed(2, 3, 1, 0)
    return replace(unit, arrays=arrays, channels_last=False)


def _flipped(unit: Unit) -> Unit:
    """Theano turns kernels by half a turn before it multiplies."""
    weight = unit.arrays.get("weight")
    if weight is None or len(weight.shape) != 4:
        return unit
    turned = Tensor(weight.shape, lambda: weight.load()[:, :, ::-1, ::-1])
    return replace(unit, arrays={**unit.arrays, "weight": turned})


def _legacy(file: File, root: Group) -> Contents:
    units: dict[str, Unit] = {}
    order, ignored = [], []
    for name in names_in(root, "layer_names"):
        group = file.node(f"{root.path}/{name}" if root.path else name)
        order.append(name)
        # a model within the model lists the arrays of all its layers
        layers: dict[str, dict[str, Dataset]] = {}
        for whole in names_in(group, "weight_names"):
            place = file.node(f"{group.path}/{whole}")
            if isinstance(place, Dataset):
                check_type(place)
                old = OLD.fullmatch(_bare(whole))
                parent = whole.rpartition("/")[0] or (old[1] if old else "")
                layers.setdefault(parent, {})[whole] = place
            else:
                ignored.append(whole)
        for parent, found in layers.items():
            own = parent.rpartition("/")[2] if len(layers) > 1 else name
            own = f"{name}/{parent}" if own in units else own
            parts = {whole: plain(whole) for whole in found}
            shapes = [each.shape for whole, each in found.items() if parts[whole] != "count"]
            if set(parts.values()) <= PREPARING and _of_images(shapes):
                ignored += found
                continue
            arrays: dict[str, Tensor] = {}
            for whole, place in found.items():
                role = ROLES.get(parts[whole])
                if role in arrays:
                    raise refuse(f"{whole}: a second {role} of one layer", "one")
                if role and place.has_floats:
                    arrays[role] = _turned(role, hdf5.tensor(file, place, whole))
                elif role or place.dtype.kind == "f":
                    arrays["other"] = _unread(place, whole)
                else:
                    ignored.append(whole)
            if arrays:
                units[own] = Unit(own, arrays, channels_last=True)
    return Contents("keras", f"{FORM}, legacy", units, tuple(order), tuple(ignored))


def check_type(dataset: Dataset) -> None:
    """Raises WeightsError for values of a type that HDF5 does not have: Keras 3 stores bfloat16 as
    bytes, and says so in an attribute."""
    if dataset.dtype.kind == "V":
        said = dataset.attributes.get("dtype", f"{dataset.dtype.itemsize} bytes of no known type")
        raise refuse(
            f"{dataset.path}: values of {said}", "floats", "save the model with dtype float32"
        )


def plain(whole: str) -> str:
    """`kernel` of `conv2d/kernel_1:0`, `W` of `conv2d_W_1:0`."""
    bare = _bare(whole)
    old = OLD.fullmatch(bare)
    return old[2] if old and bare not in ROLES else bare


def _bare(whole: str) -> str:
    return re.sub(r"(_\d+)?(:\d+)?$", "", whole.rpartition("/")[2])


def _of_images(shapes: Sequence[Shape]) -> bool:
    """Whether moments are those of images: of three channels, or of all as one."""
    return all(math.prod(shape) in (1, 3) for shape in shapes)


def _unread(dataset: Dataset, name: str) -> Tensor:
    """An array that no network takes: it only tells that there is a layer."""

    def load() -> np.ndarray:
        raise refuse(f"{name}: an array of unknown use")

    return Tensor(dataset.shape, load)


def names_in(place: Group | Dataset, attribute: str) -> list[str]:
    """A list of names; long ones are split into layer_names0, layer_names1, ..."""
    keys = [attribute]
    if attribute not in place.attributes:
        split = (f"{attribute}{index}" for index in range(1000))
        keys = [key for key in split if key in place.attributes]
    return [name for key in keys for name in hdf5.names(place, key)]


def keras3(file: File, names: Mapping[str, str] | None = None) -> Contents:
    """<path>/vars/0, 1, ...: a layer's arrays in the order in which it makes them. The group
    `vars` has the layer's name, where Keras wrote it (tf-keras does not); else it is that of the
    path in names, or the path stands for it."""
    listed = names or {}
    groups: dict[str, dict[str, Dataset]] = {}
    ignored = []
    for name, dataset in file.datasets(file.root):
        layer, _, key = name.rpartition("/vars/")
        if layer and not TRAINING & set(layer.split("/")):
            check_type(dataset)
            groups.setdefault(layer, {})[key] = dataset
        else:
            ignored.append(name)
    units: dict[str, Unit] = {}
    for layer in sorted(groups, key=natural):
        arrays = {key: groups[layer][key] for key in sorted(groups[layer], key=natural)}
        if _is_no_layer(layer, list(arrays.values())):
            ignored.append(layer)
            continue
        group = file.group(f"{layer}/vars")
        said = hdf5.names(group, "name") if "name" in group.attributes else []
        name = said[0] if said else listed.get(layer, layer.rpartition("/")[2])
        name = layer if name in units else name
        roles = _roles(layer, arrays)
        lazies = {
            role: _turned(role, hdf5.tensor(file, each, f"{layer}/{role}"))
            for role, each in zip(roles, arrays.values())
        } or {"other": _unread(next(iter(arrays.values())), layer)}
        units[name] = Unit(name, lazies, channels_last=True)
    return Contents("keras", f"{FORM}, Keras 3", units, tuple(units), tuple(ignored), by_name=True)


def _is_no_layer(layer: str, arrays: Sequence[Dataset]) -> bool:
    """Whether it computes nothing within a network: the state of random numbers, or a Normalization
    of images, which has two moments and a count."""
    floats = [each.dtype.kind == "f" for each in arrays]
    if floats == [True, True, False]:
        return arrays[2].shape == () and _of_images([each.shape for each in arrays[:2]])
    return not any(floats) and layer.endswith("generator")


def _roles(layer: str, arrays: Mapping[str, Dataset]) -> tuple[str, ...]:
    """What a layer's arrays are, by their count and dimensions; none where they are others'."""
    shapes = [each.shape for each in arrays.values()]
    numbered = all(key.isdecimal() and len(key) <= 3 for key in arrays)
    if not numbered or not all(each.has_floats for each in arrays.values()):
        return ()
    if STRANGE.match(layer.rpartition("/")[2]):
        return ()
    dimensions = [len(shape) for shape in shapes]
    if set(dimensions) == {1} and len(shapes) <= 4:
        return ("gamma", "beta", "mean", "variance")[: len(shapes)]
    # a depthwise kernel's last axis is 1 as well, but it has a bias for each of its inputs
    if dimensions in ([4, 1], [2, 1]) and shapes[1] != shapes[0][-1:] == (1,):
        return ()
    return ("weight", "bias")[: len(shapes)] if dimensions in ([4], [2], [4, 1], [2, 1]) else ()


def natural(name: str) -> list[tuple[int, str]]:
    """conv2d before conv2d_1 before conv2d_10."""
    return [
        (int(part or 0), "") if part.isdecimal() and len(part) < 10 else (0, part)
        for part in re.split(r"(\d+)", name)
    ]


def _turned(role: str, tensor: Tensor) -> Tensor:
    if role == "weight" and len(tensor.shape) == 4:
        return tensor.transposed(3, 2, 0, 1)
    return tensor.transposed(1, 0) if role == "weight" and len(tensor.shape) == 2 else tensor
