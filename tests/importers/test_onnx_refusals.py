"""ONNX models that are broken or quantized are refused by the names of nodes and tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from tests.importers.onnx_models import IMAGE, branches, convolution, model, node, refused  # noqa: E402


def _typed(kind: int) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        made.graph.input[0].type.tensor_type.elem_type = kind

    return change


def _without_shape(made: Any) -> None:
    made.graph.input[0].type.tensor_type.ClearField("shape")


def _without_version(made: Any) -> None:
    del made.opset_import[:]


def _with_holes(made: Any) -> None:
    made.graph.sparse_initializer.add().values.name = "w2"


def _not_a_number(made: Any) -> None:
    weight = made.graph.initializer[0]
    weight.raw_data = np.full(108, np.nan, np.float32).tobytes()


def _cut(made: Any) -> None:
    weight = made.graph.initializer[0]
    weight.raw_data = weight.raw_data[:-4]


def _huge(made: Any) -> None:
    made.graph.initializer[0].dims[0] = 1 << 33


def _disordered(made: Any) -> None:
    nodes = list(made.graph.node)
    del made.graph.node[:]
    made.graph.node.extend(reversed(nodes))


def _made_again(made: Any) -> None:
    made.graph.node.append(helper.make_node("Relu", ["x"], ["c"]))


def _attribute(key: str, value: Any) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        kept = [each for each in made.graph.node[0].attribute if each.name != key]
        del made.graph.node[0].attribute[:]
        made.graph.node[0].attribute.extend([*kept, helper.make_attribute(key, value)])

    return change


BROKEN: dict[str, tuple[Callable[[Any], None], str]] = {
    "text": (_typed(TensorProto.STRING), "x: an input of text; expected tensors of numbers"),
    "no shape": (_without_shape, "x: an input with no stated shape"),
    "no version": (_without_version, "Conv_c: Conv of no stated version"),
    "sparse": (_with_holes, "w2: sparse weights"),
    "NaN": (_not_a_number, "w: NaN or infinite values"),
    "cut": (_cut, "w: 428 bytes for shape (4, 3, 3, 3); expected 432"),
    "huge": (_huge, "w: an array of 231,928,233,984 values"),
    "order": (_disordered, "Relu_y: reads c, which no node before it makes"),
    "twice": (_made_again, "c, which two nodes make"),
    "a strange attribute": (_attribute("spin", 3), "Conv_c: spin of a Conv, which refq does not"),
    "an attribute of text": (_attribute("pads", "same"), "Conv_c: pads same of a Conv; expected w"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_models(tmp_path: Path, case: str) -> None:
    change, told = BROKEN[case]
    made = convolution()
    change(made)
    assert told in refused(tmp_path, made)


QUANTIZED = {
    ("QuantizeLinear", ""): "ONNX",
    ("DynamicQuantizeLinear", ""): "ONNX",
    ("QLinearConv", ""): "ONNX",
    ("ConvInteger", ""): "ONNX",
    ("QLinearAdd", "com.microsoft"): "com.microsoft",
    ("QGemm", "com.microsoft"): "com.microsoft",
    ("MatMulNBits", "com.microsoft"): "com.microsoft",
    ("Quant", "onnx.brevitas"): "onnx.brevitas",
    ("Trunc", "qonnx.custom_op.general"): "qonnx.custom_op.general",
    ("MultiThreshold", "finn.custom_op.general"): "finn.custom_op.general",
}


@pytest.mark.parametrize("kind, domain", QUANTIZED)
def test_quantized_models(tmp_path: Path, kind: str, domain: str) -> None:
    made = convolution()
    made.graph.node.append(node(kind, "y", "z", domain=domain))
    told = f"{kind}_z: {kind} of {QUANTIZED[kind, domain]}, so the model is quantized"
    assert told in refused(tmp_path, made)


def test_quantized_within_a_branch(tmp_path: Path) -> None:
    both = branches()
    both["then_branch"].node.append(node("DequantizeLinear", "o s", "p"))
    made = model([node("If", "c", "y", **both)], IMAGE, {"c": np.array(False)})
    assert "DequantizeLinear of ONNX, so the model is quantized" in refused(tmp_path, made)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.FLOAT8E4M3FN])
def test_quantized_tensors(tmp_path: Path, kind: int) -> None:
    made = model([node("Add", "x k", "y")], IMAGE, {})
    made.graph.initializer.append(TensorProto(name="k", dims=(2,), data_type=kind, raw_data=b"ab"))
    assert "a quantized model" in refused(tmp_path, made)
