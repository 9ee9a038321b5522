"""Scaling, cropping, channels and means."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from refq.data.preprocessing import Preprocessing, apply, from_json, scaled_size
from refq.data.presets import caffe, for_network
from refq.errors import DataError, OptionError
from tests.data.pictures import error_of, noise


def test_crop_takes_the_centre_the_smaller_half_first() -> None:
    image = noise(7, 10, 3)
    rule = Preprocessing(crop=(4, 5), shorter=(5, 9))
    values = apply(rule, image)
    # 3 rows go: 1 above, 2 below. 5 columns go: 2 left, 3 right.
    assert (values == image[1:5, 2:7].transpose(2, 0, 1)).all()
    assert values.dtype == np.float32 and values.shape == (3, 4, 5) and values.flags.c_contiguous


def test_channels_mean_and_scale_by_hand() -> None:
    image = np.array([[[10, 20, 40]], [[250, 0, 255]]], np.uint8)
    common: dict[str, Any] = {"crop": (2, 1), "shorter": (1, 1), "mean": (1.0, 2.0, 4.5)}
    rgb = apply(Preprocessing(**common, scale=2.0), image)
    assert rgb[:, :, 0].tolist() == [[18, 498], [36, -4], [71, 501]]
    bgr = apply(Preprocessing(**common, channels="BGR", scale=0.5), image)
    assert bgr[:, :, 0].tolist() == [[19.5, 127], [9, -1], [2.75, 122.75]]
    assert apply(caffe((3, 2, 1)), image)[:, :, 0].tolist() == [
        [-64, 151],
        [-97, -117],
        [-113, 127],
    ]


@pytest.mark.parametrize(
    ("size", "shorter", "crop", "wanted"),
    [
        ((300, 500), (224, 256), (224, 224), (256, 427)),  # 426.67
        ((500, 300), (224, 256), (224, 224), (427, 256)),
        ((230, 999), (224, 256), (224, 224), (230, 999)),  # within the bounds: left alone
        ((32, 32), (224, 256), (224, 224), (224, 224)),
        ((1, 3), (224, 256), (224, 224), (224, 672)),
        ((4, 5), (2, 2), (2, 2), (2, 3)),  # 2.5 rounds up
        ((4, 7), (2, 2), (2, 2), (2, 4)),  # and so does 3.5
        ((333, 334), (227, 227), (227, 227), (227, 228)),  # 227.68
        ((480, 480), (240, 240), (240, 320), (320, 320)),  # the crop is wider than 240x240
        ((480, 640), (240, 240), (240, 320), (240, 320)),
        ((640, 480), (240, 240), (240, 320), (427, 320)),
        ((250, 250), (240, 300), (240, 320), (320, 320)),  # in the bounds, yet too narrow
        ((1000, 400), (240, 256), (240, 320), (800, 320)),
    ],
)
def test_scaled_size(
    size: tuple[int, int], shorter: tuple[int, int], crop: tuple[int, int], wanted: tuple[int, int]
) -> None:
    assert scaled_size(size, shorter, crop) == wanted


def test_every_image_size_covers_the_crop() -> None:
    for rows in range(1, 40):
        for columns in range(1, 40):
            for shorter, crop in (((7, 9), (7, 11)), ((5, 5), (5, 3)), ((12, 14), (12, 12))):
                size = scaled_size((rows, columns), shorter, crop)
                assert size[0] >= crop[0] and size[1] >= crop[1]
                if crop[0] == crop[1]:
                    assert shorter[0] <= min(size) <= shorter[1]


@pytest.mark.parametrize("size", [(1, 1), (3, 17), (40, 31), (9, 90)])
def test_scaling_is_pillows_bicubic(size: tuple[int, int]) -> None:
    pil = pytest.importorskip("PIL.Image", reason="scaling needs Pillow")
    image = noise(*size, 3)
    rule = Preprocessing(crop=(11, 13), shorter=(14, 15))
    rows, columns = scaled_size(size, rule.shorter, rule.crop)
    scaled = np.asarray(pil.fromarray(image).resize((columns, rows), pil.Resampling.BICUBIC))
    top, left = (rows - 11) // 2, (columns - 13) // 2
    wanted = scaled[top : top + 11, left : left + 13].transpose(2, 0, 1)
    assert (apply(rule, image) == wanted).all()


def test_images_that_are_none() -> None:
    rule = caffe((3, 4, 4))
    for image in (noise(4, 4), noise(4, 4, 4), noise(0, 4, 3), np.zeros((4, 4, 3))):
        with error_of(DataError, "expected uint8 (rows, columns, 3)"):
            apply(rule, image)
    with error_of(DataError, "1x2000 to be scaled to 224x448000; expected sides of at most 32768"):
        apply(caffe((3, 224, 224)), noise(1, 2000, 3))


def test_preprocessing_is_json() -> None:
    rule = Preprocessing((5, 6), (6, 8), "BGR", (1.0, 2.0, 3.5), 1 / 255)
    assert from_json(json.loads(json.dumps(rule.to_json()))) == rule
    assert from_json({"crop": [5, 6], "shorter": [6, 8]}) == Preprocessing((5, 6), (6, 8))
    assert str(caffe((3, 227, 227))) == (
        "shorter side 227..256 (bicubic), centre crop 227x227, BGR - (104, 117, 123), x 1"
    )
    assert caffe((3, 227, 227)).bounds == (-123, 151) and caffe((3, 227, 227)).integral
    assert not rule.integral


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"channels": "GBR"}, "channel order 'GBR'; expected RGB or BGR"),
        ({"crop": [9, 8]}, "bounds in order, the lower one at least the crop's shorter side"),
        ({"shorter": [8, 7]}, "bounds in order"),
        ({"crop": [0, 4]}, "crop (0, 4); expected two whole numbers of 1 or more"),
        ({"crop": 5}, "crop 5; expected two whole numbers"),
        ({"shorter": [7.5, 8]}, "shorter (7.5, 8); expected two whole numbers"),
        ({"mean": [1, 2]}, "mean (1, 2); expected three numbers"),
        ({"mean": [1, 2, float("nan")]}, "expected three numbers"),
        ({"scale": 0}, "scale 0; expected a number other than 0"),
        ({"scale": "1"}, "scale '1'; expected a number"),
        ({"size": 1}, "key 'size'; expected crop, shorter"),
    ],
)
def test_wrong_preprocessing(change: dict[str, Any], text: str) -> None:
    with error_of(OptionError, text):
        from_json({"crop": [5, 6], "shorter": [7, 8], **change})


def test_keys_of_preprocessing() -> None:
    with error_of(OptionError, "no key 'shorter'; expected crop, shorter, channels, mean, scale"):
        from_json({"crop": [5, 6]})
    with error_of(OptionError, "key 'gamma'; expected crop, shorter, channels, mean, scale"):
        from_json({"crop": [5, 6], "shorter": [7, 8], "gamma": 1})


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ({}, "no key 'crop'; expected crop"),
        ({"crop": [5, 6]}, "no key 'shorter'; expected crop"),
        ({"crop": [5, 6], "shorter": [7, 8], "gamma": 1}, "key 'gamma'; expected crop"),
        ({"crop": [5, 6], "shorter": [8, 7]}, "shorter side within (8, 7) and crop (5, 6)"),
        ({"crop": [5, 6], "shorter": [7, 8], "scale": 0}, "scale 0; expected a number other"),
        ({"crop": [6, 6], "shorter": [7, 8]}, "crop (6, 6); expected the network's (5, 6)"),
    ],
)
def test_preprocessing_of_a_file(stored: dict[str, Any], text: str) -> None:
    with error_of(OptionError, f"w.h5: attribute 'preprocessing': {text}"):
        for_network({"preprocessing": stored}, (3, 5, 6), "w.h5")
