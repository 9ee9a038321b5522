"""What a Keras model states besides its layers is told, and what it is within others is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.importers import weight_files
from tests.importers.conversions import converted, refused
from tests.importers.keras_models import Change, Model, put
from tests.importers.test_stated_keras import WEIGHTS, written


def of_two_outputs(made: Model) -> None:
    made["config"]["output_layers"].append(["fc2", 0, 0])


NOTED: dict[str, tuple[Change, str]] = {
    "outputs": (of_two_outputs, "2 outputs (predictions, fc2), and refq has one"),
    "mixed": (
        put("fc1", dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}),
        "layers that compute in mixed_float16, where refq computes in float32",
    ),
    "bfloat16": (
        put("fc1", dtype="bfloat16"),
        "layers that compute in bfloat16, where refq computes in float32",
    ),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_a_model_states_besides_is_told(tmp_path: Path, case: str) -> None:
    change, told = NOTED[case]
    report = converted(written(tmp_path / "w.h5", change))
    assert report["sha256"] == WEIGHTS.sha256
    assert f"the model states {told}" in report["notes"]


def around(kind: str, calls: int) -> Change:
    """The model as one layer of another, in a layer of a kind or called as often."""

    def change(made: Model) -> None:
        inner = {**copy.deepcopy(made), "name": "inner"}
        entry = {**inner, "inbound_nodes": [[["data", 0, 0, {}]]] * calls}
        if kind != "Functional":
            entry |= {"class_name": kind, "config": {"name": "inner", "layer": inner}}
        shape = {"name": "data", "batch_input_shape": [None, 64, 64, 3]}
        data = {"class_name": "InputLayer", "name": "data", "config": shape, "inbound_nodes": []}
        made["config"] = {"layers": [data, entry], "output_layers": [["inner", 0, 0]]}

    return change


AROUND = {
    "twice": ("Functional", 2, "inner (Functional that is called 2 times)"),
    "in time": ("TimeDistributed", 1, "inner (TimeDistributed)"),
}


@pytest.mark.parametrize("case", AROUND)
def test_a_model_within_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    kind, calls, told = AROUND[case]
    message = refused(written(tmp_path / "w.h5", around(kind, calls)), capsys)
    assert f"no layers of a network, but {told}; expected layers that are called" in message


def test_values_of_bfloat16(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keras 3 stores them as pairs of bytes."""
    for path in (written(tmp_path / "w.h5"), tmp_path / "w.weights.h5"):
        if not path.exists():
            weight_files.keras3(path, {"c": [np.ones((3, 3, 3, 4)), np.ones(4)]})
        with h5py.File(path, "r+") as file:
            whole = path.name == "w.h5"
            place = "model_weights/block1_conv1" if whole else "layers/conv2d/vars"
            name = f"{place}/block1_conv1/kernel:0" if whole else f"{place}/0"
            del file[name]
            file.create_dataset(name, (3, 3, 3, 2), "V2").attrs["dtype"] = "bfloat16"
        told = refused(path, capsys)
        assert f"{name}: values of bfloat16; expected floats; save the model with dtype" in told
        path.unlink()
