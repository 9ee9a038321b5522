"""Whole ONNX models are read as rows of operators and constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from refq.importers.foreign import Branch  # noqa: E402
from tests.importers.onnx_models import (  # noqa: E402
    IMAGE,
    WEIGHT,
    branches,
    convolution,
    kinds,
    model,
    node,
    read,
    refused,
)


def test_a_model(tmp_path: Path) -> None:
    found = read(tmp_path, convolution())
    assert kinds(found) == ["Conv", "Relu"]
    assert found.inputs == {"x": (None, 3, 6, 5)} and found.outputs == ("y",)
    assert found.name == "m" and found.format == "ONNX" and not found.notes
    conv = found.operators[0]
    assert conv.inputs == ("x", "w", "b") and conv.attributes == {"pads": (1, 1, 1, 1)}
    assert found.constants["w"].dtype == np.float32 and found.constants["w"].shape == (4, 3, 3, 3)


def test_initialisers_listed_as_inputs(tmp_path: Path) -> None:
    made = convolution()
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (4, 3, 3, 3)))
    assert read(tmp_path, made).inputs.keys() == {"x"}


@pytest.mark.parametrize("group, channels", [(1, 3), (2, 6)])
def test_open_channels_are_those_of_the_layer(tmp_path: Path, group: int, channels: int) -> None:
    made = convolution()
    made.graph.node[0].attribute.append(helper.make_attribute("group", group))
    del made.graph.input[0].type.tensor_type.shape.dim[1:]
    for _ in range(3):
        made.graph.input[0].type.tensor_type.shape.dim.add().dim_param = "any"
    assert read(tmp_path, made).inputs == {"x": (None, channels, None, None)}


@pytest.mark.parametrize("kind", ["float16", "float64", "int8", "uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("raw", [True, False])
def test_types_of_tensors(tmp_path: Path, kind: str, raw: bool) -> None:
    array = np.array([[0, 1, 1], [1, 0, 0]]).astype(kind)
    if kind not in ("bool", "uint8"):
        array[0, 2] = -3
    stored = numpy_helper.from_array(array, "k")
    if not raw:
        values = array.reshape(-1)
        if kind == "float16":
            values = values.view(np.uint16)
        stored = helper.make_tensor("k", stored.data_type, array.shape, values.tolist())
        if kind == "float16":
            stored = TensorProto(name="k", dims=array.shape, data_type=10)
            stored.int32_data.extend(values.tolist())
    made = model([node("Add", "x k", "y")], {"x": (2, 3)}, {})
    made.graph.initializer.append(stored)
    found = read(tmp_path, made)
    wanted = np.float32 if kind.startswith("float") else array.dtype
    assert found.constants["k"].dtype == wanted
    assert np.array_equal(found.constants["k"], array.astype(wanted))
    assert bool(found.notes) == kind.startswith("float")


@pytest.mark.parametrize("raw", [True, False])
def test_bfloat16(tmp_path: Path, raw: bool) -> None:
    bits = np.array([0x3F80, 0xC040, 0x3DCD], np.uint16)  # 1, -3, 0.1
    stored = TensorProto(name="k", dims=(3,), data_type=TensorProto.BFLOAT16)
    if raw:
        stored.raw_data = bits.tobytes()
    else:
        stored.int32_data.extend(bits.tolist())
    made = model([node("Add", "x k", "y")], {"x": (2, 3)}, {})
    made.graph.initializer.append(stored)
    found = read(tmp_path, made)
    assert found.constants["k"].tolist() == [1.0, -3.0, np.float32(0.10009765625)]
    assert found.notes == ("1 tensors of bfloat16, read as float32",)


def test_constants_of_any_form(tmp_path: Path) -> None:
    nodes = [
        node("Constant", "", "a", value=numpy_helper.from_array(WEIGHT)),
        node("Constant", "", "b", value_float=1.5),
        node("Constant", "", "c", value_floats=[1.0, 2.0]),
        node("Constant", "", "d", value_int=-7),
        node("Constant", "", "e", value_ints=[3, -4]),
        node("Conv", "x a", "y"),
    ]
    found = read(tmp_path, model(nodes, IMAGE, {}))
    assert kinds(found) == ["Conv"]
    told = {name: array.tolist() for name, array in found.constants.items() if name != "a"}
    assert told == {"b": 1.5, "c": [1.0, 2.0], "d": -7, "e": [3, -4]}
    assert np.array_equal(found.constants["a"], WEIGHT)


def test_what_nothing_reads_is_left_out(tmp_path: Path) -> None:
    made = convolution()
    made.graph.initializer.append(helper.make_tensor("t", TensorProto.STRING, [1], [b"cat"]))
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    found = read(tmp_path, made)
    assert "t" not in found.constants and "z" not in found.inputs


def test_functions_stand_in_their_places(tmp_path: Path) -> None:
    inner = helper.make_node("LeakyRelu", ["a"], ["t"], name="leaky")
    slope = inner.attribute.add(name="alpha", ref_attr_name="slope")
    slope.type = onnx.AttributeProto.FLOAT
    body = [inner, helper.make_node("Add", ["t", "b"], ["r"])]
    opset = [helper.make_opsetid("", 21)]
    function = helper.make_function("own", "F", ["a", "b"], ["r"], body, opset, ["slope"])
    made = model(
        [
            node("F", "x k", "t", domain="own", slope=0.25),
            node("F", "t k", "y", domain="own", slope=2.0),
        ],
        IMAGE,
        {"k": np.ones(1, np.float32)},
    )
    made.functions.append(function)
    made.opset_import.append(helper.make_opsetid("own", 1))
    found = read(tmp_path, made)
    assert kinds(found) == ["LeakyRelu", "Add", "Identity"] * 2
    slopes = [each.attributes["alpha"] for each in found.operators if each.kind == "LeakyRelu"]
    assert slopes == [0.25, 2.0]
    assert found.operators[0].name == "F_t/leaky"
    assert found.operators[3].inputs == ("t",) and found.operators[-1].outputs == ("y",)


def test_functions_that_call_themselves(tmp_path: Path) -> None:
    opset = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    body = [helper.make_node("F", ["a"], ["r"], domain="own")]
    made = model([node("F", "x", "y", domain="own")], IMAGE, {})
    made.functions.append(helper.make_function("own", "F", ["a"], ["r"], body, opset))
    assert "a function F that calls itself" in refused(tmp_path, made)


@pytest.mark.parametrize("condition, kind", [(True, "Relu"), (False, "Neg")])
def test_known_branches_stand_in_their_places(tmp_path: Path, condition: bool, kind: str) -> None:
    made = model([node("If", "c", "y", **branches())], IMAGE, {"c": np.array(condition)})
    found = read(tmp_path, made)
    assert kinds(found) == [kind, "Identity"]
    assert found.operators[0].inputs == ("x",) and found.operators[1].outputs == ("y",)


def test_other_branches_are_kept(tmp_path: Path) -> None:
    nodes = [
        node("Size", "x", "n"),
        node("Cast", "n", "c", to=9),
        node("If", "c", "y", **branches()),
    ]
    kept = read(tmp_path, model(nodes, IMAGE, {})).operators[-1]
    assert kept.kind == "If" and kept.inputs == ("c", "x")
    branch = kept.attributes["else_branch"]
    assert isinstance(branch, Branch) and branch.operators[0].kind == "Neg"
    assert branch.outputs == branch.operators[0].outputs


def test_loops_tell_what_they_read(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Add", ["v", "k"], ["w"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [value("i", 7, []), value("c", 9, []), value("v", 1, None)],
        [value("d", 9, []), value("w", 1, None)],
    )
    arrays = {"n": np.array(3), "k": np.ones(5, np.float32)}
    found = read(tmp_path, model([node("Loop", "n _ x", "y", body=body)], IMAGE, arrays))
    assert found.operators[0].inputs == ("n", "", "x", "k")


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT64])
def test_images_of_integers(tmp_path: Path, kind: int) -> None:
    nodes = [node("Transpose", "x", "t"), node("Cast", "t", "f", to=1), node("Div", "f k", "y")]
    made = model(nodes, IMAGE, {"k": np.full(1, 255, np.float32)})
    made.graph.input[0].type.tensor_type.elem_type = kind
    found = read(tmp_path, made)
    assert kinds(found) == ["Transpose", "Cast", "Div"]
    assert len(found.notes) == 1 and "where refq's are float32" in found.notes[0]


def test_arithmetic_of_integers_is_told_apart(tmp_path: Path) -> None:
    nodes = [node("Div", "x k", "d"), node("Cast", "d", "y", to=1)]
    made = model(nodes, IMAGE, {"k": np.full(1, 255, np.uint8)})
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    assert kinds(read(tmp_path, made)) == ["Div of uint8", "Cast"]


def test_an_input_that_nothing_reads_is_told(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "y")]
    found = read(tmp_path, model(nodes, {**IMAGE, "z": (1, 7)}, {"w": WEIGHT}))
    assert list(found.inputs) == ["x"]
    assert found.notes == ("input z is read by nothing, and left out",)
