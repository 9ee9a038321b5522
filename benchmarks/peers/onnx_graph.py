"""A refq network with its weights as an ONNX model: for benchmarks and for tests in float."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from refq.errors import OptionError
from refq.networks import Network, Node
from refq.networks.layers import (
    LRN,
    Add,
    AvgPool,
    Clip,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    MaxPool,
    ReLU,
    Softmax,
    Subsample,
)
from refq.networks.weights import Weights

OPSET = 17


def to_onnx(network: Network, weights: Weights) -> onnx.ModelProto:
    """The network as an ONNX model with a free batch size."""
    nodes: list[Any] = []
    constants: list[Any] = []
    for node in network.nodes:
        _add(network, weights, node, nodes, constants)
    image: list[str | int | None] = ["N", *network.input_shape]
    graph = helper.make_graph(
        nodes,
        network.name,
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(network.output, TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _add(
    network: Network, weights: Weights, node: Node, nodes: list[Any], constants: list[Any]
) -> None:
    layer, inputs, name = node.layer, list(node.inputs), node.name

    def make(kind: str, operands: list[str], out: str = name, **attributes: Any) -> None:
        nodes.append(helper.make_node(kind, operands, [out], name=out, **attributes))

    if isinstance(layer, (Conv, Dense)):
        for part, array in (("weight", weights.weight[name]), ("bias", weights.bias[name])):
            constants.append(numpy_helper.from_array(array, f"{name}.{part}"))
    match layer:
        case Conv():
            make(
                "Conv",
                [*inputs, f"{name}.weight", f"{name}.bias"],
                kernel_shape=layer.kernel,
                strides=layer.strides,
                pads=layer.pads,
                group=layer.group,
                dilations=layer.dilations,
            )
        case Dense():
            make("Flatten", inputs, f"{name}.flat")
            make("Gemm", [f"{name}.flat", f"{name}.weight", f"{name}.bias"], transB=1)
        case MaxPool() | AvgPool():
            attributes = dataclasses.asdict(layer)
            attributes["kernel_shape"] = attributes.pop("kernel")
            kind = "MaxPool" if isinstance(layer, MaxPool) else "AveragePool"
            make(kind, inputs, **{key: _plain(value) for key, value in attributes.items()})
        case LRN():
            make(
                "LRN", inputs, size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.bias
            )
        case GlobalAvgPool():
            make("GlobalAveragePool", inputs, f"{name}.mean")
            make("Flatten", [f"{name}.mean"])
        case ReLU():
            make("Relu", inputs)
        case Concat():
            make("Concat", inputs, axis=1)
        case Subsample():
            before, after = layer.channels
            slicing = {
                "start": [0, 0],
                "end": [2**31, 2**31],
                "axes": [2, 3],
                "steps": layer.strides,
                "pads": [0, before, 0, 0, 0, after, 0, 0],
            }
            for part, numbers in slicing.items():
                array = np.array(numbers, np.int64)
                constants.append(numpy_helper.from_array(array, f"{name}.{part}"))
            parts = [f"{name}.{part}" for part in slicing]
            make("Slice", [*inputs, *parts[:4]], f"{name}.kept")
            make("Pad", [f"{name}.kept", parts[4]])
        case Add():
            make("Sum", inputs)
        case Softmax():
            make("Softmax", inputs, axis=1)
        case Clip(low=low, high=high):
            operands = []
            for part, bound in (("min", low), ("max", high)):
                operands.append("" if bound is None else f"{name}.{part}")
                if bound is not None:
                    array = np.array(bound, np.float32)
                    constants.append(numpy_helper.from_array(array, operands[-1]))
            make("Clip", [*inputs, *operands])
        case _:
            raise OptionError(f"{layer.kind} {name}", "a layer that peers are given")


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value
