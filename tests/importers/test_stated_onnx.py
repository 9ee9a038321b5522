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


def stepping(**slices: list[int]) -> Callable[[Any], None]:
    """Puts a Slice of those inputs behind the first ReLU."""

    def change(model: Any) -> None:
        between(model, "Slice", [f"slice_{key}" for key in slices])
        for key, values in slices.items():
            made = helper.make_tensor(f"slice_{key}", onnx.TensorProto.INT64, [len(values)], values)
            model.graph.initializer.append(made)

    return change


def between(model: Any, kind: str, more: list[str], **attributes: Any) -> None:
    """Puts a node between the first ReLU and what reads it."""
    nodes = list(model.graph.node)
    place = [each.op_type for each in nodes].index("Relu")
    read = nodes[place].output[0]
    for each in nodes[place + 1 :]:
        each.input[:] = ["between" if name == read else name for name in each.input]
    node = helper.make_node(kind, [read, *more], ["between"], name="between", **attributes)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[: place + 1], node, *nodes[place + 1 :]])


def dropped(training: bool) -> Callable[[Any], None]:
    """A Dropout whose third input says whether it is in training."""

    def change(model: Any) -> None:
        between(model, "Dropout", ["ratio", "training"])
        model.graph.initializer.extend(
            [
                helper.make_tensor("ratio", onnx.TensorProto.FLOAT, [], [0.5]),
                helper.make_tensor("training", onnx.TensorProto.BOOL, [], [training]),
            ]
        )

    return change


def inserted(kind: str, **attributes: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        between(model, kind, [], **attributes)

    return change


def cast(to: int) -> Callable[[Any], None]:
    return inserted("Cast", to=to)


def cast_image(model: Any) -> None:
    model.graph.node[0].input[0] = "bytes"
    node = helper.make_node("Cast", [model.graph.input[0].name], ["bytes"], "bytes", to=2)
    nodes = [node, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def images_of(kind: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.graph.input[0].type.tensor_type.elem_type = kind

    return change


def backwards(model: Any) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:4], nodes[5], nodes[4], *nodes[6:]])


def made_twice(model: Any) -> None:
    model.graph.node[5].output[0] = model.graph.node[4].output[0]


def named_twice(model: Any) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


LAST = 1 << 40
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
    "auto_pad": (
        "vgg16",
        put("Conv", 4, auto_pad="SAME_UPPER", pads=[0] * 4, strides=[2, 2]),
        "stride 2x2",
    ),
    "alpha of Gemm": ("vgg16", put("Gemm", 0, alpha=0.5), "a Gemm with transA, alpha or beta"),
    "beta of Gemm": ("vgg16", put("Gemm", 1, beta=0.5), "a Gemm with transA, alpha or beta"),
    "transA": ("vgg16", put("Gemm", 1, transA=1), "a Gemm with transA, alpha or beta"),
    "transB": ("vgg16", put("Gemm", 0, transB=0), "fc6 has shape (64, 7)"),
    "axis of Flatten": ("vgg16", put("Flatten", 0, axis=2), "(other Flatten)"),
    "axis of Concat": ("squeezenet1_1", put("Concat", 0, axis=2), "(other Concat)"),
    "auto_pad beside pads": (
        "vgg16",
        put("Conv", 4, auto_pad="VALID"),
        "conv3_1: auto_pad VALID beside pads [1, 1, 1, 1] of a Conv; expected one or the other",
    ),
    "auto_pad of a pool": (
        "resnet50",
        put("MaxPool", 0, auto_pad="SAME_LOWER", pads=[1, 1, 1, 1]),
        "auto_pad SAME_LOWER beside pads [1, 1, 1, 1] of a MaxPool",
    ),
    "unknown auto_pad": ("vgg16", put("Conv", 4, auto_pad="FOO"), "auto_pad FOO of a Conv; exp"),
    "auto_pad of numbers": ("vgg16", put("Conv", 4, auto_pad=[1, 2]), "auto_pad [1, 2] of a Conv"),
    "group 0": ("vgg16", put("Conv", 4, group=0), "conv3_1: group 0 of a Conv; expected 1 or"),
    "group -1": ("vgg16", put("Conv", 4, group=-1), "conv3_1: group -1 of a Conv; expected 1"),
    "a broken group": ("vgg16", put("Conv", 4, group=1.5), "group 1.5 of a Conv; expected one w"),
    "strides 0": (
        "vgg16",
        put("Conv", 4, strides=[0, 0]),
        "conv3_1: strides [0, 0] of a Conv; expected 2 whole numbers of 1 or more",
    ),
    "strides of a pool": ("vgg16", put("MaxPool", 1, strides=[2, 0]), "strides [2, 0] of a Max"),
    "one stride": ("vgg16", put("Conv", 4, strides=[1]), "strides [1] of a Conv; expected 2"),
    "a float": ("vgg16", put("Conv", 4, strides=1.0), "strides 1.0 of a Conv; expected whole"),
    "floats": ("vgg16", put("Conv", 4, strides=[1.5, 1.0]), "strides a list of floats of a Conv"),
    "a text": ("vgg16", put("Conv", 4, pads="same"), "conv3_1: pads same of a Conv"),
    "two pads": ("vgg16", put("Conv", 4, pads=[1, 1]), "pads [1, 1] of a Conv; expected 4 whole"),
    "negative pads": ("vgg16", put("Conv", 4, pads=[-1] * 4), "pads [-1, -1, -1, -1] of a Conv"),
    "dilations 0": ("vgg16", put("Conv", 4, dilations=[0, 1]), "dilations [0, 1] of a Conv"),
    "a kernel of 0": ("vgg16", put("MaxPool", 1, kernel_shape=[0, 2]), "kernel_shape [0, 2] of a"),
    "size of LRN": ("alexnet", put("LRN", 0, size=5.0), "size 5.0 of a LRN; expected one whole"),
    "alpha of LRN": ("alexnet", put("LRN", 0, alpha="small"), "alpha small of a LRN; expected on"),
    "epsilon": (
        "vgg16",
        inserted("BatchNormalization", epsilon=1),
        "between: epsilon 1 of a BatchNormalization; expected one number",
    ),
    "a flip": (
        "vgg16",
        stepping(starts=[0], ends=[LAST], axes=[2], steps=[-1]),
        "in its place it has between (other Slice)",
    ),
    "a slice of no step": (
        "vgg16",
        stepping(starts=[0], ends=[LAST], axes=[2], steps=[0]),
        "in its place it has between (other Slice)",
    ),
    "a slice with one end": (
        "vgg16",
        stepping(starts=[0, 0], ends=[LAST], axes=[2, 3], steps=[1, 1]),
        "in its place it has between (other Slice)",
    ),
    "dropout": ("vgg16", dropped(True), "in its place it has between (Dropout in training)"),
    "whole numbers": ("vgg16", cast(6), "in its place it has between (other Cast)"),
    "an image of bytes": ("vgg16", cast_image, "in its place it has bytes (other Cast)"),
    "out of order": ("vgg16", backwards, "which no node before it makes; expected nodes in the"),
    "named twice": ("vgg16", named_twice, "two tensors named conv1_1.weight; expected one"),
    "made twice": ("vgg16", made_twice, "which two nodes make; expected one maker"),
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
    "a later version": (versioned, "operators of version 99, where refq knows those to 28"),
    "metadata": (described, "metadata (Image.BitmapPixelFormat), which refq does not read"),
    "outputs": (with_two_outputs, "2 outputs ("),
    "half precision": (cast(10), "casts to float16, where refq computes in float32"),
    "bfloat16": (cast(16), "casts to bfloat16, where refq computes in float32"),
    "bytes": (images_of(2), "images of uint8, where refq's are float32"),
    "half images": (images_of(10), "images of float16, where refq's are float32"),
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
    put("Conv", 4, dilations=[1, 1], kernel_shape=[3, 3], auto_pad="NOTSET")(model)
    dropped(False)(model)
    model.graph.node[2].domain = "ai.onnx"
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    assert converted(tmp_path / "w.onnx")["sha256"] == CASES["vgg16"][1].sha256
