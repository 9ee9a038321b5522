"""Whole Caffe models: what layers compute, and what of a net is read, left out and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.data.preprocessing import from_json
from refq.errors import RefqError
from refq.importers import caffe_model, models
from refq.importers.foreign import Asked, Foreign
from tests.importers.caffe_nets import Part, caffemodel, prototxt
from tests.importers.weight_files import MatlabLayer, matconvnet

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from tests.importers import as_onnx
from tests.importers.caffe_cases import CASES, IMAGE, B, X, array, conv_like, pool


def agree(foreign: Foreign, wanted: Any, x: np.ndarray = X) -> None:
    (made,) = as_onnx.run(foreign, [x])
    assert made.shape == tuple(wanted.shape)
    np.testing.assert_allclose(made, np.asarray(wanted), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_layer_of_a_caffemodel(tmp_path: Path, case: str) -> None:
    parts, wanted = CASES[case]
    agree(caffe_model.read(caffemodel(tmp_path / "m.caffemodel", parts, IMAGE), Asked()), wanted())


@pytest.mark.parametrize("case", CASES)
def test_a_layer_of_a_prototxt(tmp_path: Path, case: str) -> None:
    """The layers are the prototxt's; of the caffemodel only arrays are read."""
    parts, wanted = CASES[case]
    bare = [Part(part.name, "Other", [], [], arrays=part.arrays) for part in parts]
    path = caffemodel(tmp_path / "m.caffemodel", bare)
    text = prototxt(tmp_path / "described.txt", parts, IMAGE)
    foreign = caffe_model.read(path, Asked(prototxt=str(text)))
    assert "layers are as described.txt describes them" in foreign.notes
    agree(foreign, wanted())


def read(path: Path, parts: list[Part], **asked: Any) -> Foreign:
    return caffe_model.read(caffemodel(path / "m.caffemodel", parts), Asked(**asked))


def shown(foreign: Foreign) -> list[str]:
    return [step.kind for step in foreign.operators]


DATA = Part(
    "data",
    "Data",
    [],
    ["data", "label"],
    {"transform_param": {"crop_size": 9, "mean_value": [1.0, 2.0, 3.0], "scale": 0.5}},
)
SMALL = Part(
    "conv",
    "Convolution",
    ["data"],
    ["conv"],
    conv_like(kernel_h=3, kernel_w=2),
    (array(4, 3, 3, 2), B),
)


def fc(name: str, source: str, outputs: int, inputs: int) -> Part:
    arrays = (array(outputs, inputs), array(outputs))
    return Part(
        name,
        "InnerProduct",
        [source],
        [name],
        {"inner_product_param": {"num_output": outputs}},
        arrays,
    )


def test_a_net_saved_while_it_was_trained(tmp_path: Path) -> None:
    """Data of both phases, labels through a Split, two losses of which one is a smaller part."""
    train = Part(
        "data", "Data", [], ["data", "label"], {"include": {"phase": "TRAIN"}, **DATA.said}
    )
    test = Part("data", "Data", [], ["data", "label"], {"include": {"phase": "TEST"}, **DATA.said})
    parts = [
        train,
        test,
        Part("split", "Split", ["label"], ["l0", "l1"]),
        SMALL,
        Part("more", "Dropout", ["conv"], ["conv"], {"include": {"phase": "TRAIN"}}),
        Part("forks", "Split", ["conv"], ["c0", "c1"]),
        fc("aside", "c0", 3, 4 * 7 * 8),
        Part(
            "loss1", "SoftmaxWithLoss", ["aside", "l0"], ["loss1"], {"loss_weight": {"value": 0.25}}
        ),
        fc("last", "c1", 5, 4 * 7 * 8),
        Part(
            "loss2", "SoftmaxWithLoss", ["last", "l1"], ["loss2"], {"loss_weight": {"value": 1.0}}
        ),
        Part("accuracy", "Accuracy", ["last", "l1"], ["accuracy"], {"include": {"phase": "TEST"}}),
    ]
    foreign = read(tmp_path, parts)
    assert foreign.outputs == ("last",) and foreign.inputs == {"data": (None, 3, 9, 9)}
    assert "left out, as of training: loss1, loss2, accuracy" in foreign.notes
    assert "losses of less weight read aside: no outputs (--outputs)" in foreign.notes
    assert foreign.preprocessing == {
        "crop": (9, 9),
        "shorter": (9, 256),
        "channels": "BGR",
        "mean": (1.0, 2.0, 3.0),
        "scale": 0.5,
    }
    assert "Dropout" not in shown(foreign)
    assert all("loss" not in step.name for step in foreign.operators)


def test_names_are_the_file_s(tmp_path: Path) -> None:
    """A blob is what its last layer makes of it; operators are called as their layers."""
    parts = [
        SMALL,
        Part("relu", "ReLU", ["conv"], ["conv"]),
        Part("prob", "Softmax", ["conv"], ["prob"]),
    ]
    foreign = read(tmp_path, parts, input_size=(9, 9))
    assert [step.name for step in foreign.operators] == ["conv", "relu", "prob"]
    assert [step.outputs for step in foreign.operators[1:]] == [("conv",), ("prob",)]
    assert foreign.operators[0].outputs[0] not in ("conv", "relu")
    assert foreign.outputs == ("prob",)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    parts = [
        Part(
            "in", "Input", [], ["a", "b"], {"input_param": {"shape": [(1, 3, 9, 9), (1, 4, 7, 8)]}}
        ),
        Part("conv", "Convolution", ["a"], ["c"], SMALL.said, SMALL.arrays),
        Part("sum", "Eltwise", ["c", "b"], ["sum"]),
        Part("abs", "AbsVal", ["c"], ["abs"]),
    ]
    foreign = read(tmp_path, parts)
    assert foreign.inputs == {"a": (None, 3, 9, 9), "b": (None, 4, 7, 8)}
    assert foreign.outputs == ("sum", "abs")


@pytest.mark.parametrize("name", ["m.prototxt", "m_deploy.prototxt"])
def test_a_description_beside_the_model(tmp_path: Path, name: str) -> None:
    prototxt(tmp_path / name, [SMALL, Part("abs", "AbsVal", ["conv"], ["abs"])], (1, 3, 9, 9))
    foreign = read(tmp_path, [SMALL, fc("old", "conv", 2, 4 * 7 * 8)])
    assert shown(foreign) == ["Conv", "Abs"]
    assert foreign.notes == (f"layers are as {name} describes them", f"{name} leaves out old")


def test_sizes_that_are_asked_for(tmp_path: Path) -> None:
    parts = [DATA, SMALL]
    foreign = read(tmp_path, parts, input_size=(12, 10))
    assert foreign.inputs == {"data": (None, 3, 12, 10)}
    assert "data has 12x10 in the place of the file's 9x9" in foreign.notes


V1 = """
name: 'old'
input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9;
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
  blobs_lr: [1, 2]  # of training
  convolution_param < num_output: 4 kernel_h: 3, kernel_w: 0x2 weight_filler { type: 'xavier' } > }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" relu_param { negative_slope: 1e-1f } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "conv" bottom: "la" "bel" }
"""
V0 = """
input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3 biasterm: false
  blobs_lr: 1. } bottom: "pad" top: "conv" }
layers { layer { name: "pool" type: "pool" pool: AVE kernelsize: 3 stride: 2 }
  bottom: "conv" top: "pool" }
"""


def test_text_of_version_1(tmp_path: Path) -> None:
    text = tmp_path / "v1.txt"
    text.write_text(V1.replace('"la" "bel"', '"conv"'), "utf-8")
    foreign = read(tmp_path, [SMALL], prototxt=str(text))
    assert shown(foreign) == ["Conv", "LeakyRelu"] and foreign.outputs == ("conv",)
    assert foreign.operators[1].attributes == {"alpha": pytest.approx(0.1)}


def test_text_of_version_0(tmp_path: Path) -> None:
    text = tmp_path / "v0.txt"
    text.write_text(V0, "utf-8")
    weight = array(4, 3, 3, 3)
    foreign = read(tmp_path, [Part("conv", "", [], [], arrays=[weight])], prototxt=str(text))
    assert shown(foreign) == ["Conv", "AveragePool"]
    assert foreign.operators[0].attributes["pads"] == (1, 1, 1, 1)
    assert foreign.operators[0].inputs[0] == "data"


# layers that are passed on under their names, for lowering to refuse or to cut off
BEYOND: dict[str, tuple[str, dict[str, dict[str, Any]], str]] = {
    "within channels": ("LRN", {"lrn_param": {"norm_region": 1}}, "LRN within channels"),
    "stochastic": ("Pooling", pool(pool=2, kernel_size=2), "stochastic Pooling"),
    "beyond": (
        "Pooling",
        pool(kernel_size=1, stride=4),
        "Pooling with windows beyond the image, kernel (1, 1)",
    ),
    "Python": ("Python", {"python_param": {"module": "mine", "layer": "Mine"}}, "Python.mine.Mine"),
    "Reorg": ("Reorg", {}, "Reorg"),
    "Normalize": ("Normalize", {}, "Normalize"),
    "MVN": ("MVN", {}, "MVN"),
    "top 5": ("ArgMax", {"argmax_param": {"top_k": 5}}, "ArgMax of several values"),
    "over the batch": ("Reduction", {}, "Reduction over the batch"),
    "by each batch": (
        "BatchNorm",
        {"batch_norm_param": {"use_global_stats": False}},
        "BatchNorm by each batch",
    ),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_onnx_does_not_say(tmp_path: Path, case: str) -> None:
    kind, said, told = BEYOND[case]
    image = Part("in", "Input", [], ["data"], {"input_param": {"shape": (1, 3, 8, 8)}})
    behind = Part("behind", "Flatten", ["odd"], ["behind"])
    foreign = read(tmp_path, [image, Part("odd", kind, ["data"], ["odd"], said), behind])
    assert [(step.kind, step.domain, step.name) for step in foreign.operators] == [
        (told, "caffe", "odd"),
        ("Flatten", "caffe", "behind"),
    ]


REFUSED: dict[str, tuple[list[Part], str]] = {
    "no size": ([SMALL], "--input-size"),
    "no layers": ([Part("conv", "", [], [], arrays=[B])], "--prototxt FILE"),
    "a kernel": (
        [
            DATA,
            Part("conv", "Convolution", ["data"], ["c"], conv_like(kernel_size=5), SMALL.arrays),
        ],
        "conv: states kernel (5, 5); expected (3, 2)",
    ),
    "channels": (
        [
            DATA,
            SMALL,
            Part(
                "c", "Convolution", ["conv"], ["c"], conv_like(kernel_h=3, kernel_w=2), SMALL.arrays
            ),
        ],
        "c: states input channels 4; expected 3",
    ),
    "no weights": (
        [DATA, Part("conv", "Convolution", ["data"], ["c"], conv_like(kernel_size=5))],
        "conv: a Convolution of 0 arrays",
    ),
    "a blob that is nowhere": ([DATA, SMALL, Part("a", "AbsVal", ["x"], ["a"])], "a: reads x"),
    "a field of a fork": (
        [DATA, Part("a", "Dropout", ["data"], ["a"], {"pooling_param": {"kernel_size": 3}}), SMALL],
        "",
    ),
    "no input": (
        [DATA, Part("p", "Parameter", [], ["p"], {}, (B,)), Part("a", "AbsVal", ["p"], ["a"])],
        "a network without an input",
    ),
    "an axis": (
        [DATA, Part("a", "Softmax", ["data"], ["a"], {"softmax_param": {"axis": 4}})],
        "a: axis 4 of 4",
    ),
    "slices": (
        [DATA, Part("a", "Slice", ["data"], ["a", "b"], {"slice_param": {"slice_point": 3}})],
        "a: 2 slices of 3",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    parts, told = REFUSED[case]
    if not told:
        read(tmp_path, parts)
        return
    with pytest.raises(RefqError) as error:
        read(tmp_path, parts)
    assert told in str(error.value)


TEXTS = {
    "cut off": ("layer { name: 'a'", "'the end' where a field begins"),
    "no value": ("layer { name: }", "'}' in a prototxt; expected a value"),
    "no colon": ("name 'a'", "\"'a'\" in a prototxt"),
    "a letter": ("layer { $ }", "in line 1; expected a prototxt"),
    "deep": ("layer {" * 40, "messages too deep"),
    "a number for a name": ("layer { name: 'a' bottom: 3 }", "a bottom or top that is no name"),
    "an unknown field": ("nets: 3", "nets of the network"),
    "an unknown word": (
        "layer { pooling_param { pool: MEDIAN } }",
        "pool 'MEDIAN' of pooling_param",
    ),
    "no whole number": ("layer { pooling_param { kernel_size: 2.5 } }", "kernel_size '2.5'"),
    "a layer that is none": ("layer: 3", "layer is no message"),
    "nothing": ("# nothing", "no layers"),
    "large": ("input_dim: 99999999999999999999999", "input_dim [9999"),
    "no weights": (
        "layer { name: 'x' type: 'Convolution' bottom: 'data' }",
        "x: a Convolution without weights in m.caffemodel",
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_that_is_refused(tmp_path: Path, case: str) -> None:
    text, told = TEXTS[case]
    path = tmp_path / "m.prototxt"
    path.write_text(text, "utf-8")
    with pytest.raises(RefqError) as error:
        read(tmp_path, [SMALL])
    assert told in str(error.value) and path.name in str(error.value)


GREY: dict[str, dict[str, object]] = {
    "transform_param": {"crop_size": 9, "mean_value": 33.0, "scale": 0.25}
}


def test_grey_images(tmp_path: Path) -> None:
    """How many channels there are the first weights say."""
    data = Part("data", "Data", [], ["data", "label"], GREY)
    conv = Part("c", "Convolution", ["data"], ["c"], SMALL.said, (array(4, 1, 3, 2), B))
    foreign = read(tmp_path, [data, conv])
    assert foreign.inputs == {"data": (None, 1, 9, 9)}
    rule = from_json(foreign.preprocessing or {})
    assert (rule.channels, rule.mean, rule.scale, rule.crop) == ("GRAY", (33.0,), 0.25, (9, 9))


def test_a_mean_image_is_told(tmp_path: Path) -> None:
    said = {"transform_param": {"crop_size": 9, "mean_file": "mean.binaryproto"}}
    foreign = read(tmp_path, [Part("data", "Data", [], ["data"], said), SMALL])
    assert foreign.preprocessing is None
    (note,) = foreign.notes
    assert "mean_file" in note and "--preprocessing" in note


def test_a_net_that_computes_nothing(tmp_path: Path) -> None:
    path = caffemodel(tmp_path / "m.caffemodel", [Part("d", "Dropout", ["data"], ["d"])], IMAGE)
    with pytest.raises(RefqError, match="outputs d are its input"):
        models.read(path)


def test_a_description_of_another_tool_s_model(tmp_path: Path) -> None:
    matconvnet(tmp_path / "net.mat", [MatlabLayer("relu", "relu")])
    with pytest.raises(RefqError, match=r"--prototxt with net.mat \(MatConvNet model\)"):
        models.read(tmp_path / "net.mat", Asked(prototxt="deploy.prototxt"))
