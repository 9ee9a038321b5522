"""Where the arrays of a Keras model's layers are, in its files of any age."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from refq.hdf5.file import File
from refq.hdf5.nodes import Dataset, Group
from refq.importers import hdf5
from refq.importers.contents import Tensor, refuse
from refq.importers.keras import check_type, names_in, natural, plain


class Arrays(Protocol):
    def of(self, models: tuple[str, ...], name: str, path: str) -> Mapping[str, Tensor]:
        """The arrays of a layer, in order. models: in which it is, from the outermost, below the
        whole. path: the layer's in Keras 3's files."""


def _tensor(file: File, dataset: Dataset, name: str) -> Tensor:
    """One that is read when it is asked for; only then its values have to be floats."""
    check_type(dataset)
    return Tensor(dataset.shape, lambda: hdf5.tensor(file, dataset, name).load())


class Legacy:
    """.h5 of a whole model: a group of each layer, with the names of its arrays in an attribute. A
    model within has the arrays of all its layers in one group, each below the layer's name."""

    def __init__(self, file: File, root: Group) -> None:
        self.file, self.root = file, root
        self.known: dict[str, dict[str, Dataset]] = {}

    def _group(self, name: str) -> dict[str, Dataset]:
        """{path within the group: dataset}."""
        if name not in self.known:
            found = {}
            place = f"{self.root.path}/{name}" if self.root.path else name
            if place in self.file.nodes:
                group = self.file.node(place)
                for whole in names_in(group, "weight_names"):
                    node = self.file.node(f"{place}/{whole}")
                    if isinstance(node, Dataset):
                        found[whole] = node
            self.known[name] = found
        return self.known[name]

    def of(self, models: tuple[str, ...], name: str, path: str) -> Mapping[str, Tensor]:
        arrays = self._group(models[0] if models else name)
        if models:
            arrays = {key: each for key, each in arrays.items() if _parent(key) == name}
            parents = {key.rpartition("/")[0] for key in arrays}
            if len(parents) > 1:
                inner = models[-1]
                arrays = {key: each for key, each in arrays.items() if inner in key.split("/")[:-2]}
        found: dict[str, Tensor] = {}
        for whole, dataset in arrays.items():
            if plain(whole) in found:
                raise refuse(f"{name}: {whole}, a second {plain(whole)} of one layer", "one")
            found[plain(whole)] = _tensor(self.file, dataset, whole)
        return found


def _parent(whole: str) -> str:
    """The layer of `model/conv/kernel:0`; of Keras 1's conv_W too."""
    parent = whole.rpartition("/")[0].rpartition("/")[2]
    old = re.fullmatch(r"(.+)_(W|b|gamma|beta|running_mean|running_std)(_\d+)?(:\d+)?", whole)
    return parent or (old[1] if old else "")


class Numbered:
    """model.weights.h5 of a .keras file: <path of the layer>/vars/0, 1, ..."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.root = file.root

    def of(self, models: tuple[str, ...], name: str, path: str) -> Mapping[str, Tensor]:
        place = f"{path}/vars"
        if place not in self.file.nodes:
            place = re.sub(r"(^|/)layers/", r"\1_layer_checkpoint_dependencies/", place)
        node = self.file.nodes.get(place)
        if not isinstance(node, Group):
            return {}
        found = {}
        for key in sorted(node.names, key=natural):
            dataset = self.file.dataset(f"{place}/{key}")
            found[key] = _tensor(self.file, dataset, f"{path}/{key}")
        return found
