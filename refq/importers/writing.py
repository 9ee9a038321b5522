"""refq's weight file, written layer by layer, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from refq.files import writing
from refq.hdf5.created import Created
from refq.networks import Network
from refq.networks.weights import hashed

Layers = Iterable[tuple[str, np.ndarray, np.ndarray]]


def write(out: Path, network: Network, layers: Layers, stated: Mapping[str, str]) -> str:
    """The hash of the weights, refq.networks.weights.Weights.sha256.

    layers: (name, weight, bias) of all layers of the network, float32, one in memory at a time.
    stated: attributes of the file. Raises OptionError where it cannot be written.
    """
    digests = []

    def whole(place: Path) -> None:
        if not place.exists():
            digests.append(_hdf5(place, network, layers, stated))
            return
        # a device or a pipe: HDF5 goes back and forth in what it writes
        with tempfile.TemporaryDirectory() as folder:
            whole(Path(folder) / "weights.h5")
            with (Path(folder) / "weights.h5").open("rb") as file, place.open("wb") as device:
                shutil.copyfileobj(file, device)

    writing.write_whole(str(out), whole)
    return digests[0]


def _hdf5(place: Path, network: Network, layers: Layers, stated: Mapping[str, str]) -> str:
    with Created(place) as file:
        for layer, weight, bias in layers:
            file.put(f"{layer}/weight", weight)
            file.put(f"{layer}/bias", bias)
        digest = hashed(
            (layer, file.values(f"{layer}/{part}"))
            for layer in sorted(network.weight_shapes())
            for part in ("weight", "bias")
        )
        file.state("/", {**stated, "sha256": digest})
    return digest
