"""Kernels against onnxruntime and against the test vectors that ONNX publishes."""

from __future__ import annotations

import importlib
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.formats.fixed import FixedPointFormat, Rounding
from refq.kernels import dequantize, quantize
from tests.kernels.onnx_nodes import UnsupportedError, run_node

onnx = pytest.importorskip("onnx", reason="compares with ONNX, which is not installed")
runtime = pytest.importorskip("onnxruntime", reason="compares with onnxruntime, not installed")

OPSET, IR_VERSION = 22, 10
RNG = np.random.default_rng(2024)


def real(*shape: int) -> np.ndarray:
    return RNG.normal(0, 2, shape).astype(np.float32)


def bytes_(kind: type, *shape: int) -> np.ndarray:
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(kind)


def onnxruntime(op: str, inputs: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    names = [f"x{index}" for index in range(len(inputs))]
    node = onnx.helper.make_node(op, names, ["y"], **attributes)
    types = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in zip(names, inputs)
    ]
    graph = onnx.helper.make_graph([node], op, types, [onnx.ValueInfoProto(name="y")])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(zip(names, inputs)))[0]


def assert_close(got: np.ndarray, wanted: np.ndarray) -> None:
    """Integers exactly, float32 within the rounding of a float32 sum."""
    assert got.shape == wanted.shape
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted)
    else:
        assert got.dtype == wanted.dtype
        scale = np.abs(wanted).max(initial=0)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=3e-6 * scale)


def compare(op: str, inputs: list[np.ndarray], **attributes: Any) -> None:
    given = {
        key: value.encode() if isinstance(value, str) else value
        for key, value in attributes.items()
    }
    assert_close(run_node(op, inputs, given, OPSET), onnxruntime(op, inputs, attributes))


KERNELS = [(1, 1), (1, 3), (3, 2), (2, 5), (4, 4), (7, 3), (11, 11)]
GRIDS = [
    {"strides": (1, 1), "pads": (0, 0, 0, 0)},
    {"strides": (2, 1), "pads": (1, 0, 2, 3)},
    {"strides": (3, 2), "pads": (0, 2, 1, 1)},
    {"strides": (4, 5), "pads": (5, 4, 0, 6)},
    {"strides": (1, 2), "pads": (7, 9, 6, 8), "dilations": (2, 1)},
]


@pytest.mark.parametrize("group", (1, 2, 3, 6))
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_conv(kernel: tuple[int, int], grid: dict[str, Any], group: int) -> None:
    x, w = real(2, 6, 14, 17), real(12, 6 // group, *kernel)
    compare("Conv", [x, w, real(12)], kernel_shape=kernel, group=group, **grid)
    compare("Conv", [x[:, :, :12, :13], w], kernel_shape=kernel, group=group, **grid)
    compare(
        "ConvInteger",
        [
            bytes_(np.uint8, 2, 6, 14, 17),
            bytes_(np.uint8, 12, 6 // group, *kernel),
            np.array(131, np.uint8),
            np.array(120, np.uint8),
        ],
        kernel_shape=kernel,
        group=group,
        **grid,
    )


def test_conv_over_many_blocks() -> None:
    """Large enough to be cut into blocks of rows, and of images."""
    compare("Conv", [real(1, 5, 150, 170), real(7, 5, 3, 3)], pads=(1, 1, 1, 1))
    compare("Conv", [real(19, 40, 23, 29), real(4, 20, 5, 3), real(4)], group=2)


POOLS = [
    ((2, 2), (2, 2), (0, 0, 0, 0)),
    ((3, 3), (2, 2), (0, 0, 0, 0)),
    ((3, 3), (2, 2), (1, 1, 1, 1)),
    ((2, 3), (2, 1), (1, 2, 0, 1)),
    ((3, 2), (2, 3), (1, 0, 2, 1)),
    ((5, 4), (3, 4), (2, 3, 1, 0)),
    ((4, 5), (5, 3), (3, 1, 2, 4)),
    ((1, 6), (1, 5), (0, 5, 0, 3)),
]
SIZES = [(8, 11), (9, 12), (10, 13), (11, 7), (12, 15)]


@pytest.mark.parametrize("ceil_mode", (0, 1))
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("size", SIZES)
def test_pools(size: tuple[int, int], pool: Any, ceil_mode: int) -> None:
    kernel, strides, pads = pool
    window = {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": ceil_mode}
    x = real(2, 3, *size)
    compare("MaxPool", [x - 5], **window)
    for include in (0, 1):
        compare("AveragePool", [x], count_include_pad=include, **window)


@pytest.mark.parametrize("op", ("MaxPool", "AveragePool"))
def test_ceil_mode_drops_windows_beyond_the_image(op: str) -> None:
    for size in ((5, 7), (6, 8)):
        for kernel, strides in (((1, 2), (3, 4)), ((2, 1), (5, 3)), ((1, 1), (2, 2))):
            compare(op, [real(3, 2, *size)], kernel_shape=kernel, strides=strides, ceil_mode=1)


def test_global_average_pool() -> None:
    for shape in ((2, 3, 5, 7), (3, 5, 1, 4), (1, 11, 13, 2)):
        compare("GlobalAveragePool", [real(*shape) + 1])


@pytest.mark.parametrize("size", (1, 3, 5, 7))
@pytest.mark.parametrize("beta", (0.5, 0.6, 0.75, 1.25))
def test_lrn(size: int, beta: float) -> None:
    for channels in (2, 5, 9):
        compare("LRN", [real(2, channels, 4, 3)], size=size, alpha=0.3, beta=beta, bias=1.7)


@pytest.mark.parametrize("size", (2, 4))
def test_lrn_of_an_even_size(size: int) -> None:
    """onnxruntime refuses these, so they are held against the operator's definition."""
    x = real(2, 7, 4, 3)
    wanted = np.empty_like(x)
    for c in range(7):  # floor((size - 1) / 2) channels below, ceil((size - 1) / 2) above
        first, last = max(0, c - (size - 1) // 2), min(6, c + size // 2)
        squares = (x[:, first : last + 1].astype(np.float64) ** 2).sum(axis=1)
        wanted[:, c] = x[:, c] / (1.7 + 0.3 / size * squares) ** 0.75
    given = {"size": size, "alpha": 0.3, "beta": 0.75, "bias": 1.7}
    assert_close(run_node("LRN", [x], given), wanted)


def test_dense_and_matrix_products() -> None:
    for rows, inputs, outputs in ((1, 7, 3), (5, 64, 9), (3, 1000, 17)):
        bias = real(outputs)
        compare("Gemm", [real(rows, inputs), real(outputs, inputs), bias], transB=1)
        compare("Gemm", [real(rows, inputs), real(inputs, outputs), bias])
        for kind in (np.uint8, np.int8):
            zero = np.full(outputs, 3, np.int8)
            compare(
                "MatMulInteger",
                [
                    bytes_(kind, rows, inputs),
                    bytes_(np.int8, inputs, outputs),
                    np.array(17, kind),
                    zero,
                ],
            )


def test_elementwise() -> None:
    for shape in ((2, 3, 4, 5), (3, 7)):
        x = real(*shape)
        compare("Relu", [x])
        compare("Softmax", [x * 30], axis=1)
        compare("Softmax", [x + 1000], axis=1)
        compare("Sum", [x, real(*shape), real(*shape)])
        parts = [real(shape[0], channels, *shape[2:]) for channels in (1, 6, 2)]
        compare("Concat", parts, axis=1)


@pytest.mark.parametrize("frac_bits", (-2, 0, 5, 9))
@pytest.mark.parametrize("kind", (np.int8, np.uint8, np.int16, np.uint16))
def test_quantize_linear(kind: type, frac_bits: int) -> None:
    """QuantizeLinear by a power of two is ties-even with saturation."""
    limits = np.iinfo(kind)
    fmt = FixedPointFormat(limits.bits, frac_bits, limits.min < 0)
    ties = np.arange(-301, 302).reshape(3, 201) / 2
    x = np.ldexp(np.concatenate([ties, ties * 300]), -frac_bits).astype(np.float32)
    parameters = [np.array(2.0**-frac_bits, np.float32), np.array(0, kind)]
    wanted = onnxruntime("QuantizeLinear", [x, *parameters], {})
    codes = quantize(x, fmt, Rounding.TIES_EVEN)[0]
    np.testing.assert_array_equal(codes, wanted)
    values = onnxruntime("DequantizeLinear", [wanted, *parameters], {})
    np.testing.assert_array_equal(dequantize(codes, frac_bits), values)


ADDENDS = ("int8", "int16", "uint8", "uint16", "uint32", "uint64")
# module of onnx.backend.test.case.node: vectors that must have run, and reasons for the others
VECTORS: dict[str, tuple[int, set[str]]] = {
    "conv": (5, {"auto_pad"}),
    "convinteger": (2, set()),
    "matmulinteger": (1, set()),
    "averagepool": (9, {"auto_pad", "1-D images", "3-D images", "dilations"}),
    "maxpool": (10, {"auto_pad", "1-D images", "3-D images", "dilations"}),
    "globalaveragepool": (2, set()),
    "lrn": (2, set()),
    "gemm": (7, {"alpha, beta", "a bias for each row"}),
    "relu": (1, set()),
    "softmax": (3, {"an axis other than the channels"}),
    "concat": (4, {"an axis other than the channels"}),
    "sum": (3, set()),
    "add": (1, {"broadcasting", *(f"sums of {name}" for name in ADDENDS)}),
}


def vectors(module: str) -> list[Any]:
    """ONNX's own cases for one operator, without those it expands into other operators."""
    cases = importlib.import_module("onnx.backend.test.case.node")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    return [
        case
        for case in cases._NodeTestCases
        if case.model.graph.node[0].op_type.lower() == module and "_expanded" not in case.name
    ]


def attributes_of(node: Any) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


@pytest.mark.parametrize(
    ("module", "ran", "reasons"),
    [(module, *rest) for module, rest in VECTORS.items()],
    ids=[f"{module}-{ran}-vectors" for module, (ran, _) in VECTORS.items()],
)
def test_published_node_vectors(module: str, ran: int, reasons: set[str]) -> None:
    done, skipped = 0, Counter[str]()
    for case in vectors(module):
        node, opset = case.model.graph.node[0], case.model.opset_import[0].version
        for inputs, outputs in case.data_sets:
            try:
                got = run_node(node.op_type, list(inputs), attributes_of(node), opset)
            except UnsupportedError as reason:
                skipped[str(reason)] += 1
                continue
            np.testing.assert_allclose(got, outputs[0], rtol=case.rtol, atol=case.atol)
            assert got.shape == outputs[0].shape
            done += 1
    assert done >= ran, skipped
    assert set(skipped) == reasons


STORED = Path(onnx.__file__).parent / "backend" / "test" / "data"
WORDS = ("_Conv", "Pool", "_ReLU", "_relu", "_Softmax", "_softmax", "_Linear", "_concat2", "_conv")
OTHERS = ("Transpose", "transpose", "functional")
FOLDERS = sorted(
    folder
    for group in ("pytorch-converted", "pytorch-operator", "simple")
    for folder in (STORED / group).glob("test_*")
    if any(word in folder.name for word in (*WORDS, "maxpool"))
    and not any(word in folder.name for word in OTHERS)
)


# what refq does not compute, by a part of the model's name
REFUSED = {
    "AvgPool1d": "operation Unsqueeze",
    "1d": "1-D images",
    "operator_maxpool": "1-D images",
    "3d": "3-D images",
    "MaxPool2d_stride_padding_dilation": "dilations",
    "Linear_no_bias": "operation Transpose",
    "log_softmax": "operation LogSoftmax",
}


def outputs(model: Any, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """refq's and the published one. Raises UnsupportedError."""
    to_array = onnx.numpy_helper.to_array
    values = {each.name: to_array(each) for each in model.graph.initializer}
    free = [each.name for each in model.graph.input if each.name not in values]
    for index, name in enumerate(free):
        values[name] = to_array(onnx.load_tensor(data / f"input_{index}.pb"))
    for node in model.graph.node:
        inputs, opset = [values[name] for name in node.input], model.opset_import[0].version
        values[node.output[0]] = run_node(node.op_type, inputs, attributes_of(node), opset)
    return values[model.graph.output[0].name], to_array(onnx.load_tensor(data / "output_0.pb"))


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_published_models(folder: Path) -> None:
    model, (data, *more) = onnx.load(folder / "model.onnx"), folder.glob("test_data_set_*")
    reason = next((why for part, why in REFUSED.items() if part in folder.name), None)
    if reason:
        with pytest.raises(UnsupportedError, match=f"^{reason}$"):
            outputs(model, data)
    else:
        for each in (data, *more):
            assert_close(*outputs(model, each))


def test_published_models_are_there() -> None:
    assert len(FOLDERS) > 50
