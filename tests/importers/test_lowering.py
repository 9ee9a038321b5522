"""Every handler of lowering against onnxruntime: an operator behind a convolution or product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from refq.engine import forward  # noqa: E402
from refq.errors import WeightsError  # noqa: E402
from refq.importers import models  # noqa: E402
from tests.importers.onnx_models import model, node, saved  # noqa: E402

RNG = np.random.default_rng(29)
MAP, SIGNAL, VECTOR = (1, 4, 6, 7), (1, 4, 9), (1, 6)


def some(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def above(*shape: int) -> np.ndarray:
    return np.abs(some(*shape)) + np.float32(0.1)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def real(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def of(kind: str, *inputs: Any, at: tuple[int, ...] = MAP, **attributes: Any) -> tuple[Any, ...]:
    """A case: "c" is what the first layer makes, "x" the input, None left out, arrays constants."""
    return kind, inputs, at, attributes


NORMAL = [above(4) for _ in range(4)]
UNARY: dict[str, dict[str, Any]] = {
    "Abs": {},
    "Ceil": {},
    "Celu": {"alpha": 0.4},
    "Elu": {"alpha": 0.4},
    "Erf": {},
    "Exp": {},
    "Floor": {},
    "Gelu": {"approximate": "tanh"},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "HardSwish": {},
    "Identity": {},
    "LeakyRelu": {"alpha": -0.3},
    "Mish": {},
    "Neg": {},
    "Reciprocal": {},
    "Relu": {},
    "Round": {},
    "Selu": {"alpha": 1.2, "gamma": 0.7},
    "Shrink": {"lambd": -0.3, "bias": 0.1},
    "Sigmoid": {},
    "Sign": {},
    "Softplus": {},
    "Softsign": {},
    "Tanh": {},
    "ThresholdedRelu": {"alpha": -0.3},
}
CASES = [
    *(of(kind, "c", **attributes) for kind, attributes in UNARY.items()),
    of("Add", "c", some(4, 1, 1)),
    of("ArgMax", "c", axis=2, keepdims=0),
    of("ArgMax", "c", axis=-3),
    of("AveragePool", "c", kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 0, 1], ceil_mode=1),
    of("AveragePool", "c", kernel_shape=[3, 2], auto_pad="SAME_LOWER", count_include_pad=1),
    of("AveragePool", "c", at=SIGNAL, kernel_shape=[3], strides=[2], pads=[1, 1]),
    of("BatchNormalization", "c", *NORMAL, epsilon=0.1),
    of("BatchNormalization", "x", *NORMAL, at=SIGNAL),
    of("BatchNormalization", "c", *[above(6) for _ in range(4)], at=VECTOR),
    of("Cast", "c", to=1),
    of("Clip", "c", np.float32(-0.1), np.float32(0.2)),
    of("Clip", "c", None, np.float32(0.2)),
    of("Clip", "c", np.float32(0.3), np.float32(0.2)),
    of("Concat", "c", "x", axis=-2),
    of("Concat", "x", "c", axis=2, at=SIGNAL),
    of("Concat", np.zeros((1, 2, 6, 7), np.float32), "c", axis=1),
    of("Concat", "c", np.ones((1, 4, 1, 7), np.float32), "x", axis=2),
    of("Conv", "c", some(6, 2, 3, 2), some(6), group=2, dilations=[2, 1], auto_pad="VALID"),
    of("Conv", "c", some(5, 4, 3, 2), strides=[2, 3], auto_pad="SAME_UPPER"),
    of("Conv", "c", some(5, 4, 3), at=SIGNAL, pads=[2, 1], strides=[2]),
    of(
        "ConvTranspose",
        "c",
        some(4, 3, 3, 2),
        group=2,
        dilations=[2, 1],
        output_padding=[1, 0],
        strides=[2, 3],
        pads=[1, 0, 0, 1],
    ),
    of("ConvTranspose", "c", some(4, 2, 3, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    of("ConvTranspose", "c", some(4, 2, 3), at=SIGNAL, strides=[2], output_shape=[18]),
    of("DepthToSpace", "c", blocksize=2, mode="CRD"),
    of("DepthToSpace", "c", blocksize=2),
    of("Div", "c", above(7)),
    of("Expand", "c", whole(1, 4, 6, 7)),
    of("Flatten", "c", axis=1),
    of("Gather", "c", whole(2, 0, -1, 3), axis=1),
    of("Gather", "c", whole(0, 2, 4), axis=-2),
    of("Gather", "c", np.int64(1), axis=3),
    of("Gemm", "c", some(6, 5), some(1, 5), at=VECTOR, alpha=0.5, beta=2.0),
    of("Gemm", "c", some(5, 6), real(0.3), at=VECTOR, transB=1),
    of("GlobalAveragePool", "c", at=SIGNAL),
    of("GlobalMaxPool", "c"),
    of("LRN", "c", size=3, alpha=0.1, beta=0.5, bias=2.0),
    of("MatMul", "c", some(7, 5)),
    of("MatMul", "c", some(9, 5), at=SIGNAL),
    of("MatMul", "c", some(6), at=VECTOR),
    of("MatMul", some(3, 4), "c", at=SIGNAL),
    of("Max", "c", "x"),
    of("MaxPool", "c", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1], ceil_mode=1),
    of("Mean", "c", "x", some(4, 1, 1)),
    of("Min", "c", real(0.1), real(0.3)),
    of("Mul", some(6, 1), "c"),
    of("Mul", "c", some(4, 6, 7)),
    of("Pad", "c", whole(1, 2, 0, -1), None, whole(3, -2), mode="edge"),
    of("Pad", "c", whole(0, 0, 2, 0, 0, 1), at=SIGNAL, mode="reflect"),
    of("Pad", "c", whole(0, 1, 0, 0, 0, 0, 0, 2), np.float32(-0.7)),
    of("Pad", "c", whole(0, 1, 2, 0, 0, 0, 1, 3), mode="wrap"),
    of("Pad", "c", whole(0, 0, 2, 0, 0, 1), at=SIGNAL, mode="wrap"),
    of("Pow", "c", real(2.0)),
    of("PRelu", "c", some(4, 1, 1)),
    of("PRelu", "c", some(4, 1), at=SIGNAL),
    of("PRelu", "c", some(4, 6, 7)),
    of("PRelu", "c", some(7)),
    of("ReduceMax", "c", whole(1), keepdims=0),
    of("ReduceMean", "c", whole(-1, 2), keepdims=0),
    of("ReduceMean", "c", whole(1, 3)),
    of("ReduceL1", "c", whole(2, 3)),
    of("ReduceL2", "c", whole(1), keepdims=0),
    of("ReduceMin", "c", whole(0)),
    of("ReduceMin", "c", noop_with_empty_axes=1),
    of("ReduceSumSquare", "c", whole(-1)),
    of("ReduceSum", "c", whole(2)),
    of("Reshape", "c", whole(0, 2, -1, 7)),
    of("Resize", "c", None, real(1, 1, 1.7, 2.3)),
    of(
        "Resize",
        "c",
        None,
        None,
        whole(9, 5),
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    of("Resize", "c", None, real(1, 1, 2), at=SIGNAL, mode="linear"),
    of("Slice", "c", whole(-3, 1), whole(99, 5), whole(3, -2), whole(2, 1)),
    of("Slice", "c", whole(-1), whole(-99), whole(1), whole(-1)),
    of("Softmax", "c", axis=1),
    of("Softmax", "c", axis=-1),
    of("SpaceToDepth", "c", blocksize=2, at=(1, 3, 4, 6)),
    of("Split", "c", whole(2, 1, 1), axis=1),
    of("Squeeze", "c", whole(2), at=(1, 4, 1, 7)),
    of("Sub", real(1.0), "c"),
    of("Sub", some(4, 1, 1), "c"),
    of("Sum", "c", "x", "c"),
    of("Tile", "c", whole(1, 2, 1, 3)),
    of("Transpose", "c", perm=[0, 3, 1, 2]),
    of("Unsqueeze", "c", whole(1)),
]


def built(case: tuple[Any, ...], shape: tuple[Any, ...] | None = None) -> Any:
    kind, inputs, at, attributes = case
    arrays, names = {}, []
    for number, each in enumerate(inputs):
        if each is None or isinstance(each, str):
            names.append(each or "_")
        else:
            names.append(f"k{number}")
            arrays[f"k{number}"] = np.asarray(each)
    first = "MatMul" if len(at) == 2 else "Conv"
    weight = some(at[1], at[1], *(1,) * (len(at) - 2))
    outputs = "y z u" if kind == "Split" else "y"
    nodes = [node(first, "x first", "c"), node(kind, " ".join(names), outputs, **attributes)]
    made = model(nodes, {"x": shape or at}, {"first": weight, **arrays}, 22)
    if kind == "ArgMax":
        made.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return made


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
def test_an_operator(case: tuple[Any, ...], tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", built(case))
    found = models.read(path)
    assert found.network.outputs == ("y",), found.notes
    images = some(*case[2])
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    (wanted,) = runtime.InferenceSession(str(path), options).run(None, {"x": images})
    inputs = images.reshape(1, *found.network.input_shape)
    got = forward.forward(found.network, found.weights, None, inputs)
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=1e-4 * np.abs(wanted).max())


NOT_THERE = "10 of shape"
REFUSED = [
    (of("AveragePool", "c"), "no kernel_shape"),
    (of("Clip", "c", some(4, 1, 1)), r"input 1 of shape \(4, 1, 1\); expected one number"),
    (of("Concat", "c", np.zeros((1, 4, 1, 6), np.float32), axis=2), "beside"),
    (of("Conv", "c", some(4, 4, 3, 3), group=2), r"expected \(4, 2, 3, 3\)"),
    (of("Conv", "c", some(4, 4, 3, 3), kernel_shape=[2, 3]), r"kernel_shape \(2, 3\)"),
    (of("Conv", "c", some(4, 4, 3, 3), some(3)), r"biases of \(3,\)"),
    (of("ConvTranspose", "c", some(4, 2, 3, 3), group=0), "in 0 groups"),
    (of("DepthToSpace", "c", blocksize=2, mode="XYZ"), "mode 'XYZ'; expected DCR, CRD"),
    (of("Expand", "c", whole(1, 3, 1, 1)), "numbers that fit it"),
    (of("Flatten", "c", axis=10), NOT_THERE),
    (of("Gather", "c", whole(9), axis=1), "indices of axis 1"),
    (of("Gelu", "c", approximate="some"), "approximate 'some'"),
    (of("Mul", "c"), "one input; expected two"),
    (of("Pad", "c", whole(0, 0, 1, 1)), "two numbers an axis"),
    (of("Pad", "c", whole(0, 0, 1, 1, 0, 0, 1, 1), real(1, 2)), "expected one number"),
    (of("Pad", "c", whole(0, 0, 1, 1, 0, 0, 1, 1), mode="ring"), "'ring'"),
    (of("ReduceMean", "c", whole(10)), NOT_THERE),
    (of("Resize", "c", None, real(2, 2)), "a number an axis"),
    (of("Slice", "c", whole(0), whole(1), whole(10)), NOT_THERE),
    (of("Slice", "c", whole(0), whole(1, 2), whole(2)), "one an axis"),
    (of("Split", "c", whole(1, 1, 1), axis=1), "4 in all"),
    (of("Split", "c", axis=1, num_outputs=2), "2 num_outputs; expected 3"),
    (of("Tile", "c", whole(1)), "numbers that fit it"),
    (of("Transpose", "c", perm=[0, 0, 1, 2]), "each axis once"),
    (of("Unsqueeze", "c", whole(0, 0)), "each axis once"),
]


@pytest.mark.parametrize(
    ("case", "words"), REFUSED, ids=[f"{n}-{case[0]}" for n, (case, _) in enumerate(REFUSED)]
)
def test_what_makes_no_sense(case: tuple[Any, ...], words: str, tmp_path: Path) -> None:
    """Attributes and inputs that do not fit: never another result, and told by node."""
    path = saved(tmp_path / "m.onnx", built(case))
    with pytest.raises(WeightsError, match=f"node '{case[0]}_y' .*{words}"):
        models.read(path)


PIXELS = [node("Div", "x full", "d"), node("Sub", "d mean", "s"), node("Conv", "s first", "y")]
ROWS = [node("MatMul", "x m", "p"), node("Add", "p b", "q"), node("Relu", "q", "y")]
CHANNELS = np.array([0.4, 0.5, 0.6, 0.7], np.float32).reshape(4, 1, 1)
ARRAYS = {"full": real(255), "mean": CHANNELS, "first": some(2, 4, 3, 3), "m": some(9, 5)}


@pytest.mark.parametrize(
    ("nodes", "at", "layers"),
    [(PIXELS, MAP, ["Conv"]), (ROWS, SIGNAL, ["Rearrange", "Conv", "ReLU", "Rearrange"])],
    ids=["preprocessing", "rows"],
)
def test_what_is_folded_into_weights(
    nodes: list[Any], at: tuple[int, ...], layers: list[str], tmp_path: Path
) -> None:
    path = saved(tmp_path / "m.onnx", model(nodes, {"x": at}, {**ARRAYS, "b": some(5)}))
    found = models.read(path)
    assert [each.layer.kind for each in found.network.nodes] == layers
    images = some(*at)
    (wanted,) = runtime.InferenceSession(str(path)).run(None, {"x": images})
    inputs = images.reshape(1, *found.network.input_shape)
    got = forward.forward(found.network, found.weights, None, inputs)
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceMean", "ReduceSum"])
def test_images_of_a_batch_are_not_mixed(kind: str, tmp_path: Path) -> None:
    case = of(kind, "c", whole(0, 2))
    path = saved(tmp_path / "m.onnx", built(case, ("n", *MAP[1:])))
    found = models.read(path)
    assert "goes over the images of a batch" in " ".join(found.notes)
    fixed = models.read(saved(tmp_path / "m.onnx", built(case)))
    assert not fixed.notes and fixed.network.outputs == ("y",)
