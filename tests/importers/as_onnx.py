"""A Foreign as an ONNX model, so that onnxruntime computes what a reader has read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from refq.importers.foreign import Foreign


def session(foreign: Foreign) -> onnxruntime.InferenceSession:
    made = [
        helper.make_node(
            each.kind,
            each.inputs,
            each.outputs,
            name=f"{index}",
            domain=each.domain,
            **each.attributes,
        )
        for index, each in enumerate(foreign.operators)
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
        for name, shape in foreign.inputs.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in foreign.outputs]
    constants = [
        numpy_helper.from_array(np.asarray(array, order="C"), name)
        for name, array in foreign.constants.items()
    ]
    graph = helper.make_graph(made, foreign.name or "graph", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", foreign.opset)])
    model.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(
    foreign: Foreign, arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Its outputs, of inputs as it has them: by name, or in its order."""
    named = dict(arrays) if isinstance(arrays, Mapping) else dict(zip(foreign.inputs, arrays))
    found: list[np.ndarray] = session(foreign).run(list(foreign.outputs), named)
    return found
