"""Caffe's .caffemodel.h5: data/<layer>/<number>, as Net.save_hdf5 writes it."""

from __future__ import annotations

from pathlib import Path

from refq.hdf5.file import is_hdf5, opened
from refq.importers import caffe_graph, hdf5
from refq.importers.contents import Contents, Tensor, Unit, refuse

FORM = "Caffe caffemodel.h5"


def sniff(head: bytes, path: Path) -> bool:
    return is_hdf5(head) and "data" in hdf5.top_names(path)


def read(path: Path) -> Contents:
    layers: dict[str, dict[int, Tensor]] = {}
    file = opened(path)
    for name, dataset in file.datasets(file.group("data")):
        layer, _, number = name.rpartition("/")
        if not number.isdecimal() or len(number) > 2:
            raise refuse(f"data/{name}", "datasets named 0, 1, 2 in each layer's group")
        layers.setdefault(layer, {})[int(number)] = hdf5.tensor(file, dataset, name)
    units: dict[str, Unit] = {}
    for layer, blobs in layers.items():
        if sorted(blobs) != list(range(len(blobs))):
            raise refuse(f"{layer}: arrays numbered {sorted(blobs)}", "0, 1, ...")
        units[layer] = caffe_graph.unit(layer, [blobs[number] for number in sorted(blobs)])
    return Contents("caffe", FORM, units, tuple(units), by_name=True)
