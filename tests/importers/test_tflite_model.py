"""Operators of TensorFlow Lite compute what they are defined to, and quantized ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refq.errors import WeightsError
from refq.importers import models
from refq.importers.contents import one_line
from refq.importers.foreign import Asked, Foreign
from refq.importers.tflite_model import read
from tests.importers import as_onnx
from tests.importers.channels_last import conv, of_each, same, transposed
from tests.importers.tflite_files import Model
from tests.shared_data import shared

SHAPE = (1, 9, 7, 6)
RNG = np.random.default_rng(5)
X = RNG.normal(0, 2, SHAPE).astype(np.float32)
SAME, VALID = ("b", 0), ("b", 1)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def found(path: Path, model: Model, source: int, *outputs: int) -> Foreign:
    model.save(path, [source], outputs)
    with one_line(path, "TensorFlow Lite"):
        return read(path, Asked())


def image(model: Model) -> int:
    return model.tensor(SHAPE)


# Each case: an operator on X, and what it makes of it, as the file has it.
Case = Callable[[Model, int], tuple[int, np.ndarray]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def _weight(w: np.ndarray) -> np.ndarray:
    """(outputs, rows, columns, inputs) of (rows, columns, inputs, outputs)."""
    return w.transpose(3, 0, 1, 2)


@case
def conv_of_strides(model: Model, x: int) -> tuple[int, np.ndarray]:
    w, b = floats(3, 2, 6, 4), floats(4)
    made = conv(X, w, 2, (same(9, 3, 2), same(7, 2, 2))) + b
    options = {0: SAME, 1: ("i", 2), 2: ("i", 2), 3: ("b", 3)}
    reads = [x, model.constant(_weight(w)), model.constant(b)]
    return model.add("CONV_2D", reads, made.shape, options), np.clip(made, 0, 6)


@case
def conv_of_dilation(model: Model, x: int) -> tuple[int, np.ndarray]:
    w = floats(3, 2, 6, 4)
    made = conv(X, w, 1, (same(9, 3, 1, 2), same(7, 2, 1, 2)), 2)
    options = {0: SAME, 1: ("i", 1), 2: ("i", 1), 4: ("i", 2), 5: ("i", 2)}
    return model.add("CONV_2D", [x, model.constant(_weight(w)), -1], made.shape, options), made


@case
def depthwise(model: Model, x: int) -> tuple[int, np.ndarray]:
    w = floats(3, 2, 6, 2)
    made = np.maximum(conv(X, of_each(w)), 0)
    options = {0: VALID, 1: ("i", 1), 2: ("i", 1), 3: ("i", 2), 4: ("b", 1)}
    kernel = model.constant(w.reshape(1, 3, 2, 12))
    return model.add("DEPTHWISE_CONV_2D", [x, kernel], made.shape, options), made


@case
def space_to_batch(model: Model, x: int) -> tuple[int, np.ndarray]:
    """A dilated convolution, as converters of TensorFlow 1 wrote it."""
    w, b = floats(3, 3, 6, 4), floats(4)
    block = model.constant([2, 2], "int32")
    around, less = [[2, 3], [2, 3]], [[0, 1], [0, 1]]
    reads = [x, block, model.constant(around, "int32")]
    spread = model.add("SPACE_TO_BATCH_ND", reads, (4, 7, 6, 6))
    reads = [spread, model.constant(_weight(w))]
    inner = model.add("CONV_2D", reads, (4, 5, 4, 4), {0: VALID, 1: ("i", 1), 2: ("i", 1)})
    inner = model.add("ADD", [inner, model.constant(b)], (4, 5, 4, 4), {0: ("b", 1)})
    reads = [inner, block, model.constant(less, "int32")]
    made = np.maximum(conv(X, w, 1, ((2, 2), (2, 2)), 2) + b, 0)
    return model.add("BATCH_TO_SPACE_ND", reads, made.shape), made


@case
def transposed_conv(model: Model, x: int) -> tuple[int, np.ndarray]:
    w, b = floats(3, 3, 4, 6), floats(4)
    made = transposed(X, w, 2, (18, 14)) + b
    reads = [model.constant(made.shape, "int32"), model.constant(w.transpose(2, 0, 1, 3))]
    reads += [x, model.constant(b)]
    options = {0: SAME, 1: ("i", 2), 2: ("i", 2)}
    return model.add("TRANSPOSE_CONV", reads, made.shape, options), made


@case
def connected_after_reshape(model: Model, x: int) -> tuple[int, np.ndarray]:
    """Values of an image are taken in the file's order."""
    w = floats(3, 9 * 7 * 6)
    flat = model.add("RESHAPE", [x, model.constant([1, -1], "int32")], (1, 378))
    made = X.reshape(1, -1) @ w.T
    return model.add("FULLY_CONNECTED", [flat, model.constant(w)], made.shape, {}), made


@case
def connected_over_maps(model: Model, x: int) -> tuple[int, np.ndarray]:
    w = floats(3, 6)
    made = X @ w.T
    options = {2: ("b", 1)}
    return model.add("FULLY_CONNECTED", [x, model.constant(w)], made.shape, options), made


@case
def mean_of_windows(model: Model, x: int) -> tuple[int, np.ndarray]:
    """Of as many values as are within the image."""
    ones, count = np.ones((3, 3, 6, 1)), np.ones((1, 9, 7, 6))
    pads = same(9, 3, 2), same(7, 3, 2)
    made = conv(X, of_each(ones), 2, pads) / conv(count, of_each(ones), 2, pads)
    options = {0: SAME, **{field: ("i", size) for field, size in ((1, 2), (2, 2), (3, 3), (4, 3))}}
    return model.add("AVERAGE_POOL_2D", [x], made.shape, options), made


@case
def add_by_columns(model: Model, x: int) -> tuple[int, np.ndarray]:
    b = floats(7, 1)
    return model.add("ADD", [model.constant(b), x], SHAPE, {0: ("b", 4)}), np.tanh(b + X)


@case
def means_of_columns(model: Model, x: int) -> tuple[int, np.ndarray]:
    return model.add("MEAN", [x, model.constant([2], "int32")], (1, 9, 6), {}), X.mean(2)


@case
def sums_of_channels(model: Model, x: int) -> tuple[int, np.ndarray]:
    return model.add("SUM", [x, model.constant([-1], "int32")], (1, 9, 7), {}), X.sum(3)


@case
def softmax(model: Model, x: int) -> tuple[int, np.ndarray]:
    powers = np.exp(2.5 * X)
    made = powers / powers.sum(-1, keepdims=True)
    return model.add("SOFTMAX", [x], SHAPE, {0: ("f", 2.5)}), made


@case
def prelu(model: Model, x: int) -> tuple[int, np.ndarray]:
    slopes = floats(1, 1, 6)
    return model.add("PRELU", [x, model.constant(slopes)], SHAPE), np.where(X < 0, X * slopes, X)


@case
def padded(model: Model, x: int) -> tuple[int, np.ndarray]:
    pads = [[0, 0], [1, 2], [0, 3], [1, 0]]
    reads = [x, model.constant(pads, "int32"), model.constant([1.5])]
    made = np.pad(X, pads, constant_values=1.5)
    return model.add("PADV2", reads, made.shape), made


@case
def strided_slice(model: Model, x: int) -> tuple[int, np.ndarray]:
    """x[:, 1::2, -1, ::-1]."""
    said = ([5, 1, -1, 0], [9, 0, 9, 3], [1, 2, 1, -1])
    reads = [x, *(model.constant(each, "int32") for each in said)]
    options = {0: ("i", 0b1001), 1: ("i", 0b1011), 4: ("i", 0b0100)}
    made = X[:, 1::2, -1, ::-1]
    return model.add("STRIDED_SLICE", reads, made.shape, options), made


@case
def signals(model: Model, x: int) -> tuple[int, np.ndarray]:
    """A reshape that only drops an axis of size 1 behind a pool of rows."""
    options = {0: VALID, **{field: ("i", size) for field, size in ((1, 1), (2, 1), (3, 1), (4, 9))}}
    pooled = model.add("MAX_POOL_2D", [x], (1, 1, 7, 6), options)
    return model.add("SQUEEZE", [pooled], (1, 7, 6)), X.max(1)


@case
def halves(model: Model, x: int) -> tuple[int, np.ndarray]:
    b = floats(6).astype(np.float16)
    wide = model.add("DEQUANTIZE", [model.constant(b, "float16")], (6,))
    return model.add("MUL", [x, wide], SHAPE, {}), X * b


@case
def stored_as_int8(model: Model, x: int) -> tuple[int, np.ndarray]:
    """Weights with a scale for each output, of an operator that computes floats."""
    codes, scales = RNG.integers(-127, 128, (3, 378)), floats(3) ** 2
    said = {2: scales, 3: np.zeros(3, "<i8"), 6: ("i", 0)}
    w = model.constant(codes, "int8", said)
    made = X.reshape(1, -1) @ (codes * scales[:, None]).T
    return model.add("FULLY_CONNECTED", [x, w], made.shape, {}), made


@case
def shape_arithmetic(model: Model, x: int) -> tuple[int, np.ndarray]:
    """A target of constants that operators compute."""
    said = model.add("SHAPE", [x], (4,))
    limits = [model.constant([number], "int32") for number in (1, 2, 1)]
    rows = model.add("STRIDED_SLICE", [said, *limits], (), {4: ("i", 1)})
    rest = [model.constant(number, "int32") for number in (1, 42)]
    target = model.add("PACK", [rest[0], rows, rest[1]], (3,), {1: ("i", 0)})
    return model.add("RESHAPE", [x, target], (1, 9, 42)), X.reshape(1, 9, 42)


@pytest.mark.parametrize("name", CASES)
def test_an_operator(tmp_path: Path, name: str) -> None:
    model = Model()
    x = image(model)
    output, wanted = CASES[name](model, x)
    foreign = found(tmp_path / "m.tflite", model, x, output)
    assert foreign.inputs == {"t0": (1, 6, 9, 7)}
    (made,) = as_onnx.run(foreign, [X.transpose(0, 3, 1, 2)])
    turned = any(note.startswith("outputs with channels first") for note in foreign.notes)
    made = np.moveaxis(made, 1, -1) if turned else made
    assert made.shape == wanted.shape
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5 * abs(wanted).max())


SCALES = {2: np.array([0.5], "<f4"), 3: np.array([3], "<i8")}


def quantized(model: Model, x: int) -> int:
    y = model.add("CONV_2D", [x, model.constant(_weight(floats(3, 3, 6, 4)))], SHAPE, {})
    model.tensors[x] = {**model.tensors[x], 1: ("b", 9), 4: SCALES}
    return y


def to_codes(model: Model, x: int) -> int:
    return model.add("QUANTIZE", [x], SHAPE)


def other_graph(model: Model, x: int) -> int:
    model.graphs = 2
    return model.add("WHILE", [x], SHAPE)


def computed_weights(model: Model, x: int) -> int:
    return model.add("CONV_2D", [x, x], SHAPE, {1: ("i", 1), 2: ("i", 1)})


def twice(model: Model, x: int) -> int:
    model.add("RELU", [x], SHAPE)
    model.operators[-1] = {**model.operators[-1], 2: np.array([x], "<i4")}
    return x


def pool_within(model: Model, x: int) -> int:
    reads = [x, model.constant([2, 2], "int32"), model.constant([[0, 1], [0, 1]], "int32")]
    spread = model.add("SPACE_TO_BATCH_ND", reads, (4, 5, 4, 6))
    return model.add("RELU6", [spread], (4, 5, 4, 6))


REFUSED: dict[str, tuple[Callable[[Model, int], int], str]] = {
    "quantized": (quantized, "t2 (CONV_2D): a quantized model, with tensor t0 (int8)"),
    "to codes": (to_codes, "t1 (QUANTIZE): a quantized model"),
    "other graph": (other_graph, "t1 (WHILE): runs another of the file's 2 graphs"),
    "weights": (computed_weights, "t1 (CONV_2D): reads t0 (float32), which is computed"),
    "twice": (twice, "t0 (RELU): makes t0 (float32) again"),
    "within": (pool_within, "(SPACE_TO_BATCH_ND): blocks of [2, 2]; expected a convolution and"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_network_of_floats_is(tmp_path: Path, name: str) -> None:
    make, told = REFUSED[name]
    model = Model()
    x = image(model)
    output = make(model, x)
    with pytest.raises(WeightsError) as error:
        found(tmp_path / "m.tflite", model, x, output)
    assert told in str(error.value)


def test_a_custom_operator_is_refused_by_its_name(tmp_path: Path) -> None:
    model = Model()
    x = image(model)
    own = model.add("OwnOperator", [x], SHAPE)
    kernel = model.constant(_weight(floats(3, 3, 6, 4)))
    options = {0: VALID, 1: ("i", 1), 2: ("i", 1)}
    y = model.add("CONV_2D", [own, kernel], (1, 7, 5, 4), options)
    path = model.save(tmp_path / "m.tflite", [x], [y])
    with pytest.raises(WeightsError, match="OwnOperator"):
        models.read(path)


def test_a_model_that_only_turns_its_images(tmp_path: Path) -> None:
    model = Model()
    x = image(model)
    y = model.add("TRANSPOSE", [x, model.constant([0, 3, 1, 2], "int32")], (1, 6, 9, 7))
    path = model.save(tmp_path / "m.tflite", [x], [y])
    with pytest.raises(WeightsError, match=r"a model whose outputs .* are its input"):
        models.read(path)


@pytest.mark.parametrize("name", ["resnet8_cifar10_int8", "kws_int8", "mobilenet_v1_025_128_uint8"])
def test_real_quantized_models(name: str) -> None:
    path = shared(f"models/{name}.tflite")
    with pytest.raises(WeightsError, match=r"\(CONV_2D\): a quantized model, with tensor"):
        models.read(path)


def test_a_real_model_of_key_words() -> None:
    foreign = read(shared("models/kws_float.tflite"), Asked())
    words = np.load(shared("models/kws01_1000.npz"))
    (made,) = as_onnx.run(foreign, [words["inputs"].transpose(0, 3, 1, 2)])
    assert np.mean(made.argmax(1) == words["labels"]) == pytest.approx(0.9, abs=0.003)
    assert "weights of 5 operators are stored as int8" in foreign.notes[0]
