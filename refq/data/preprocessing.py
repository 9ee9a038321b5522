"""Preprocessing as data: stored with the weights and printed in every report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from refq.errors import DataError, OptionError


@dataclass(frozen=True)
class Preprocessing:
    """From a decoded image to the network's input, step by step.

    shorter: the image is scaled (bicubic, aspect kept) so that its shorter side lies within
    these two bounds; an image already within them is left alone. crop: (rows, columns) cut from
    the centre. channels: RGB or BGR. mean and scale, in that channel order: (x - mean) * scale.
    """

    crop: tuple[int, int]
    shorter: tuple[int, int]
    channels: str = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR"):
            raise OptionError(f"channel order {self.channels!r}", "RGB or BGR")
        if self.shorter[0] > self.shorter[1] or max(self.crop) > self.shorter[0]:
            raise OptionError(
                f"shorter side within {self.shorter} and crop {self.crop}",
                "bounds in order, the lower one at least the crop",
            )

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


def from_json(stored: Mapping[str, Any]) -> Preprocessing:
    """The inverse of to_json. Raises OptionError for unknown or missing keys."""
    try:
        values = {
            key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()
        }
        return Preprocessing(**values)
    except TypeError as error:
        raise OptionError(f"preprocessing {dict(stored)}: {error}") from None


def caffe(input_shape: tuple[int, ...]) -> Preprocessing:
    """What Caffe's ImageNet models expect: BGR minus (104, 117, 123), shorter side at most 256."""
    crop = (input_shape[1], input_shape[2])
    side = max(crop)
    return Preprocessing(crop, (side, max(256, side)), "BGR", (104.0, 117.0, 123.0))


def apply(preprocessing: Preprocessing, image: np.ndarray) -> np.ndarray:
    """float32 (3, rows, columns) from a uint8 RGB image (rows, columns, 3).

    Raises DataError where the image must be scaled and Pillow is missing.
    """
    image = _bring_within(image, preprocessing.shorter)
    rows, columns = preprocessing.crop
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    cut = image[top : top + rows, left : left + columns]
    if preprocessing.channels == "BGR":
        cut = cut[:, :, ::-1]
    values = cut.transpose(2, 0, 1).astype(np.float32)
    values -= np.asarray(preprocessing.mean, np.float32)[:, None, None]
    if preprocessing.scale != 1.0:
        values *= np.float32(preprocessing.scale)
    return values


def _bring_within(image: np.ndarray, shorter: tuple[int, int]) -> np.ndarray:
    low, high = shorter
    rows, columns = image.shape[:2]
    side = min(rows, columns)
    if low <= side <= high:
        return image
    target = low if side < low else high
    size = (max(target, round(columns * target / side)), max(target, round(rows * target / side)))
    try:
        from PIL import Image
    except ImportError:
        raise DataError(
            f"an image of {rows}x{columns}",
            f"a shorter side within {low}..{high}",
            "pip install 'refq[images]' to scale images",
        ) from None
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
