"""Configurations of whole Keras models: refq's networks as Keras 2 and Keras 1 state them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import h5py

from refq.networks import Network
from refq.networks.layers import Add, Concat, Conv, Dense, GlobalAvgPool, Layer, MaxPool
from tests.importers import weight_files

Model = dict[str, Any]
Change = Callable[[Model], None]


def model(network: Network, names: Mapping[str, str], data_format: str = "channels_last") -> Model:
    """A Functional model of Keras 2. names: Keras' of layers with weights; others keep refq's."""
    shape = [None, *network.input_shape[1:], network.input_shape[0]]
    if data_format == "channels_first":
        shape = [None, *network.input_shape]
    layers = [_layer("InputLayer", "data", [], {"batch_input_shape": shape, "dtype": "float32"})]
    called = {"data": "data"}
    for node in network.nodes:
        inputs = [called[name] for name in node.inputs]
        source = network.shapes[node.inputs[0]]
        if isinstance(node.layer, Dense) and len(source) == 3:
            layers.append(_layer("Flatten", "flatten", inputs, {"data_format": data_format}))
            inputs = ["flatten"]
        if _padded(node.layer):
            top, left, bottom, right = node.layer.pads
            said = {"padding": [[top, bottom], [left, right]], "data_format": data_format}
            layers.append(_layer("ZeroPadding2D", f"{node.name}_pad", inputs, said))
            inputs = [f"{node.name}_pad"]
        name = called[node.name] = names.get(node.name, node.name)
        kind, fields = _fields(node.layer, data_format)
        layers.append(_layer(kind, name, inputs, fields))
    ends = [called[network.output], 0, 0]
    return {
        "class_name": "Functional",
        "config": {"name": "model", "layers": layers, "output_layers": [ends]},
    }


def _padded(layer: Layer) -> TypeGuard[Conv | MaxPool]:
    """Whether zeros are a layer of their own, as where "same" would put them elsewhere."""
    if isinstance(layer, Conv):
        return any(layer.pads) and layer.strides != (1, 1)
    return isinstance(layer, MaxPool) and any(layer.pads)


def _layer(kind: str, name: str, inputs: list[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    config = {"name": name, "trainable": True, **fields}
    calls = [[[each, 0, 0, {}] for each in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": calls}


def _fields(layer: Layer, data_format: str) -> tuple[str, dict[str, Any]]:
    match layer:
        case Conv(out_channels=count, kernel=kernel, strides=strides, pads=pads, group=group):
            return "Conv2D", {
                "filters": count,
                "kernel_size": list(kernel),
                "strides": list(strides),
                "padding": "same" if any(pads) and strides == (1, 1) else "valid",
                "data_format": data_format,
                "dilation_rate": [1, 1],
                "groups": group,
                "activation": "linear",
                "use_bias": True,
                "kernel_initializer": {"class_name": "Zeros", "config": {}},
                "bias_regularizer": None,
            }
        case Dense(out_features=count):
            return "Dense", {"units": count, "activation": "linear", "use_bias": True}
        case MaxPool(kernel=kernel, strides=strides):
            return "MaxPooling2D", {
                "pool_size": list(kernel),
                "strides": list(strides),
                "padding": "valid",
                "data_format": data_format,
            }
        case GlobalAvgPool():
            return "GlobalAveragePooling2D", {"data_format": data_format, "keepdims": False}
        case Add():
            return "Add", {}
        case Concat():
            return "Concatenate", {"axis": 3 if data_format == "channels_last" else 1}
    return "Activation", {"activation": "relu"}


def save(
    path: Path, arrays: Mapping[str, Mapping[str, Any]], made: Model, **attributes: str
) -> None:
    """A whole model as Keras 1 and 2 write it."""
    weight_files.keras(path, arrays, whole=True)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(made)
        for name, value in attributes.items():
            file.attrs[name] = value


def layer(made: Model, name: str) -> dict[str, Any]:
    """The entry of a layer."""
    (found,) = (each for each in made["config"]["layers"] if each["name"] == name)
    return found


def put(name: str, **fields: Any) -> Change:
    """Changes fields of a layer's configuration."""
    return lambda made: layer(made, name)["config"].update(fields)


def become(name: str, kind: str, **fields: Any) -> Change:
    """Makes it a layer of another kind."""

    def change(made: Model) -> None:
        layer(made, name)["class_name"] = kind
        layer(made, name)["config"] = {"name": name, **fields}

    return change
