"""Arrays of a network that has several inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refq.data import open_dataset
from refq.errors import DataError
from refq.networks.graph import INPUT, Network, Node
from refq.networks.layers import Concat, Slice
from refq.networks.parts import input_parts

PARTS = {"signal": (1, 1, 6), "map": (2, 1, 6)}
SHAPE = (3, 1, 6)


def _slices(*names: str) -> Network:
    nodes = (
        Node("signal", Slice((0, 0, 0), (1, 1, 6), (1, 1, 1)), (INPUT,)),
        Node("map", Slice((1, 0, 0), (3, 1, 6), (1, 1, 1)), (INPUT,)),
        Node("both", Concat(), names),
    )
    return Network("two", SHAPE, nodes)


def test_parts_are_what_the_input_is_sliced_into() -> None:
    assert input_parts(_slices("signal", "map")) == PARTS
    one = Network("one", SHAPE, (Node("both", Concat(), (INPUT, INPUT)),))
    assert input_parts(one) == {}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path, rng = tmp_path / "two.npz", np.random.default_rng(3)
    np.savez(
        path,
        map=rng.normal(size=(4, 2, 6)),
        signal=rng.normal(size=(4, 6)).astype(np.float32),
        other=np.zeros(3),
        labels=np.arange(4),
    )
    return path


def test_arrays_of_the_inputs_names_are_joined(file: Path) -> None:
    dataset = open_dataset(str(file), SHAPE, parts=PARTS)
    arrays = np.load(file)
    assert len(dataset) == 4 and dataset.labels is not None
    for index in range(4):
        wanted = np.concatenate(
            [arrays["signal"][index][None, None], arrays["map"][index][:, None]]
        )
        np.testing.assert_array_equal(dataset.image(index), wanted.astype(np.float32))
    assert any("other" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"signal": np.zeros((4, 6))}, "map is missing"),
        ({"signal": np.zeros((4, 6)), "map": np.zeros((3, 2, 6))}, "as many of each input"),
        ({"signal": np.zeros((4, 6)), "map": np.zeros((4, 2, 7))}, r"map of float64 \(4, 2, 7\)"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], text: str) -> None:
    np.savez(tmp_path / "two.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=text):
        open_dataset(str(tmp_path / "two.npz"), SHAPE, parts=PARTS)
