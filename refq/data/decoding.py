"""Image files to pixels, through Pillow (the extra `images`)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from refq.errors import DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


def pillow(purpose: str) -> ModuleType:
    """PIL.Image. Raises DataError that says what it was wanted for where Pillow is missing."""
    try:
        from PIL import Image
    except ImportError:
        raise DataError(
            f"Pillow is not installed; {purpose} needs it", remedy="pip install 'refq[images]'"
        ) from None
    return Image


def decode(path: Path) -> np.ndarray:
    """uint8 RGB (rows, columns, 3); grey, palette and CMYK are converted, alpha is dropped.

    An EXIF orientation is not applied. Raises DataError naming a file that is no whole image.
    """
    pil = pillow(f"reading {path.name}")
    try:
        with pil.open(path) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise DataError(f"{path}: pixels of mode {image.mode}", "8 bits a channel")
            if "transparency" in image.info:
                # Straight to RGB would warn, or take the key colour for a colour.
                image = image.convert("RGBA")
            return np.asarray(image.convert("RGB"))
    except DataError:
        raise
    except Exception as error:  # decoders raise whatever a broken file leads them to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"cannot decode {path} ({reason})", "a complete image file", "fetch it again"
        ) from None
