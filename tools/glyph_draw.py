"""One glyph image: a character of a random font as a camera might have seen it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from glyph_fonts import CLASSES, Face
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 32
FINE = 2 * SIDE  # everything is composed at twice the size, then halved
SHEET = 192  # the flat sheet that the characters are drawn on before the camera tilts
FONT_SIZE = 72
INK = 44.0  # height of an average character on the sheet


@lru_cache(maxsize=2048)
def _font(path: str) -> ImageFont.FreeTypeFont:
    """The font at a size that gives every face the same mean height of A and x."""
    font = ImageFont.truetype(path, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    heights = [_box(font, character) for character in "Ax"]
    mean = sum(box[3] - box[1] for box in heights) / 2
    size = min(200.0, max(24.0, FONT_SIZE * INK / mean))
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _box(font: ImageFont.FreeTypeFont, text: str) -> tuple[float, float, float, float]:
    return font.getbbox(text, anchor="ls")


def draw(rng: Generator, families: Sequence[Sequence[Face]], label: int) -> np.ndarray:
    """uint8 (32, 32, 3). families: the faces of each family; every family is equally likely."""
    family = families[int(rng.integers(len(families)))]
    face = family[int(rng.integers(len(family)))]
    mask, neighbours = _masks(rng, face.path, CLASSES[label])

    back, ink = _colours(rng)
    picture = _background(rng, back, ink, face.path)
    if rng.random() < 0.15:  # a shadow, or the far side of raised letters
        shift = rng.integers(-4, 5, size=2)
        shade = np.roll(mask, shift, axis=(0, 1))[:, :, None] * rng.uniform(0.3, 0.8)
        picture = picture * (1 - shade) + shade * rng.choice([0.0, 255.0])
    other = ink if rng.random() < 0.7 else rng.uniform(0, 255, 3)
    for layer, colour in ((neighbours, other), (mask, ink)):
        strength = layer[:, :, None]
        picture = picture * (1 - strength) + _uneven(rng, colour) * strength
    return _camera(rng, picture)


def _masks(rng: Generator, path: str, character: str) -> tuple[np.ndarray, np.ndarray]:
    """Coverage 0..1 of the character and of its neighbours, seen by a tilted camera."""
    font = _font(path)
    left, top, right, bottom = _box(font, character)
    x, y = SHEET / 2 - (left + right) / 2, SHEET / 2 - (top + bottom) / 2
    images = [Image.new("L", (SHEET, SHEET)) for _ in range(2)]
    pens = [ImageDraw.Draw(image) for image in images]
    pens[0].text((x, y), character, 255, font, anchor="ls")
    if rng.random() < 0.15:  # bolder than the font has it
        images[0] = images[0].filter(ImageFilter.MaxFilter(3))
    gap = rng.uniform(1, 9)
    for after in (False, True):
        other = CLASSES[rng.integers(len(CLASSES))]
        if rng.random() < 0.45:
            box = _box(font, other)
            start = x + right + gap - box[0] if after else x + left - gap - box[2]
            pens[1].text((start, y), other, 255, font, anchor="ls")
    # a tall or wide character fits the frame; others keep the size the font gives them
    extent = max(right - left, bottom - top)
    scale = rng.uniform(0.85, 1.2) * min(1.0, 0.95 * FINE / (extent * 1.1 + 1))
    coefficients = _perspective(rng, scale)
    seen = [
        image.transform(
            (FINE, FINE), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
        )
        for image in images
    ]
    first, second = (np.asarray(image, np.float64) / 255 for image in seen)
    return first, second


def _perspective(rng: Generator, scale: float) -> list[float]:
    """Pillow's eight coefficients: from the output's corners to a tilted square of the sheet."""
    half = FINE / 2
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
    angle = np.deg2rad(rng.normal(0, 7))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, rng.normal(0, 0.1)], [0, 1]])
    stretch = np.diag(np.exp(rng.normal(0, 0.1, size=2)) / scale)
    target = corners @ (turn @ shear @ stretch).T
    target += SHEET / 2 + rng.normal(0, 2.5, size=2) + rng.normal(0, 3.0, size=(4, 2))
    rows, wanted = [], []
    for (x, y), (u, v) in zip(corners + half, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    return [float(value) for value in np.linalg.solve(np.array(rows), np.array(wanted))]


def _colours(rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Background and ink: random hues whose brightness differs enough, at times barely."""
    least = 30 if rng.random() < 0.2 else 60
    luma = np.array([0.299, 0.587, 0.114])
    while True:
        back, ink = rng.uniform(0, 255, size=(2, 3))
        if rng.random() < 0.4:  # black, white and grey are common in the wild
            ink = np.clip(ink.mean() * 2 - 64 + 0.15 * (ink - ink.mean()), 0, 255)
        if rng.random() < 0.4:
            back = np.clip(back.mean() * 2 - 64 + 0.15 * (back - back.mean()), 0, 255)
        if abs(float(luma @ (back - ink))) >= least:
            return back, ink


def _background(rng: Generator, back: np.ndarray, ink: np.ndarray, path: str) -> np.ndarray:
    """Flat, a gradient, a soft texture or clutter, staying closer to `back` than to `ink`."""
    picture = np.broadcast_to(back, (FINE, FINE, 3)).astype(np.float64)
    kind = rng.choice(["flat", "gradient", "texture", "clutter"], p=[0.2, 0.3, 0.3, 0.2])
    room = 0.45 * float(np.abs(back - ink).mean())
    if kind == "gradient":
        ramp = np.linspace(-1, 1, FINE)
        direction = rng.uniform(0, 2 * np.pi)
        plane = np.cos(direction) * ramp[:, None] + np.sin(direction) * ramp[None, :]
        picture = picture + plane[:, :, None] * rng.uniform(-room, room, size=3)
    elif kind == "texture":
        picture = picture + _soft(rng, int(rng.integers(3, 10))) * rng.uniform(0.3, 1) * room
    elif kind == "clutter":
        image = Image.new("L", (FINE, FINE))
        pen = ImageDraw.Draw(image)
        for _ in range(rng.integers(1, 4)):
            x, y, dx, dy = (int(value) for value in rng.integers(-8, FINE + 8, size=4))
            shape = rng.random()
            if shape < 0.4:
                pen.line((x, y, dx, dy), 255, int(rng.integers(1, 8)))
            elif shape < 0.7:
                pen.rectangle((min(x, dx), min(y, dy), max(x, dx), max(y, dy)), 255)
            else:
                pen.text((x, y), CLASSES[rng.integers(len(CLASSES))], 255, _font(path), anchor="ls")
        strength = np.asarray(image, np.float64)[:, :, None] / 255
        picture = picture + strength * rng.uniform(-1, 1, size=3) * room
    return np.clip(picture, 0, 255)


def _soft(rng: Generator, cells: int) -> np.ndarray:
    """Smooth noise within about -1..1, (FINE, FINE, 1)."""
    coarse = Image.fromarray(rng.uniform(-1, 1, size=(cells, cells)).astype(np.float32))
    smooth = coarse.resize((FINE, FINE), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float64)[:, :, None]


def _uneven(rng: Generator, colour: np.ndarray) -> np.ndarray:
    """The ink itself, now and then worn or unevenly lit."""
    if rng.random() < 0.7:
        return colour
    return np.clip(colour + _soft(rng, int(rng.integers(2, 8))) * rng.uniform(10, 50), 0, 255)


def _camera(rng: Generator, picture: np.ndarray) -> np.ndarray:
    """Blur, halving, exposure, sensor noise and lossy storage."""
    image = Image.fromarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
    if rng.random() < 0.7:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.gamma(2.0, 0.6))))
    values = np.asarray(image.reduce(2), np.float64)
    contrast, brightness = np.exp(rng.normal(0, 0.15)), rng.normal(0, 14)
    values = (values - 128) * contrast + 128 + brightness
    if rng.random() < 0.5:
        values = values + rng.normal(0, rng.uniform(1, 16), size=values.shape)
    pixels = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, "JPEG", quality=int(rng.integers(25, 85)))
        pixels = np.asarray(Image.open(stored).convert("RGB"))
    return pixels
