"""Keras: .h5 of weights or of a whole model (layer_names, weight_names), and Keras 3 .weights.h5.

Kernels are (rows, columns, inputs, outputs) and (inputs, outputs), images H, W, C.
"""

from __future__ import annotations

import re
from pathlib import Path

import h5py

from importers import hdf5
from importers.contents import Contents, Tensor, Unit, refuse
from importers.hdf5_text import Heaps, names

FORM = "Keras weights (HDF5)"
ROLES = {
    "kernel": "weight", "bias": "bias", "gamma": "gamma", "beta": "beta",
    "moving_mean": "mean", "moving_variance": "variance",
}  # fmt: skip


def sniff(head: bytes, path: Path) -> bool:
    if not hdf5.is_hdf5(head):
        return False
    names = hdf5.top_names(path)
    return bool(names & {"@layer_names", "model_weights", "layers", "vars"}) or any(
        not name.startswith("@") for name in names - {"#refs#", "#subsystem#", "layers"}
    )


def read(path: Path) -> Contents:
    with hdf5.opened(path) as file:
        if "network" in file.attrs:
            raise refuse("refq's own weights", remedy="give them to --weights as they are")
        root: h5py.Group = file
        if "model_weights" in file:
            root = hdf5.member(file, "model_weights")
        if "layer_names" in root.attrs:
            return _legacy(root, path)
        return _keras3(file, path)


def _legacy(root: h5py.Group, path: Path) -> Contents:
    units: dict[str, Unit] = {}
    order, ignored = [], []
    heaps = Heaps(path)
    for name in _names(root, "layer_names", heaps):
        group = hdf5.member(root, name)
        order.append(name)
        # a model within the model lists the arrays of all its layers
        layers: dict[str, dict[str, Tensor]] = {}
        for whole in _names(group, "weight_names", heaps):
            parent, _, last = whole.rpartition("/")
            arrays = layers.setdefault(parent, {})
            role = ROLES.get(re.sub(r"(_\d+)?(:\d+)?$", "", last))
            place = hdf5.member(group, whole)
            if role in arrays:
                raise refuse(f"{whole}: a second {role} of one layer", "one")
            if role and isinstance(place, h5py.Dataset) and hdf5.has_floats(place):
                arrays[role] = _turned(role, hdf5.tensor(place, whole, path))
            else:
                ignored.append(whole)
        for parent, arrays in layers.items():
            own = parent.rpartition("/")[2] if len(layers) > 1 else name
            own = f"{name}/{parent}" if own in units else own
            if arrays:
                units[own] = Unit(own, arrays, channels_last=True)
    return Contents("keras", f"{FORM}, legacy", units, tuple(order), tuple(ignored))


def _names(group: h5py.Group | h5py.Dataset, attribute: str, heaps: Heaps) -> list[str]:
    """A list of names; long ones are split into layer_names0, layer_names1, ..."""
    keys = [attribute]
    if attribute not in group.attrs:
        keys = [
            f"{attribute}{index}" for index in range(1000) if f"{attribute}{index}" in group.attrs
        ]
    return [name for key in keys for name in names(group, key, heaps)]


def _keras3(file: h5py.File, path: Path) -> Contents:
    """<path>/vars/0, 1, ...: a layer's arrays in the order in which it makes them. The group
    `vars` has the layer's name, where Keras wrote it; else the path stands for it."""
    groups: dict[str, dict[int, h5py.Dataset]] = {}
    ignored = []
    heaps = Heaps(path)
    for name, dataset in hdf5.walk(file):
        layer, _, number = name.rpartition("/vars/")
        if layer and number.isdecimal() and len(number) <= 3 and "optimizer" not in layer:
            groups.setdefault(layer, {})[int(number)] = dataset
        else:
            ignored.append(name)
    units: dict[str, Unit] = {}
    for layer in sorted(groups, key=_natural):
        arrays = [groups[layer][number] for number in sorted(groups[layer])]
        if not all(map(hdf5.has_floats, arrays)):
            ignored.append(layer)
            continue
        roles = (
            ["gamma", "beta", "mean", "variance"]
            if len(arrays[0].shape) == 1
            else ["weight", "bias"]
        )
        if len(arrays) > len(roles):
            ignored.append(layer)
            continue
        group = hdf5.member(file, f"{layer}/vars")
        said = names(group, "name", heaps) if "name" in group.attrs else []
        name = said[0] if said else layer.rpartition("/")[2]
        name = layer if name in units else name
        lazies = {
            role: _turned(role, hdf5.tensor(each, f"{layer}/{role}", path))
            for role, each in zip(roles, arrays)
        }
        units[name] = Unit(name, lazies, channels_last=True)
    return Contents("keras", f"{FORM}, Keras 3", units, tuple(units), tuple(ignored), by_name=True)


def _natural(name: str) -> list[tuple[int, str]]:
    """conv2d before conv2d_1 before conv2d_10."""
    return [(int(part or 0), "") if part.isdecimal() and len(part) < 10 else (0, part)
            for part in re.split(r"(\d+)", name)]  # fmt: skip


def _turned(role: str, tensor: Tensor) -> Tensor:
    if role == "weight" and len(tensor.shape) == 4:
        return tensor.transposed(3, 2, 0, 1)
    return tensor.transposed(1, 0) if role == "weight" and len(tensor.shape) == 2 else tensor
