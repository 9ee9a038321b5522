"""Small whole ONNX models, written for tests of readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from refq.errors import WeightsError
from refq.importers import onnx_model
from refq.importers.foreign import Asked, Foreign

ASKED = Asked()


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """A node between tensors whose names are given in a row; `_` for one that is left out."""
    names = [["" if name == "_" else name for name in each.split()] for each in (inputs, outputs)]
    domain = attributes.pop("domain", "")
    return helper.make_node(kind, *names, name=f"{kind}_{names[1][0]}", domain=domain, **attributes)


def model(
    nodes: Sequence[Any],
    shapes: Mapping[str, Sequence[Any]],
    arrays: Mapping[str, np.ndarray],
    opset: int = 21,
    output: str = "y",
) -> Any:
    """shapes: of inputs."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    outputs = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in [output]]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    made.producer_name = "tests"
    return made


def convolution(opset: int = 21) -> Any:
    """A convolution with a bias and a ReLU, of 3x6x5 images."""
    rng = np.random.default_rng(7)
    arrays = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(size=4).astype(np.float32),
    }
    nodes = [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "y")]
    return model(nodes, {"x": ("n", 3, 6, 5)}, arrays, opset)


def saved(path: Path, made: Any) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


IMAGE = {"x": (1, 3, 4, 5)}
WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 8


def read(folder: Path, made: Any, asked: Asked = ASKED) -> Foreign:
    return onnx_model.read(saved(folder / "m.onnx", made), asked)


def refused(folder: Path, made: Any, asked: Asked = ASKED) -> str:
    with pytest.raises(WeightsError) as told:
        read(folder, made, asked)
    assert str(folder / "m.onnx") in str(told.value)
    return str(told.value)


def kinds(found: Foreign) -> list[str]:
    return [operator.kind for operator in found.operators]


def branches() -> dict[str, Any]:
    """Of an If: what is above 0 of x, or -x."""
    out = [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)]
    return {
        "then_branch": helper.make_graph([helper.make_node("Relu", ["x"], ["o"])], "t", [], out),
        "else_branch": helper.make_graph([helper.make_node("Neg", ["x"], ["o"])], "e", [], out),
    }
