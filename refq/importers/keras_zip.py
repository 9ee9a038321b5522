"""Keras 3's .keras: a zip archive of config.json and model.weights.h5."""

from __future__ import annotations

import json
from pathlib import Path

from refq.hdf5.file import opened
from refq.importers import keras, keras_graph
from refq.importers.contents import Contents, refuse
from refq.importers.keras_config import stored_names
from refq.importers.torch_zip import Members, directory

FORM = "Keras model (.keras)"
CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def sniff(head: bytes, path: Path) -> bool:
    return head[:4] == b"PK\x03\x04" and {CONFIG, WEIGHTS} <= {
        info.filename for info in directory(path)
    }


def read(path: Path) -> Contents:
    members = Members(path)
    begin, end = members.place(CONFIG)
    if end - begin > keras.LONGEST_CONFIG:
        raise refuse(f"{CONFIG} of {end - begin:,} bytes", f"{keras.LONGEST_CONFIG:,} or less")
    config = members.data[begin:end].decode("utf-8", "replace")
    names = stored_names(json.loads(config))
    found = keras.keras3(opened(path, *members.place(WEIGHTS)), names)
    return keras_graph.contents(found, config, FORM)
