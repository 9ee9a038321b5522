"""refq's weight file, written layer by layer, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np

from refq import writing
from refq.networks import Network
from refq.networks.weights import hashed

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
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
    _reserve(place, network)
    with h5py.File(place, "w") as file:
        for layer, weight, bias in layers:
            file[f"{layer}/weight"] = weight
            file[f"{layer}/bias"] = bias
        digest = hashed(
            (layer, file[f"{layer}/{part}"][()])
            for layer in sorted(network.weight_shapes())
            for part in ("weight", "bias")
        )
        file.attrs.update({**stated, "sha256": digest})
    return digest


def _reserve(place: Path, network: Network) -> None:
    """Raises OSError where the disk has too little left. HDF5 would end the process then."""
    shapes = network.weight_shapes().values()
    size = sum(4 * int(np.prod(shape)) + 4 * shape[0] + 4096 for shape in shapes)
    with place.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno in FULL:  # else the file system cannot reserve
                    raise
