"""What ONNX models state is refused where it is not the network's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from benchmarks.peers.onnx_graph import to_onnx
from tests.importers import small_weights
from tests.importers.conversions import converted, refused

CASES = {
    name: small_weights.case(name) for name in ("vgg16", "alexnet", "squeezenet1_1", "resnet50")
}


def put(kind: str, index: int, **attributes: Any) -> Callable[[Any], None]:
    """Changes attributes of the graph's node of a kind, counted from 0."""

    def change(model: Any) -> None:
        node = [each for each in model.graph.node if each.op_type == kind][index]
        for name, value in attributes.items():
            kept = [each for each in node.attribute if each.name != name]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def rename(kind: str, index: int, other: str, domain: str = "") -> Callable[[Any], None]:
    def change(model: Any) -> None:
        node = [each for each in model.graph.node if each.op_type == kind][index]
        node.op_type, node.domain = other, domain
        del node.attribute[:]

    return change


def another_input(model: Any) -> None:
    value = helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    model.graph.input.append(value)
    model.graph.node[0].input[0] = "mask"


def dimensions(*sizes: int) -> Callable[[Any], None]:
    """Those of the image; 0 is open."""

    def change(model: Any) -> None:
        stated = model.graph.input[0].type.tensor_type.shape.dim
        for dim, size in zip(stated, sizes):
            dim.dim_value = size
            if size == 0:
                dim.dim_param = "open"

    return change


def sparse(model: Any) -> None:
    model.graph.sparse_initializer.add()


DIFFER: dict[str, tuple[str, Callable[[Any], None], str]] = {
    "strides": ("vgg16", put("Conv", 4, strides=[1, 2]), "(convolution 3x3, stride 1x2"),
    "pads": ("vgg16", put("Conv", 4, pads=[1, 2, 1, 1]), "stride 1x1, 1x2 before"),
    "dilations": ("vgg16", put("Conv", 4, dilations=[2, 2]), "(convolution 3x3, dilation 2x2"),
    "group": ("vgg16", put("Conv", 4, group=2), "(convolution in 2 groups 3x3"),
    "kernel": ("vgg16", put("Conv", 4, kernel_shape=[5, 5]), "states kernel [5, 5]; expected"),
    "a new attribute": (
        "vgg16",
        put("Conv", 4, spin=3),
        "spin of a Conv, which refq does not know",
    ),
    "pool": ("vgg16", put("MaxPool", 1, kernel_shape=[3, 3]), "(max 3x3, stride 2x2"),
    "dilated pool": ("vgg16", put("MaxPool", 1, dilations=[2, 2]), "(max 2x2, dilation 2x2"),
    "average": ("vgg16", rename("MaxPool", 1, "AveragePool"), "(other AveragePool)"),
    "sigmoid": ("vgg16", rename("Relu", 2, "Sigmoid"), "(other Sigmoid)"),
    "clip": ("vgg16", rename("Relu", 2, "Clip"), "(other Clip)"),
    "a domain": ("vgg16", rename("Relu", 2, "Relu", "org.others"), "(other org.others.Relu)"),
    "size": ("alexnet", put("LRN", 0, size=3), "(LRN over 3, alpha 0.0001"),
    "alpha": ("alexnet", put("LRN", 0, alpha=0.5), "(LRN over 5, alpha 0.5"),
    "beta": ("alexnet", put("LRN", 0, beta=0.5), "beta 0.5, bias 1)"),
    "bias": ("alexnet", put("LRN", 0, bias=2.0), "beta 0.75, bias 2)"),
    "one channel": ("vgg16", dimensions(1, 1, 64, 64), "images of 1 channels"),
    "an oblong": ("vgg16", dimensions(1, 3, 64, 96), "images of 64 rows and 96 columns"),
    "another size": ("vgg16", dimensions(1, 3, 96, 96), "fc6 has shape (7, 64), not (7, 144)"),
    "storage order": ("vgg16", put("MaxPool", 1, ceil_mode=1, spin=1), "spin of a MaxPool"),
    "ceil_mode": ("resnet50", put("MaxPool", 0, ceil_mode=0), "(max 3x3, stride 2x2, to 55x55)"),
    "auto_pad": ("vgg16", put("Conv", 4, auto_pad="SAME_UPPER", strides=[2, 2]), "stride 2x2"),
    "alpha of Gemm": ("vgg16", put("Gemm", 0, alpha=0.5), "a Gemm with transA, alpha or beta"),
    "beta of Gemm": ("vgg16", put("Gemm", 1, beta=0.5), "a Gemm with transA, alpha or beta"),
    "transA": ("vgg16", put("Gemm", 1, transA=1), "a Gemm with transA, alpha or beta"),
    "transB": ("vgg16", put("Gemm", 0, transB=0), "fc6 has shape (64, 7)"),
    "axis of Flatten": ("vgg16", put("Flatten", 0, axis=2), "(other Flatten)"),
    "axis of Concat": ("squeezenet1_1", put("Concat", 0, axis=2), "(other Concat)"),
    "sparse weights": ("vgg16", sparse, "a graph with sparse weights"),
    "another input": ("vgg16", another_input, "the graph has no conv1_1"),
}


@pytest.mark.parametrize("case", DIFFER)
def test_a_fact_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    name, change, told = DIFFER[case]
    model = to_onnx(*CASES[name])
    change(model)
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    assert told in refused(tmp_path / "w.onnx", capsys)


def versioned(model: Any) -> None:
    model.opset_import[0].version = 99


def described(model: Any) -> None:
    model.metadata_props.add(key="Image.BitmapPixelFormat", value="Rgb8")


def quantized(model: Any) -> None:
    model.graph.quantization_annotation.add(tensor_name="data")


def with_two_outputs(model: Any) -> None:
    model.graph.output.add(name=model.graph.node[5].output[0])


NOTED: dict[str, tuple[Callable[[Any], None], str]] = {
    "a later version": (versioned, "operators of version 99, where refq knows those to 26"),
    "metadata": (described, "metadata (Image.BitmapPixelFormat), which refq does not read"),
    "outputs": (with_two_outputs, "2 outputs ("),
    "annotations": (quantized, "how tensors are quantized, which refq does not read"),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_a_model_states_besides_is_told(tmp_path: Path, case: str) -> None:
    change, told = NOTED[case]
    model = to_onnx(*CASES["vgg16"])
    change(model)
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    report = converted(tmp_path / "w.onnx")
    assert report["sha256"] == CASES["vgg16"][1].sha256
    assert any(note.startswith(f"the model states {told}") for note in report["notes"])


@pytest.mark.parametrize("sizes", [(0, 3, 0, 0), (1, 0, 64, 64), (0, 0, 0, 0)])
def test_open_dimensions_may_be_anything(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    model = to_onnx(*CASES["vgg16"])
    dimensions(*sizes)(model)
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    assert converted(tmp_path / "w.onnx")["parameters"]["input_size"] == 64


def test_a_fact_that_is_the_network_s(tmp_path: Path) -> None:
    model = to_onnx(*CASES["vgg16"])
    put("Conv", 4, dilations=[1, 1], kernel_shape=[3, 3])(model)
    model.graph.node[2].domain = "ai.onnx"
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    assert converted(tmp_path / "w.onnx")["sha256"] == CASES["vgg16"][1].sha256
