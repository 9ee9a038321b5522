"""Preprocessing as data: stored with the weights and printed in every report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from refq.data.decoding import pillow
from refq.errors import DataError, OptionError
from refq.networks.layers import Shape

LONGEST = 1 << 15  # a strip of 1x60000 scaled to 224 rows would take gigabytes
CHANNELS = ("RGB", "BGR", "GRAY", "stored")
RESIZES = ("shorter", "stretch")
FILTERS = ("bicubic", "bilinear")


class Rule(Protocol):
    """What makes a network's input of an image, or of a row of an array.

    shape: of an input, which is float32. bounds: its least and greatest value, None where only the
    data tell; integral: whether all values are whole numbers.
    """

    @property
    def shape(self) -> Shape: ...
    @property
    def bounds(self) -> tuple[float, float] | None: ...
    @property
    def integral(self) -> bool: ...
    def __call__(self, image: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Preprocessing:
    """From a decoded image to the network's input, step by step.

    channels: RGB, BGR, or GRAY as ITU-R 601 weights them; `stored`: of an array, as they are.
    resize: `shorter`: the image is scaled, aspect kept, to bring its shorter side within these
    two bounds, and further up where the crop would not fit; an image that needs neither is left
    alone. `stretch`: it is scaled to the crop's size whatever its aspect. filter: bicubic or
    bilinear. crop: (rows, columns) cut from the centre. mean and scale: (x - mean) * scale in
    float32, one for all or one a channel in that order.
    """

    crop: tuple[int, int]
    shorter: tuple[int, int]
    channels: str = "RGB"
    mean: tuple[float, ...] = (0.0,)
    scale: float | tuple[float, ...] = 1.0
    resize: str = "shorter"
    filter: str = "bicubic"

    def __post_init__(self) -> None:
        for name, known in (("channels", CHANNELS), ("resize", RESIZES), ("filter", FILTERS)):
            if getattr(self, name) not in known:
                what = "channel order" if name == "channels" else name
                raise OptionError(f"{what} {getattr(self, name)!r}", " or ".join(known))
        for name, sizes in (("crop", self.crop), ("shorter", self.shorter)):
            if not _all(sizes, 2, int) or min(sizes) < 1:
                raise OptionError(f"{name} {sizes!r}", "two whole numbers of 1 or more")
        if self.shorter[0] > self.shorter[1] or min(self.crop) > self.shorter[0]:
            raise OptionError(
                f"shorter side within {self.shorter} and crop {self.crop}",
                "bounds in order, the lower one at least the crop's shorter side",
            )
        count = self.count
        wanted = f"a number, or {count or 'one a channel'}" if count != 3 else "three numbers"
        if not _numbers(self.mean, count):
            raise OptionError(f"mean {self.mean!r}", wanted)
        scale = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if not _numbers(scale, count) or 0 in scale:
            raise OptionError(f"scale {self.scale!r}", f"a number other than 0, or {wanted}")

    @property
    def count(self) -> int:
        """How many channels there are; 0 where the data tell."""
        return {"RGB": 3, "BGR": 3, "GRAY": 1}.get(self.channels, 0)

    @property
    def shape(self) -> Shape:
        return (self.count, *self.crop)

    @property
    def scales(self) -> tuple[float, ...]:
        """One for all, or one a channel."""
        return self.scale if isinstance(self.scale, tuple) else (self.scale,)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value an 8-bit image can take."""
        count = max(len(self.mean), len(self.scales))
        each = zip(_repeated(self.mean, count), _repeated(self.scales, count))
        ends = [(pixel - mean) * scale for mean, scale in each for pixel in (0, 255)]
        return min(ends), max(ends)

    @property
    def integral(self) -> bool:
        """True where every value is an integer, so that a format with F = 0 is exact."""
        ones = all(scale == 1.0 for scale in self.scales)
        return ones and all(float(mean).is_integer() for mean in self.mean)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return apply(self, image)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def values(self) -> str:
        """What is done to values, in words."""
        mean, scale = (
            ", ".join(f"{each:g}" for each in parts) for parts in (self.mean, self.scales)
        )
        scale = f"({scale})" if len(self.scales) > 1 else scale
        return f"{self.channels} - ({mean}), x {scale}"

    def __str__(self) -> str:
        low, high = self.shorter
        size = f"{self.crop[0]}x{self.crop[1]}"
        if self.resize == "stretch":
            return f"stretched to {size} ({self.filter}), {self.values}"
        return f"shorter side {low}..{high} ({self.filter}), centre crop {size}, {self.values}"


def _repeated(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    return values if len(values) == count else values * count


def _numbers(values: object, count: int) -> bool:
    """Whether these are finite numbers: one, or as many as there are channels."""
    if not isinstance(values, tuple) or len(values) not in (
        (1, count) if count else (len(values),)
    ):
        return False
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values)
    return bool(values) and numbers and all(map(math.isfinite, values))


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


def apply(rule: Preprocessing, image: np.ndarray) -> np.ndarray:
    """float32 (channels, rows, columns) from a uint8 RGB image (rows, columns, 3).

    Raises DataError where the image must be scaled and Pillow is missing.
    """
    _check(image)
    if rule.channels == "GRAY":
        image = gray(image)
    if rule.resize == "stretch":
        cut = image if image.shape[:2] == rule.crop else _resized(image, *rule.crop, rule.filter)
    else:
        cut = scale_and_crop(image, rule.shorter, rule.crop, rule.filter)
    if rule.channels == "BGR":
        cut = cut[:, :, ::-1]
    return normalized(cut.transpose(2, 0, 1).astype(np.float32, order="C"), rule)


def normalized(values: np.ndarray, rule: Preprocessing) -> np.ndarray:
    """(x - mean) * scale of float32 values (channels, ...), in place."""
    ones = (1,) * (values.ndim - 1)
    values -= np.asarray(rule.mean, np.float32).reshape(-1, *ones)
    if any(scale != 1.0 for scale in rule.scales):
        values *= np.asarray(rule.scales, np.float32).reshape(-1, *ones)
    return values


def gray(image: np.ndarray) -> np.ndarray:
    """uint8 (rows, columns, 1) of an RGB image: ITU-R 601's luma, in the integers that Pillow has
    for its mode L, rounded half up. Gray pixels keep their values."""
    red, green, blue = (image[:, :, channel].astype(np.uint32) for channel in range(3))
    luma = (19595 * red + 38470 * green + 7471 * blue + (1 << 15)) >> 16
    return luma.astype(np.uint8)[:, :, None]


def _check(image: np.ndarray, channels: Sequence[int] = (3,)) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or 0 in image.shape:
        wrong = True
    else:
        wrong = image.shape[2] not in channels
    if wrong:
        raise DataError(
            f"an image of dtype {image.dtype} and shape {image.shape}", "uint8 (rows, columns, 3)"
        )


def scale_and_crop(
    image: np.ndarray, shorter: tuple[int, int], crop: tuple[int, int], filter: str = "bicubic"
) -> np.ndarray:
    """The geometry alone: uint8 (rows, columns, C) -> uint8 (crop rows, crop columns, C).

    C is 3 or 1. Where an odd number of rows or columns is cut away, the smaller half goes at the
    top or left.
    """
    _check(image, (1, 3))
    rows, columns = scaled_size((image.shape[0], image.shape[1]), shorter, crop)
    if (rows, columns) != image.shape[:2]:
        image = _resized(image, rows, columns, filter)
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


def _resized(image: np.ndarray, rows: int, columns: int, filter: str) -> np.ndarray:
    found = f"an image of {image.shape[0]}x{image.shape[1]} to be scaled to {rows}x{columns}"
    if max(rows, columns) > LONGEST:
        raise DataError(found, f"sides of at most {LONGEST}", "crop the image first")
    pil = pillow(f"scaling {found}")
    picture = pil.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    scaled = np.asarray(picture.resize((columns, rows), pil.Resampling[filter.upper()]))
    return scaled.reshape(rows, columns, -1)
