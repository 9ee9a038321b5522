"""Named preprocessing, a user's file, and what becomes of arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refq.data import batches, presets, random_
from refq.data.as_stored import AsStored
from refq.data.dataset import Dataset
from refq.data.preprocessing import Preprocessing, gray
from refq.data.ranges import Range, range_of
from refq.errors import OptionError
from tests.data.pictures import error_of, noise

RGB, GRAY = (3, 4, 6), (1, 4, 6)


def test_torchvisions_is_its_transform() -> None:
    image = noise(4, 6, 3)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = ((image / 255 - mean) / deviation).transpose(2, 0, 1)
    rule = presets.named("torchvision", RGB)
    assert np.abs(rule(image) - wanted).max() < 1e-6
    black, white = (0 - mean) / deviation, (1 - mean) / deviation
    assert rule.bounds == pytest.approx((black.min(), white.max())) and not rule.integral
    assert rule.shape == RGB


@pytest.mark.parametrize(
    ("name", "wanted", "bounds", "integral"),
    [
        ("keras", lambda x: x / 127.5 - 1, (-1, 1), False),
        ("unit", lambda x: x / 255, (0, 1), False),
        ("raw", lambda x: x, (0, 255), True),
        ("none", lambda x: x, (0, 255), True),
        ("mxnet", lambda x: x - [123.68, 116.779, 103.939], (-123.68, 151.061), False),
        ("caffe", lambda x: x[..., ::-1] - [104.0, 117, 123], (-123, 151), True),
    ],
)
def test_presets(name: str, wanted: Any, bounds: tuple[float, float], integral: bool) -> None:
    image = noise(4, 6, 3)
    rule = presets.named(name, RGB)
    got = rule(image)
    assert np.abs(got - wanted(image.astype(float)).transpose(2, 0, 1)).max() < 2e-5
    assert rule.bounds == pytest.approx(bounds, abs=1e-6) and rule.integral == integral
    assert got.dtype == np.float32 and got.flags.c_contiguous
    assert presets.from_json(json.loads(json.dumps(rule.to_json()))) == rule


def test_images_in_gray() -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is what it is compared with")
    image = np.concatenate(
        [noise(63, 64, 3), np.repeat(np.arange(64, dtype=np.uint8), 3).reshape(1, 64, 3)]
    )
    assert (gray(image)[:, :, 0] == np.asarray(pil.fromarray(image).convert("L"))).all()
    assert (gray(image)[-1, :, 0] == np.arange(64)).all()
    rule = presets.named("keras", GRAY)
    small = noise(4, 6, 3)
    assert rule(small).shape == GRAY
    assert np.abs(rule(small)[0] - (gray(small)[:, :, 0] / 127.5 - 1)).max() < 1e-6
    picture = pil.fromarray(image).convert("L")
    wanted = np.asarray(picture.resize((6, 6), pil.Resampling.BICUBIC))[1:5]
    assert (presets.asked("raw", (1, 4, 6))(image)[0] == wanted).all()
    with error_of(OptionError, "torchvision for 1 channel; expected keras, inception, unit, raw"):
        presets.named("torchvision", GRAY)


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
def test_images_are_stretched(filter: str) -> None:
    pil = pytest.importorskip("PIL.Image", reason="scaling needs Pillow")
    image = noise(9, 5, 3)
    rule = Preprocessing((4, 6), (4, 4), resize="stretch", filter=filter)
    resampling = pil.Resampling[filter.upper()]
    wanted = np.asarray(pil.fromarray(image).resize((6, 4), resampling))
    assert (rule(image) == wanted.transpose(2, 0, 1)).all()
    assert str(rule) == f"stretched to 4x6 ({filter}), RGB - (0), x 1"


def test_as_much_is_cut_out_as_usual() -> None:
    assert presets.named("torchvision", (3, 224, 224)).shorter == (224, 256)
    assert presets.named("keras", (3, 32, 32)).shorter == (32, 36)
    assert presets.named("caffe", (3, 227, 227)).shorter == (227, 256)


def saved(path: Path, **content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def test_a_file_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    rule = presets.asked(saved(path, mean=[1, 2, 3], scale=[0.5, 0.25, 2], channels="BGR"), RGB)
    assert rule == Preprocessing((4, 6), (4, 4), "BGR", (1, 2, 3), (0.5, 0.25, 2))
    image = noise(4, 6, 3)
    assert rule(image)[0, 1, 2] == (float(image[1, 2, 2]) - 1) / 2
    assert presets.asked(saved(path), GRAY).channels == "GRAY"
    assert str(rule).endswith("BGR - (1, 2, 3), x (0.5, 0.25, 2)")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"gamma": 2}, "key 'gamma'; expected crop"),
        ({"mean": [1, 2]}, "mean (1, 2); expected three numbers"),
        ({"mean": []}, "mean (); expected three numbers"),
        ({"scale": [1, 0, 1]}, "scale (1, 0, 1); expected a number other than 0, or three numbers"),
        ({"scale": [1, True, 1]}, "scale (1, True, 1); expected a number other than 0"),
        ({"resize": "squash"}, "resize 'squash'; expected shorter or stretch"),
        ({"filter": ["bicubic"]}, "filter ('bicubic',); expected bicubic or bilinear"),
        ({"crop": [4, 5], "shorter": [4, 4]}, "crop (4, 5); expected the network's (4, 6)"),
        ({"channels": "GRAY"}, "GRAY - (0), x 1 for 3 channels; expected channels RGB, with one"),
        ({"channels": "stored", "mean": [1, 2]}, "stored - (1, 2), x 1 for 3 channels; expected"),
    ],
)
def test_files_that_are_no_preprocessing(
    tmp_path: Path, content: dict[str, Any], text: str
) -> None:
    path = tmp_path / "rule.json"
    with error_of(OptionError, f"{path}: {text}"):
        presets.asked(saved(path, **content), RGB)


def test_names_that_are_no_preprocessing(tmp_path: Path) -> None:
    with error_of(OptionError, "unknown preprocessing 'imagenet'; expected one of FILE.json, c"):
        presets.asked("imagenet", RGB)
    with error_of(OptionError, "no.json"):
        presets.asked(str(tmp_path / "no.json"), RGB)
    (tmp_path / "list.json").write_text("[1]")
    with error_of(OptionError, "list.json"):
        presets.asked(str(tmp_path / "list.json"), RGB)


def test_weights_that_state_nothing_take_the_default() -> None:
    assert presets.for_network({}, RGB) == presets.caffe(RGB)
    assert presets.for_network({}, RGB, default="unit") == presets.named("unit", RGB)


def test_arrays_are_as_they_are_or_normalized() -> None:
    row = noise(3, 4, 6)
    plain = AsStored(RGB, row.dtype)
    assert (plain(row) == row).all() and plain(row).dtype == np.float32
    assert plain.bounds == (0, 255) and plain.integral
    assert str(plain) == "3x4x6 of uint8, as they are"
    ruled = AsStored(RGB, row.dtype, presets.named("caffe", RGB))
    image = np.ascontiguousarray(row.transpose(1, 2, 0))
    assert (ruled(row) == presets.caffe(RGB)(image)).all()
    assert ruled.bounds == (-123, 151) and ruled.integral
    before = row.astype(np.float32)
    AsStored(RGB, before.dtype, presets.named("keras", RGB))(before)
    assert (before == row).all()  # a row that the data set keeps is not changed
    flat = presets.asked("unit", (5,))
    assert flat.channels == "stored"
    assert np.allclose(AsStored((5,), row.dtype, flat)(np.arange(5)), np.arange(5) / 255)
    many = Preprocessing((1, 2), (1, 1), "stored", (1.0, 2.0, 3.0, 4.0), 2.0)
    got = AsStored((4, 1, 2), np.dtype("f4"), presets.fitting(many, (4, 1, 2)))(
        np.full((4, 1, 2), 5.0)
    )
    assert got[:, 0, 1].tolist() == [8, 6, 4, 2]


@pytest.mark.parametrize(
    ("dtype", "integral"), [("i2", True), ("f4", False), ("f8", False), ("u2", True)]
)
def test_the_range_of_arrays_is_that_of_the_data(dtype: str, integral: bool) -> None:
    values = np.arange(40).reshape(5, 2, 1, 4).astype(dtype)
    data = Dataset("rows", 5, lambda at: values[at], str, array=values.dtype)
    rule = AsStored((2, 1, 4), data.array or values.dtype)
    assert rule.bounds is None
    found = range_of(rule, batches(data, rule, 2, 0, 4))
    assert found == Range((0, 31), integral, 4)
    assert range_of(AsStored((1,), np.dtype(bool)), []) == Range((0, 1), True)


def test_noise_for_networks_of_other_inputs() -> None:
    for shape in ((1, 5, 7), (4, 5, 7), (6,), (2, 1, 9)):
        data = random_.open_random("random:3:5", shape)
        assert data.array == np.uint8 and data.image(1).shape == shape
        assert (data.image(1) != data.image(2)).any()
    assert random_.open_random("random:3", (3, 5, 7)).image(0).shape == (5, 7, 3)
