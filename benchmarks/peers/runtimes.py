"""The runtimes that a user would pick instead, on the same network and weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

Run = Callable[[np.ndarray], Any]


def to_int8(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    """QDQ int8: unsigned activations, signed weights per channel, calibrated on the images."""
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"data": images[i : i + 1]} for i in range(len(images))]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / f"{name}.onnx" for name in "abc")
        onnx.save(model, source)
        q.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        q.quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=q.QuantFormat.QDQ,
            per_channel=True,
            activation_type=q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
        )
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
