"""Older versions of ONNX are read with today's meaning, and what only training does is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")


from tests.importers.onnx_models import IMAGE, kinds, model, node, read, refused  # noqa: E402

# today's operators of one of an older version: (opset, nodes, arrays, (kinds, told of the last))
SCALES = {"s": np.array([1, 1, 2, 2], np.float32)}
OLD: dict[str, tuple[int, list[Any], dict[str, np.ndarray], list[str], dict[str, Any]]] = {
    "Upsample 7": (
        7,
        [node("Upsample", "x", "y", mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])],
        {},
        ["Resize"],
        {"mode": "nearest", "nearest_mode": "floor"},
    ),
    "Upsample 9": (
        9,
        [node("Upsample", "x s", "y", mode="linear")],
        SCALES,
        ["Resize"],
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    ),
    "Resize 10": (
        10,
        [node("Resize", "x s", "y", mode="nearest")],
        SCALES,
        ["Resize"],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "Softmax 11": (
        11,
        [node("Softmax", "x", "y")],
        {},
        ["Flatten", "Softmax", "Shape", "Reshape"],
        {},
    ),
    "Softmax 11 of the last": (
        11,
        [node("Softmax", "x", "y", axis=-1)],
        {},
        ["Softmax"],
        {"axis": -1},
    ),
    "Softmax 13": (13, [node("Softmax", "x", "y")], {}, ["Softmax"], {"axis": -1}),
    "Dropout 7": (7, [node("Dropout", "x", "y", ratio=0.5)], {}, ["Identity"], {}),
    "Split 13": (13, [node("Split", "x", "a y", axis=3)], {}, ["Split"], {"num_outputs": 2}),
    "BatchNormalization 7": (
        7,
        [node("BatchNormalization", "x g g g g", "y", spatial=1, momentum=0.5)],
        {"g": np.ones(3, np.float32)},
        ["BatchNormalization"],
        {},
    ),
    "Cast 5": (5, [node("Cast", "x", "y", to="FLOAT")], {}, ["Cast"], {"to": 1}),
    "Add 6": (6, [node("Add", "x s", "y", broadcast=1)], SCALES, ["Add"], {}),
    "Reshape 4": (4, [node("Reshape", "x", "y", shape=[1, -1])], {}, ["Reshape"], {}),
    "Concat 3": (3, [node("Concat", "x x", "y")], {}, ["Concat"], {"axis": 1}),
    "TopK 9": (9, [node("TopK", "x", "y i", k=2)], {}, ["TopK"], {}),
}


@pytest.mark.parametrize("case", OLD)
def test_older_versions(tmp_path: Path, case: str) -> None:
    opset, nodes, arrays, wanted, said = OLD[case]
    found = read(tmp_path, model(nodes, IMAGE, arrays, opset))
    assert kinds(found) == wanted
    last = found.operators[-1].attributes
    assert {key: last.get(key) for key in said} == said
    assert not {"spatial", "momentum", "broadcast", "k", "shape"} & last.keys()


def test_nearest_of_version_10_that_makes_smaller(tmp_path: Path) -> None:
    smaller = {"s": np.array([1, 1, 0.5, 0.5], np.float32)}
    found = read(tmp_path, model([node("Resize", "x s", "y")], IMAGE, smaller, 10))
    assert found.operators[0].attributes["nearest_mode"] == "ceil"
    both = {"s": np.array([1, 1, 0.5, 2], np.float32)}
    assert "a Resize of scales" in refused(
        tmp_path, model([node("Resize", "x s", "y")], IMAGE, both, 10)
    )


TRAINING = {
    "BatchNormalization": (node("BatchNormalization", "x g g g g", "y", training_mode=1), 15),
    "its outputs": (node("BatchNormalization", "x g g g g", "y m v", momentum=0.5), 13),
    "single pixels": (node("BatchNormalization", "x g g g g", "y", spatial=0), 7),
    "Dropout": (node("Dropout", "x r t", "y"), 13),
    "is_test": (node("Dropout", "x", "y", is_test=0), 6),
}


@pytest.mark.parametrize("case", TRAINING)
def test_what_only_training_does(tmp_path: Path, case: str) -> None:
    what, opset = TRAINING[case]
    arrays = {"g": np.ones(3, np.float32), "r": np.array([0.5], np.float32), "t": np.array(True)}
    told = refused(tmp_path, model([what], IMAGE, arrays, opset))
    assert "in training mode" in told or "of single pixels" in told
    assert told.endswith("export after model.eval()")
