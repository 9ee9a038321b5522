"""The reader of whole ONNX models, and what makes networks of their nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from refq.importers import models
from refq.importers.foreign import Asked
from refq.importers.onnx_operators import ATTRIBUTES
from tests.fuzzing.changes import EXTREMES
from tests.fuzzing.changes import in_bytes as bytes_changed
from tests.fuzzing.reader import PIPE, Reader
from tests.importers import onnx_models
from tests.importers.onnx_models import IMAGE, branches, model, node, saved

KINDS = sorted(ATTRIBUTES)
NUMBERS = [-(2**31), -2, -1, 0, 1, 2, 3, 5, 7, 64, 4096, *(e for e in EXTREMES if e < 2**63)]


def _array(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).uniform(0.5, 1, shape).astype(np.float32)


def _plain() -> Any:
    """Layers that most networks have."""
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c g g g g", "n"),
        node("Clip", "n zero six", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p w2", "d", group=2),
        node("Sigmoid", "d", "s"),
        node("Mul", "d s", "m"),
        node("GlobalAveragePool", "m", "a"),
        node("Flatten", "a", "f"),
        node("Gemm", "f l b", "e", transB=1),
        node("Softmax", "e", "y"),
    ]
    arrays = {"w": _array(4, 3, 3, 3), "w2": _array(4, 2, 1, 1), "g": _array(4)}
    arrays |= {"zero": np.zeros((), np.float32), "six": np.full((), 6, np.float32)}
    return model(nodes, {"x": ("n", 3, 6, 8)}, arrays | {"l": _array(5, 4), "b": _array(5)}, 12)


def _moving() -> Any:
    """Tensors cut, joined, turned and made larger, sizes computed on the way."""
    nodes = [
        node("Conv", "x w", "c"),
        node("Split", "c h", "a b", axis=1),
        node("Concat", "b a", "j", axis=1),
        node("Pad", "j pads", "p", mode="reflect"),
        node("Resize", "p _ s", "r", mode="linear"),
        node("Slice", "r st en ax", "sl"),
        node("ConvTranspose", "sl wt", "t", strides=[2, 2], output_padding=[1, 1]),
        node("DepthToSpace", "t", "d", blocksize=2),
        node("Shape", "d", "sh"),
        node("Gather", "sh one", "ch"),
        node("Concat", "ch minus", "to", axis=0),
        node("Transpose", "d", "u", perm=[0, 2, 3, 1]),
        node("Reshape", "u to", "v"),
        node("ReduceMean", "v", "e", axes=[1], keepdims=1),
        node("Sub", "v e", "y"),
    ]
    whole = {"h": [2, 2], "pads": [0, 0, 1, 1, 0, 0, 1, 1], "st": [1, 0], "en": [9, -1]}
    whole |= {"ax": [2, 3], "one": [0], "minus": [-1]}
    arrays = {name: np.array(values, np.int64) for name, values in whole.items()}
    arrays |= {"w": _array(4, 3, 2, 2), "wt": _array(4, 8, 2, 2)}
    arrays["s"] = np.array([1, 1, 2, 1.5], np.float32)
    return model(nodes, IMAGE, arrays, 13)


def _inner() -> Any:
    """Functions, branches, and constants in nodes."""
    body = [helper.make_node("Mul", ["a", "b"], ["t"]), helper.make_node("Erf", ["t"], ["r"])]
    opsets = [helper.make_opsetid("", 21)]
    nodes = [
        node("Constant", "", "k", value_float=0.5),
        node("F", "x k", "f", domain="own"),
        node("Size", "x", "n"),
        node("Constant", "", "m", value_int=60),
        node("Equal", "n m", "q"),
        node("If", "q", "i", **branches()),
        node("Greater", "i f", "o"),
        node("Where", "o i f", "y"),
    ]
    made = model(nodes, IMAGE, {})
    made.functions.append(helper.make_function("own", "F", ["a", "b"], ["r"], body, opsets))
    made.opset_import.append(helper.make_opsetid("own", 1))
    return made


WHOLE: dict[str, Callable[[], Any]] = {"plain": _plain, "moving": _moving, "inner": _inner}


def in_nodes(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes of a graph that stays a graph: other operators, inputs, attributes and
    sizes."""
    made = onnx.load_from_string(data)
    for _ in range(int(rng.integers(1, 4))):
        graph = made.graph
        chosen = graph.node[int(rng.integers(len(graph.node)))]
        names = ["", *(name for each in graph.node for name in (*each.input, *each.output))]
        name = names[int(rng.integers(len(names)))]
        match int(rng.integers(7)):
            case 0:
                chosen.op_type = KINDS[int(rng.integers(len(KINDS)))]
            case 1 if chosen.input:
                chosen.input[int(rng.integers(len(chosen.input)))] = name
            case 2:
                chosen.input.append(name)
            case 3 if chosen.attribute:
                _changed(chosen.attribute[int(rng.integers(len(chosen.attribute)))], rng)
            case 4:
                words = ATTRIBUTES.get(chosen.op_type, "").split()
                if words:
                    key = words[int(rng.integers(len(words)))].partition(":")[0]
                    numbers = rng.choice([-1, 0, 1, 2, 3, 5], int(rng.integers(1, 5))).tolist()
                    value = numbers if rng.random() < 0.5 else numbers[0]
                    chosen.attribute.append(helper.make_attribute(key, value))
            case 5 if graph.initializer:
                tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
                if tensor.dims:
                    place = int(rng.integers(len(tensor.dims)))
                    tensor.dims[place] = NUMBERS[int(rng.integers(len(NUMBERS)))]
                if rng.random() < 0.5:
                    tensor.data_type = int(rng.integers(27))
            case _:
                made.opset_import[0].version = int(rng.integers(1, 30))
    return made.SerializeToString()


def _changed(attribute: Any, rng: np.random.Generator) -> None:
    number = NUMBERS[int(rng.integers(len(NUMBERS)))]
    if attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = number
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = number
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = float(rng.choice([0, -1, 1e30, np.inf, np.nan]))


# --- hostile ones ---


def doubling(path: Path) -> None:
    """Functions of two calls each, within each other: 2 to the 24th nodes of 24 functions."""
    made = model([node("F23", "x", "y", domain="own")], IMAGE, {})
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    for depth in range(24):
        kind, domain = (f"F{depth - 1}", "own") if depth else ("Relu", "")
        pair = [
            helper.make_node(kind, [source], [target], domain=domain)
            for source, target in (("a", "t"), ("t", "r"))
        ]
        made.functions.append(helper.make_function("own", f"F{depth}", ["a"], ["r"], pair, opsets))
    saved(path, made)


def waiting(path: Path) -> None:
    """A tensor whose values a pipe would tell."""
    made = onnx_models.convolution()
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=PIPE)
    saved(path, made)


def nested(path: Path) -> None:
    """Branches within branches."""
    inner = branches()
    for _ in range(20):
        outer = branches()
        outer["then_branch"].node.append(node("If", "q", "z", **inner))
        inner = outer
    saved(path, model([node("If", "q", "y", **inner)], IMAGE, {"q": np.array(True)}))


def large(path: Path) -> None:
    """Constants of a size that no file holds."""
    nodes = [node("ConstantOfShape", "s", "k"), node("Expand", "k t", "e"), node("Add", "x e", "y")]
    arrays = {"s": np.array([1 << 14] * 2), "t": np.array([1 << 14] * 3)}
    saved(path, model(nodes, IMAGE, arrays))


def powers(path: Path) -> None:
    """A value that is multiplied by itself 200 times."""
    nodes = [node("Mul", f"t{n} t{n}", f"t{n + 1}") for n in range(200)]
    nodes[0].input[:] = ["x", "x"]
    saved(path, model(nodes, IMAGE, {}, output="t200"))


HOSTILE: tuple[Callable[[Path], None], ...] = (doubling, waiting, nested, large, powers)


def _make(folder: Path) -> None:
    for name, make in WHOLE.items():
        saved(folder / f"{name}.onnx", make())


def _read(path: Path) -> None:
    # the folder beside the model is allowed, and what lies in it is no regular file
    models.read(path, Asked(external_data=str(path.parent)))


READERS = {
    "onnx_model": Reader(_make, _read, changes=(in_nodes, bytes_changed), constructed=HOSTILE)
}
