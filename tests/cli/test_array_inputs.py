"""Arrays, labels and preprocessing as commands take them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.cli.preparing import Stated, prepared
from refq.data import Dataset, Preprocessing
from refq.errors import DataError
from refq.evaluate import main
from refq.export import main as export
from refq.networks import Network, chain
from refq.networks.graph import INPUT
from refq.networks.layers import ReLU
from tests.data.pictures import error_of, noise, numbered

SMALL = ("resnet20", "--weights", "random:0")
RNG = np.random.default_rng(23)
CAFFE = Preprocessing((7, 9), (7, 9), "BGR", (104.0, 117.0, 123.0))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Six inputs of normal numbers, and labels of theirs."""
    path = tmp_path / "x.npz"
    x = RNG.normal(3, 20, (6, 32, 32, 3)).astype(np.float32)
    np.savez(path, inputs=x, labels=np.array([0, 1, 2, 3, 4, 9]), other=1)
    return path


def test_a_report_tells_how_arrays_are_taken(
    inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uniform = ("--scheme", "uniform", "--frac-act", "4", "--calibrate", "4")
    assert main([*SMALL, "--data", str(inputs), *uniform]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("data"))
    x = np.load(inputs)["inputs"][:4]
    assert lines[at].startswith("data     x.npz: inputs (float32), 6 images  sha256 ")
    assert lines[at + 1].startswith("labels   6 classes (0..9) of 1 image each: row 0 is 0, row")
    assert lines[at + 2 : at + 7] == [
        "         rows of 32x32x3, channels last, taken as 3x32x32",
        "         arrays that are not read: other",
        "input    3x32x32 of float32, as they are (assumed; --preprocessing tells another)",
        f"         {x.min():g} to {x.max():g} in 4 of calibration",
        "calibrated on 4 images of x.npz: inputs (float32)",
    ]


def test_arrays_of_pixels_are_images(tmp_path: Path, evaluation: Callable[..., Any]) -> None:
    pixels = noise(4, 32, 32, 3)
    np.save(tmp_path / "x.npy", pixels)
    np.save(tmp_path / "f.npy", pixels.transpose(0, 3, 1, 2).astype("f8"))
    for index, image in enumerate(pixels):
        from PIL import Image

        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
    uniform = ("--scheme", "uniform", "--frac-act", "0")
    for rule in ("torchvision", "caffe", "raw"):
        made = [
            evaluation(*SMALL, "--data", tmp_path / name, "--preprocessing", rule, *uniform)
            for name in ("x.npy", "images", "f.npy")
        ]
        for other in made[1:2] if rule != "raw" else made[1:]:
            assert made[0]["plan"] == other["plan"]
            assert made[0]["output_sqnr_db"] == other["output_sqnr_db"]


def test_rows_that_cannot_be_taken(
    inputs: Path, tmp_path: Path, refusal: Callable[..., str], evaluation: Callable[..., Any]
) -> None:
    x = np.load(inputs)["inputs"]
    x[2, 5, 6, 1] = np.nan
    bad = tmp_path / "bad.npy"
    np.save(bad, x)
    told = refusal(main, *SMALL, "--data", bad, "--skip", 2)
    assert told.startswith(f"refq: {bad}, row 2: nan at [5, 6, 1]; expected finite numbers")
    got = evaluation(*SMALL, "--data", bad, "--bad-images", "skip")
    assert got["images"] == 5 and got["data"]["skipped"][0]["image"] == f"{bad}, row 2"


def test_labels_by_option(
    inputs: Path, tmp_path: Path, refusal: Callable[..., str], evaluation: Callable[..., Any]
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("5\n5\n5\n5\n5\n5\n")
    data = ("--data", inputs, "--labels", labels)
    told = evaluation(*SMALL, *data)["data"]
    assert told["labels"]["classes"] == 1 and told["labels"]["first"] == 5
    assert (
        told["notes"][-1] == f"labels of {labels} in place of the data's own, of which 6 are others"
    )
    assert "--labels with --classes; expected one" in refusal(
        main, *SMALL, *data, "--classes", labels
    )
    labels.write_text("5\n5\n5\n5\n5\n10\n")
    assert "row 5: label 10; expected 0..9 for a net" in refusal(main, *SMALL, *data)
    assert "labels of shape (6,); expected (4,)" in refusal(
        main, *SMALL, "--data", "random:4", "--labels", labels
    )


def test_an_array_of_a_file_is_an_input_of_the_command(
    inputs: Path, refusal: Callable[..., str]
) -> None:
    command = (*SMALL, "--data", f"{inputs}:inputs", "--json", inputs)
    assert "x.npz as --data and as --json; expected two diff" in refusal(main, *command)


def test_other_commands_take_arrays(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "golden"
    plan = ("--scheme", "uniform", "--frac-act", "0", "--layers", "conv1")
    arguments = [*SMALL, "--data", inputs, *plan, "--preprocessing", "unit", "--out", out]
    assert export(list(map(str, arguments))) == 0
    about = json.loads((out / "manifest.json").read_text())["images"]
    assert about["preprocessing"] == "3x32x32 of float32, RGB - (0), x 0.00392157"
    assert about["labels"] == [0]


def made(shape: tuple[int, ...]) -> Network:
    return Network("made", shape, tuple(chain(INPUT, ("relu", ReLU()))))


def rows(dtype: str) -> Dataset:
    return Dataset("rows", 1, lambda at: np.zeros((3, 7, 9), dtype), str, array=np.dtype(dtype))


@pytest.mark.parametrize(
    ("asked", "stated", "named", "data", "wanted"),
    [
        (None, False, True, numbered(1), "centre crop 7x9, BGR - (104, 117, 123), x 1"),
        (None, True, False, numbered(1), "centre crop 7x9, BGR - (104, 117, 123), x 1"),
        ("unit", True, True, numbered(1), "centre crop 7x9, RGB - (0), x 0.00392157"),
        (None, False, False, numbered(1), " (assumed: torchvision; --preprocessing tells another)"),
        (None, True, False, rows("u1"), "3x7x9 of uint8, BGR - (104, 117, 123), x 1"),
        (None, False, True, rows("u1"), "3x7x9 of uint8, as they are (assumed; --preproc"),
        ("none", True, False, rows("u1"), "3x7x9 of uint8, as they are"),
        ("caffe", False, False, rows("f4"), "3x7x9 of float32, BGR - (104, 117, 123), x 1"),
        (
            None,
            True,
            False,
            rows("f4"),
            "as they are (not pixels, which the weights want as BGR - (104, 117, 123), x 1; --",
        ),
    ],
)
def test_which_preprocessing(
    asked: str | None, stated: bool, named: bool, data: Dataset, wanted: str
) -> None:
    metadata = {"preprocessing": CAFFE.to_json()} if stated else {}
    metadata = json.loads(json.dumps(metadata))
    assert wanted in str(prepared(Stated(asked, metadata, "w.h5", named), made((3, 7, 9)), data))


def test_images_for_other_networks() -> None:
    nothing = Stated(None, {}, "w.h5", False)
    gray = prepared(nothing, made((1, 7, 9)), numbered(1))
    assert str(gray).endswith("GRAY - (0), x 1 (assumed: raw; --preprocessing tells another)")
    for shape in ((2, 7, 9), (5,), (4, 1, 9)):
        with error_of(DataError, "numbered for a network of inputs") as told:
            prepared(nothing, made(shape), numbered(1))
        assert "images have 3 channels, or 1 in gray" in str(told.value)
