"""The runtimes that a user would pick instead, on the same network and weights."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from refq.layers import (
    LRN,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    MaxPool,
    ReLU,
    Softmax,
)  # fmt: skip
from refq.networks import Network, Node
from refq.weights import Weights

Run = Callable[[np.ndarray], Any]
OPSET = 17


def to_onnx(network: Network, weights: Weights) -> onnx.ModelProto:
    """The network as an ONNX model with a free batch size."""
    nodes: list[Any] = []
    constants: list[Any] = []
    for node in network.nodes:
        _add(network, weights, node, nodes, constants)
    image = ["N", *network.input_shape]
    graph = helper.make_graph(
        nodes, network.name,
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(network.output, TensorProto.FLOAT, None)],
        constants,
    )  # fmt: skip
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
                "Conv", [*inputs, f"{name}.weight", f"{name}.bias"], kernel_shape=layer.kernel,
                strides=layer.strides, pads=layer.pads, group=layer.group,
            )  # fmt: skip
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
        case Add():
            make("Sum", inputs)
        case Softmax():
            make("Softmax", inputs, axis=1)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def to_int8(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    """QDQ int8: unsigned activations, signed weights per channel, calibrated on the images."""
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{"data": images[i : i + 1]} for i in range(len(images))]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / f"{name}.onnx" for name in "abc")
        onnx.save(model, source)
        q.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        q.quantize_static(
            str(prepared), str(target), Reader(), quant_format=q.QuantFormat.QDQ,
            per_channel=True, activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(target)


def with_onnxruntime(model: onnx.ModelProto, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(None, {"data": images})[0]


def with_openvino(model: onnx.ModelProto, threads: int, images: np.ndarray) -> Run | None:
    """None where OpenVINO is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        read = core.read_model(path)
        read.reshape(list(images.shape))
        hint = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        if not any(node.get_type_name() == "FakeQuantize" for node in read.get_ops()):
            hint["INFERENCE_PRECISION_HINT"] = "f32"
        compiled = core.compile_model(read, "CPU", hint)
    request = compiled.create_infer_request()
    return lambda batch: request.infer({0: batch})[compiled.output(0)]
