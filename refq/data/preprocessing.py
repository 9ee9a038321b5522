"""Preprocessing as data: stored with the weights and printed in every report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np

from refq.data.decoding import pillow
from refq.errors import DataError, OptionError

LONGEST = 1 << 15  # a strip of 1x60000 scaled to 224 rows would take gigabytes


@dataclass(frozen=True)
class Preprocessing:
    """From a decoded image to the network's input, step by step.

    shorter: the image is scaled (bicubic, aspect kept) to bring its shorter side within these
    two bounds, and further up where the crop would not fit; an image that needs neither is left
    alone. crop: (rows, columns) cut from the centre. channels: RGB or BGR. mean (three values in
    that channel order) and scale: (x - mean) * scale, in float32.
    """

    crop: tuple[int, int]
    shorter: tuple[int, int]
    channels: str = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR"):
            raise OptionError(f"channel order {self.channels!r}", "RGB or BGR")
        for name, sizes in (("crop", self.crop), ("shorter", self.shorter)):
            if not _all(sizes, 2, int) or min(sizes) < 1:
                raise OptionError(f"{name} {sizes!r}", "two whole numbers of 1 or more")
        if self.shorter[0] > self.shorter[1] or min(self.crop) > self.shorter[0]:
            raise OptionError(
                f"shorter side within {self.shorter} and crop {self.crop}",
                "bounds in order, the lower one at least the crop's shorter side",
            )
        if not _all(self.mean, 3, (int, float)) or not all(map(math.isfinite, self.mean)):
            raise OptionError(f"mean {self.mean!r}", "three numbers")
        if not _all((self.scale,), 1, (int, float)) or not 0 < abs(self.scale) < math.inf:
            raise OptionError(f"scale {self.scale!r}", "a number other than 0")

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value an 8-bit image can take."""
        ends = [(pixel - mean) * self.scale for pixel in (0, 255) for mean in self.mean]
        return min(ends), max(ends)

    @property
    def integral(self) -> bool:
        """True where every value is an integer, so that a format with F = 0 is exact."""
        return self.scale == 1.0 and all(float(mean).is_integer() for mean in self.mean)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        low, high = self.shorter
        mean = ", ".join(f"{value:g}" for value in self.mean)
        return (
            f"shorter side {low}..{high} (bicubic), centre crop {self.crop[0]}x{self.crop[1]}, "
            f"{self.channels} - ({mean}), x {self.scale:g}"
        )


def _all(values: object, count: int, kind: type | tuple[type, ...]) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) == count
        and all(isinstance(value, kind) for value in values)
    )


def from_json(stored: Mapping[str, Any]) -> Preprocessing:
    """The inverse of to_json. Raises OptionError for unknown or missing keys, or bad values."""
    known = {each.name: each.default is MISSING for each in fields(Preprocessing)}
    strange = [str(key) for key in stored if key not in known]
    if strange:
        raise OptionError(f"key {strange[0]!r}", f"{', '.join(known)}")
    for key, needed in known.items():
        if needed and key not in stored:
            raise OptionError(f"no key {key!r}", f"{', '.join(known)}")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()
    }
    return Preprocessing(**values)


def caffe(input_shape: tuple[int, ...]) -> Preprocessing:
    """What Caffe's ImageNet models expect: BGR minus (104, 117, 123), shorter side at most 256."""
    crop = (input_shape[1], input_shape[2])
    side = min(crop)
    return Preprocessing(crop, (side, max(256, side)), "BGR", (104.0, 117.0, 123.0))


def for_network(
    metadata: Mapping[str, Any], input_shape: tuple[int, ...], source: str = "weights"
) -> Preprocessing:
    """What a weight file states, else what Caffe's models expect.

    source: the file's name. Raises OptionError where what it states is none, or is of another size
    than the network's.
    """
    stored = metadata.get("preprocessing")
    try:
        preprocessing = caffe(input_shape) if stored is None else from_json(stored)
    except OptionError as error:
        raise OptionError(
            f"{source}: attribute 'preprocessing': {error.found}", error.wanted
        ) from None
    if preprocessing.crop != input_shape[1:]:
        raise OptionError(
            f"{source}: attribute 'preprocessing': crop {preprocessing.crop}",
            f"the network's {input_shape[1:]}",
        )
    return preprocessing


def apply(preprocessing: Preprocessing, image: np.ndarray) -> np.ndarray:
    """float32 (3, rows, columns) from a uint8 RGB image (rows, columns, 3).

    Raises DataError where the image must be scaled and Pillow is missing.
    """
    cut = scale_and_crop(image, preprocessing.shorter, preprocessing.crop)
    if preprocessing.channels == "BGR":
        cut = cut[:, :, ::-1]
    values = cut.transpose(2, 0, 1).astype(np.float32, order="C")
    values -= np.asarray(preprocessing.mean, np.float32)[:, None, None]
    if preprocessing.scale != 1.0:
        values *= np.float32(preprocessing.scale)
    return values


def scale_and_crop(
    image: np.ndarray, shorter: tuple[int, int], crop: tuple[int, int]
) -> np.ndarray:
    """The geometry alone: uint8 (rows, columns, 3) -> uint8 (crop rows, crop columns, 3).

    Where an odd number of rows or columns is cut away, the smaller half goes at the top or left.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise DataError(
            f"an image of dtype {image.dtype} and shape {image.shape}", "uint8 (rows, columns, 3)"
        )
    rows, columns = scaled_size((image.shape[0], image.shape[1]), shorter, crop)
    if (rows, columns) != image.shape[:2]:
        image = _resized(image, rows, columns)
    top, left = (rows - crop[0]) // 2, (columns - crop[1]) // 2
    return image[top : top + crop[0], left : left + crop[1]]


def scaled_size(
    size: tuple[int, int], shorter: tuple[int, int], crop: tuple[int, int]
) -> tuple[int, int]:
    """(rows, columns) that an image of `size` is scaled to; each rounds half up."""
    side = min(size)
    factor = Fraction(min(max(side, shorter[0]), shorter[1]), side)
    # A crop that is not square may reach beyond an image whose shorter side suffices.
    factor = max(factor, Fraction(crop[0], size[0]), Fraction(crop[1], size[1]))
    half = Fraction(1, 2)
    return math.floor(size[0] * factor + half), math.floor(size[1] * factor + half)


def _resized(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    found = f"an image of {image.shape[0]}x{image.shape[1]} to be scaled to {rows}x{columns}"
    if max(rows, columns) > LONGEST:
        raise DataError(found, f"sides of at most {LONGEST}", "crop the image first")
    pil = pillow(f"scaling {found}")
    return np.asarray(pil.fromarray(image).resize((columns, rows), pil.Resampling.BICUBIC))
